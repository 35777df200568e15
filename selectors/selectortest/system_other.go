//go:build !unix && !windows

package selectortest

import (
	"errors"
	"time"
)

// There are no sockets that a selector could watch: every rule on them is
// skipped, when it asks for the first.

const (
	readable = iota
	writable
	stream
	datagram
)

type address any

var badFD = errors.New("bad file descriptor")

type system struct{ fds map[int]bool }

func (t *T) none() int {
	t.Helper()
	t.Skip("no sockets on this system")
	return 0
}

func (t *T) own(...int)                             { t.none() }
func (t *T) close(...int)                           { t.none() }
func (t *T) pairOf(int) (a, b int)                  { return t.none(), 0 }
func (t *T) pipe() (read, write int)                { return t.none(), 0 }
func (t *T) openFile(string, int) int               { return t.none() }
func (t *T) regular() int                           { return t.none() }
func (t *T) write(int, string)                      { t.none() }
func (t *T) read(int, string)                       { t.none() }
func (t *T) fill(int)                               { t.none() }
func (t *T) drain(int)                              { t.none() }
func (t *T) dup(int, int) int                       { return t.none() }
func (t *T) place(int, int)                         { t.none() }
func (t *T) takeZero(int)                           { t.none() }
func (t *T) becomes(int, int)                       { t.none() }
func (t *T) inet(int) int                           { return t.none() }
func (t *T) bound(int) (fd int, at address)         { return t.none(), nil }
func (t *T) listen() (fd int, at address)           { return t.none(), nil }
func (t *T) connect(int, address)                   { t.none() }
func (t *T) join(a, listener int, at address) int   { return t.none() }
func (t *T) socketFile() (f file, peer int)         { return nil, t.none() }
func (t *T) cpu() time.Duration                     { t.none(); return 0 }
func (t *T) isOpen(int)                             { t.none() }
func (t *T) limit() int                             { return t.none() }
func (t *T) shutWrite(int)                          { t.none() }
func (t *T) urgent(int)                             { t.none() }
func (t *T) sendTo(fd int, data string, to address) { t.none() }
func (t *T) nonblocking(int) bool                   { t.none(); return true }
func (t *T) signals()                               { t.none() }

func interruptAll() {}

var systemFileObjRules []rule
