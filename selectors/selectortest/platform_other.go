//go:build !unix && !windows

package selectortest

import (
	"errors"
	"time"
)

// No selector can watch sockets here. A rule that needs a socket is skipped when
// it asks for the first one.

const (
	readable = iota
	writable
	stream
	datagram
)

type address any

var badFD = errors.New("bad file descriptor")

type system struct{ fds map[int]bool }

func (t *T) skip() int {
	t.Helper()
	t.Skip("no sockets on this system")
	return 0
}

func (t *T) track(...int)                                  { t.skip() }
func (t *T) close(...int)                                  { t.skip() }
func (t *T) pairOf(int) (a, b int)                         { return t.skip(), 0 }
func (t *T) pipe() (read, write int)                       { return t.skip(), 0 }
func (t *T) openFile(string, int) int                      { return t.skip() }
func (t *T) regularFile() int                              { return t.skip() }
func (t *T) write(int, string)                             { t.skip() }
func (t *T) read(int, string)                              { t.skip() }
func (t *T) fill(int)                                      { t.skip() }
func (t *T) drain(int)                                     { t.skip() }
func (t *T) dup(int, int) int                              { return t.skip() }
func (t *T) dupTo(int, int)                                { t.skip() }
func (t *T) moveToZero(int)                                { t.skip() }
func (t *T) waitPoll(int, int)                             { t.skip() }
func (t *T) newSocket(int) int                             { return t.skip() }
func (t *T) boundSocket(int) (fd int, at address)          { return t.skip(), nil }
func (t *T) listen() (fd int, at address)                  { return t.skip(), nil }
func (t *T) connect(int, address)                          { t.skip() }
func (t *T) connectAccept(a, listener int, at address) int { return t.skip() }
func (t *T) socketFile() (f file, peer int)                { return nil, t.skip() }
func (t *T) cpuTime() time.Duration                        { t.skip(); return 0 }
func (t *T) wantOpen(int)                                  { t.skip() }
func (t *T) fdLimit() int                                  { return t.skip() }
func (t *T) shutdownWrite(int)                             { t.skip() }
func (t *T) sendUrgent(int)                                { t.skip() }
func (t *T) sendTo(fd int, data string, to address)        { t.skip() }
func (t *T) isNonblocking(int) bool                        { t.skip(); return true }
func (t *T) needSignals()                                  { t.skip() }

func signalAllThreads() {}

var systemFileObjRules []rule
