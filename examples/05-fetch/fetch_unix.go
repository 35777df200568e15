//go:build unix

package main

import (
	"context"
	"io"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// callback is the data of every key.
type callback func()

// A fetch is one page on its way: connect, then send, then receive. What would
// be three lines that wait is three callbacks, and what the lines would have
// in variables is in the fields. (Lesson 8 turns that back.)
type fetch struct {
	*loop
	fd      int
	request []byte // the rest of it
	page    []byte // what has come so far
	err     error
}

// connect starts the connection and returns at once: EINPROGRESS is no error.
// The socket becomes writable when the outcome is known.
func (f *fetch) connect(to unix.Sockaddr) {
	f.left++
	if f.fd, f.err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); f.err != nil {
		f.left--
		return
	}
	unix.CloseOnExec(f.fd)
	err := unix.SetNonblock(f.fd, true)
	if err == nil {
		err = unix.Connect(f.fd, to)
	}
	if err == nil || err == unix.EINPROGRESS {
		_, err = f.sel.Register(f.fd, selectors.EventWrite, callback(f.connected))
	}
	if err != nil {
		f.done(err)
	}
}

// connected asks what came of it. That is one more question, because being
// writable only means that there is something to say.
func (f *fetch) connected() {
	if code, err := unix.GetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
		f.done(err)
	} else if code != 0 {
		f.done(unix.Errno(code))
	} else {
		f.send()
	}
}

// send sends what the kernel takes, and is called again for the rest.
func (f *fetch) send() {
	n, err := selectors.TryWrite(f.fd, f.request)
	if err != nil && err != selectors.ErrWouldBlock {
		f.done(err)
		return
	}
	next, interest := callback(f.send), selectors.EventWrite
	if f.request = f.request[n:]; len(f.request) == 0 {
		next, interest = f.receive, selectors.EventRead
	}
	if _, err := f.sel.Modify(f.fd, interest, next); err != nil {
		f.done(err)
	}
}

// receive takes what is there, until the server has closed the connection.
func (f *fetch) receive() {
	n, err := selectors.TryRead(f.fd, f.buf[:])
	f.page = append(f.page, f.buf[:n]...)
	if err == io.EOF {
		f.done(nil)
	} else if err != nil && err != selectors.ErrWouldBlock {
		f.done(err)
	}
}

func (f *fetch) done(err error) {
	f.err = err
	f.sel.Unregister(f.fd)
	unix.Close(f.fd)
	f.left--
}

// loop is the event loop of lesson 3, except that it ends when nothing is left.
type loop struct {
	sel  selectors.Selector
	left int
	buf  [4096]byte
}

func (l *loop) run(ctx context.Context) error {
	for l.left > 0 {
		batch, err := selectors.SelectContext(ctx, l.sel, nil)
		if err != nil {
			return err
		}
		for _, ready := range batch {
			ready.Key.Data.(callback)()
		}
	}
	return nil
}
