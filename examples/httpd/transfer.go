package main

import (
	"io"
	"os"
)

// A transfer sends a part of a large file as the body of a response. It reads one
// piece at a time on another goroutine and writes it on the loop, as fast as the
// client reads.
type transfer struct {
	file      *os.File
	offset    int64 // of the next piece
	remaining int64 // bytes not yet read
	buf       []byte
	reading   bool // on another goroutine, which uses file and buf
	connLost  bool
}

// startTransfer starts a transfer, which ends the response and closes the file.
func (c *client) startTransfer(file *os.File, offset, size int64) {
	c.flush() // the header
	c.responding = true
	c.transfer = &transfer{file: file, offset: offset, remaining: size, buf: make([]byte, min(size, maxSmallFile))}
	c.transfer.readNext(c)
}

// readNext reads the next piece, unless a read is in progress or writing is paused.
func (t *transfer) readNext(c *client) {
	if t.reading || c.writePaused {
		return
	}
	t.reading = true
	var n int
	var err error
	c.loop.Do(
		func() {
			n, err = t.file.ReadAt(t.buf[:min(t.remaining, int64(len(t.buf)))], t.offset)
			if n > 0 && err == io.EOF {
				err = nil
			}
		},
		func() {
			t.reading = false
			switch {
			case t.connLost:
				t.file.Close()
				return
			case err != nil: // the file was truncated: Content-Length is wrong
				c.conn.Abort()
				return
			}
			c.write(t.buf[:n])
			t.offset += int64(n)
			if t.remaining -= int64(n); t.remaining > 0 {
				t.readNext(c)
				return
			}
			t.file.Close()
			c.transfer = nil
			c.finishResponse()
		})
}

// connectionLost closes the file, after the read in progress if there is one.
func (t *transfer) connectionLost() {
	t.connLost = true
	if !t.reading {
		t.file.Close()
	}
}
