package stream

import (
	"io"
	"net"
	"os"

	"goselectors/selectors"
)

// SendFile sends length bytes of f from offset, in order with the data of Write.
// The bytes do not count in Unsent and cause no PauseWriting. On Linux the kernel
// copies them from its page cache (sendfile(2)); a part that is not in the cache is
// read from the disk on another goroutine first. On other systems another goroutine
// reads the file in pieces. So the loop does not wait for the disk.
//
// Unless SendFile returns an error, the connection takes over f and closes it. done
// may be nil. It is called on the loop when the last byte is in the kernel's buffer,
// with nil, or when the bytes cannot be sent, with the reason: the error of the
// connection, [net.ErrClosed], or an error of f. It is never called inside SendFile,
// and always before ConnectionLost. If f ends before length bytes, the connection is
// aborted with [io.ErrUnexpectedEOF], because the peer was promised more.
//
// The errors of SendFile are those of Write, and [os.ErrInvalid] for a nil f and
// for a negative offset or length.
func (c *Conn) SendFile(f *os.File, offset, length int64, done func(error)) error {
	if err := c.writeError("send file"); err != nil {
		return err
	}
	if f == nil || offset < 0 || length < 0 || offset+length < offset {
		return c.opError("send file", os.ErrInvalid)
	}
	wasEmpty := c.out == nil
	if wasEmpty {
		c.out = &queue{}
	}
	c.out.addFile(fileRange{file: f, offset: offset, left: length, done: done})
	c.afterEnqueue(wasEmpty)
	return nil
}

// A fileRange is a part of a file to send.
type fileRange struct {
	file         *os.File
	offset, left int64
	loaded       []byte // the next bytes, if they were read by another goroutine
	before       int    // bytes of the queue that are sent after the file before it and before it
	noSendfile   bool   // sendfile(2) does not support the file
	done         func(error)
}

const (
	filePiece = 256 << 10 // bytes that one connection sends of a file in a turn
	loadPiece = 64 << 10  // bytes that another goroutine reads at once
)

// addFile adds a part of a file to the end of the queue.
func (q *queue) addFile(r fileRange) {
	r.before = q.size
	for i := range q.files {
		r.before -= q.files[i].before
	}
	q.files = append(q.files, r)
}

// finish closes the file and schedules done.
func (r *fileRange) finish(c *Conn, err error) {
	r.file.Close()
	if r.done == nil {
		return
	}
	if err == nil && r.left > 0 {
		err = c.opError("send file", net.ErrClosed)
	}
	done := r.done
	if c.loop.CallSoon(func() { done(err) }) != nil { // the loop is closed
		done(err)
	}
}

// advance records that n bytes were sent.
func (r *fileRange) advance(n int) {
	r.offset += int64(n)
	r.left -= int64(n)
	r.loaded = r.loaded[min(n, len(r.loaded)):]
}

// flushFiles is flush for a queue that has files.
func (c *Conn) flushFiles() {
	next := &c.out.files[0]
	if next.left > 0 && next.before == 0 && len(next.loaded) == 0 {
		if next.noSendfile || !inPageCache(next.file, next.offset, min(next.left, filePiece)) {
			c.loadFile(next)
			return
		}
	}
	n, err := c.sendNext(next)
	switch {
	case err == selectors.ErrWouldBlock:
		c.takeErrorQueue()
		return
	case err != nil:
		c.failWrite("send file", err)
		return
	case c.life >= ended:
		return
	}
	if next.before == 0 && next.left == 0 {
		sent := *next
		c.out.files = c.out.files[1:]
		sent.finish(c, nil)
	}
	c.afterSend(n)
}

// sendNext sends bytes of the queue before the next file, or of the file.
func (c *Conn) sendNext(next *fileRange) (n int, err error) {
	switch {
	case next.before > 0:
		if n, err = writev(int(c.fd), c.out.first(next.before)); err == nil {
			c.out.discard(n)
			next.before -= n
		}
		return n, err
	case next.left == 0:
		return 0, nil
	case len(next.loaded) > 0:
		n, err = write(int(c.fd), next.loaded)
	default:
		n, err = sendFile(int(c.fd), next.file, next.offset, min(next.left, filePiece))
		if isFileError(err) {
			next.noSendfile = true
			return 0, nil
		}
		if err == nil && n == 0 {
			c.abort(c.opError("send file", io.ErrUnexpectedEOF))
		}
	}
	if err == nil {
		next.advance(n)
	}
	return n, err
}

// loadFile reads the next bytes of a file on another goroutine. The connection
// waits neither for the socket nor for the loop meanwhile.
func (c *Conn) loadFile(r *fileRange) {
	q, file, offset := c.out, r.file, r.offset
	p := make([]byte, min(r.left, loadPiece))
	var n int
	var err error
	q.loading = true
	doErr := c.loop.Do(
		func() { n, err = file.ReadAt(p, offset) },
		func() {
			q.loading = false
			switch {
			case c.out != q: // the connection has ended
				return
			case n > 0:
				q.files[0].loaded = p[:n]
			case err == io.EOF:
				err = io.ErrUnexpectedEOF
				fallthrough
			default:
				c.abort(c.opError("send file", err))
			}
			c.watch()
		})
	if doErr != nil { // the loop is closed
		q.loading = false
	}
	c.watch()
}
