//go:build !unix && !windows

package selectors

import "net"

var errNoTry = &unsupportedError{"a call that does not block"}

func tryRead(int, []byte, bool) (int, error)  { return 0, errNoTry }
func tryWrite(int, []byte, bool) (int, error) { return 0, errNoTry }
func tryAccept(int) (int, error)              { return -1, errNoTry }
func tryAcceptConn(any) (net.Conn, error)     { return nil, errNoTry }
