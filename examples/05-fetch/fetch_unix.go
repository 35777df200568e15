//go:build unix

package main

import (
	"context"
	"io"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// callback is the type of the data of every key.
type callback func()

// fetch is the download of one page: connect, then send, then receive. Blocking
// code needs three lines for that. Here each of them is a callback, and the
// local variables become fields. (Lesson 8 goes back to blocking style.)
type fetch struct {
	*loop
	fd      int
	request []byte // not yet sent
	page    []byte // received so far
	err     error
}

// connect starts the connection and returns at once: EINPROGRESS is not a
// failure. The socket becomes writable when the result is known.
func (f *fetch) connect(to unix.Sockaddr) {
	if f.fd, f.err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); f.err != nil {
		return
	}
	f.active++
	unix.CloseOnExec(f.fd)
	err := unix.SetNonblock(f.fd, true)
	if err == nil {
		err = unix.Connect(f.fd, to)
	}
	if err == nil || err == unix.EINPROGRESS {
		_, err = f.sel.Register(f.fd, selectors.EventWrite, callback(f.connected))
	}
	if err != nil {
		f.finish(err)
	}
}

// connected asks for the result with SO_ERROR. "Writable" alone only means that
// there is a result: it may be success or an error.
func (f *fetch) connected() {
	if code, err := unix.GetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
		f.finish(err)
	} else if code != 0 {
		f.finish(unix.Errno(code))
	} else {
		f.send()
	}
}

// send sends what the kernel accepts. The loop calls it again for the rest.
func (f *fetch) send() {
	n, err := selectors.TryWrite(f.fd, f.request)
	if err != nil && err != selectors.ErrWouldBlock {
		f.finish(err)
		return
	}
	next, interest := callback(f.send), selectors.EventWrite
	if f.request = f.request[n:]; len(f.request) == 0 {
		next, interest = f.receive, selectors.EventRead
	}
	if _, err := f.sel.Modify(f.fd, interest, next); err != nil {
		f.finish(err)
	}
}

// receive reads what has arrived, until the server closes the connection.
func (f *fetch) receive() {
	n, err := selectors.TryRead(f.fd, f.buf[:])
	f.page = append(f.page, f.buf[:n]...)
	if err == io.EOF {
		f.finish(nil)
	} else if err != nil && err != selectors.ErrWouldBlock {
		f.finish(err)
	}
}

func (f *fetch) finish(err error) {
	f.err = err
	f.sel.Unregister(f.fd)
	unix.Close(f.fd)
	f.active--
}

// loop is the event loop of lesson 3, but it ends when no fetch is active.
type loop struct {
	sel    selectors.Selector
	active int
	buf    [4096]byte
}

func (l *loop) run(ctx context.Context) error {
	for l.active > 0 {
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
