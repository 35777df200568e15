//go:build !unix && !windows

package wake

import "goselectors/selectors/internal/sys"

// A Waker cannot be opened on this platform.
type Waker struct{}

func (*Waker) Open() error  { return sys.ErrNoWait }
func (*Waker) FD() int      { return -1 }
func (*Waker) Wake() error  { return sys.ErrNoWait }
func (*Waker) Drain()       {}
func (*Waker) Close() error { return nil }
