// Package lines splits the data of a connection into lines. It is meant to be copied.
//
// A line ends with LF or CR LF. Lines are limited in length, so a peer that never sends
// an end cannot fill the memory. Each byte is looked at once, however small the pieces
// are in which it arrives, and is copied only if its line is not complete yet.
package lines

import (
	"bytes"
	"errors"
	"iter"

	"goselectors/eventloop/stream"
)

// ErrTooLong is the error of a line longer than the limit.
var ErrTooLong = errors.New("lines: line too long")

// A Splitter splits data into lines. The zero value refuses all but empty lines.
type Splitter struct {
	Limit int // bytes in a line, without its end

	buf      []byte // data that no line was made of yet, from start on; nil if there is none
	start    int
	searched int // bytes of buf from start on that have no LF
}

// Lines adds p and returns an iterator over the lines that are complete, without their
// ends. A line is valid until the next step. After a line that is too long the iterator
// yields ErrTooLong and ends; the Splitter is of no use then.
//
// A caller may stop before the end. The next call, with or without more data, goes on
// where this one has stopped.
func (s *Splitter) Lines(p []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		data := p
		if s.buf != nil {
			if len(p) > 0 && s.start > 0 {
				s.buf, s.start = s.buf[:copy(s.buf, s.buf[s.start:])], 0
			}
			s.buf = append(s.buf, p...)
			data = s.buf[s.start:]
		}
		next, searched := 0, s.searched // the next line begins at data[next]
		defer func() { s.keep(data[next:], searched) }()
		for {
			n := bytes.IndexByte(data[next+searched:], '\n')
			if n < 0 {
				searched = len(data) - next
				if rest := data[next:]; len(trimCR(rest)) > s.Limit {
					yield(nil, ErrTooLong)
				}
				return
			}
			line := trimCR(data[next : next+searched+n])
			next, searched = next+searched+n+1, 0
			if len(line) > s.Limit {
				yield(nil, ErrTooLong)
				return
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}

// keep keeps the rest of the data, which is in buf already or in a buffer of the
// caller. A Splitter without a rest has no buffer.
func (s *Splitter) keep(rest []byte, searched int) {
	s.searched = searched
	switch {
	case len(rest) == 0:
		s.buf, s.start = nil, 0
	case s.buf == nil:
		s.buf = bytes.Clone(rest)
	default:
		s.start = len(s.buf) - len(rest)
	}
}

// Rest returns what has come after the last line and takes it out. At the end of the
// stream it is a last line without an end.
func (s *Splitter) Rest() []byte {
	rest := s.buf[s.start:]
	s.buf, s.start, s.searched = nil, 0, 0
	return rest
}

// trimCR removes one CR at the end.
func trimCR(p []byte) []byte { return bytes.TrimSuffix(p, []byte("\r")) }

// A Handler is a handler of package stream that gets lines. While its peer does not
// read, it gets no more of them, and data waits in the kernel.
type Handler struct {
	stream.BaseHandler
	Splitter

	// LineReceived gets a line, which is valid until LineReceived returns. What follows
	// the last LF counts as a line at the end of the stream, if it is not empty.
	LineReceived func(c *stream.Conn, line []byte)

	// LineTooLong is called instead for a line longer than the limit. Then the
	// connection is closed.
	LineTooLong func(c *stream.Conn)

	writePaused bool
}

func (h *Handler) DataReceived(c *stream.Conn, p []byte) {
	for line, err := range h.Lines(p) {
		if err != nil {
			if h.LineTooLong != nil {
				h.LineTooLong(c)
			}
			c.Close()
			return
		}
		h.LineReceived(c, line)
		if h.writePaused || c.Closed() {
			return
		}
	}
}

// EOFReceived closes the connection when what is queued has been sent.
func (h *Handler) EOFReceived(c *stream.Conn) bool {
	if rest := h.Rest(); len(rest) > 0 {
		h.LineReceived(c, rest)
	}
	return false
}

func (h *Handler) PauseWriting(c *stream.Conn) {
	h.writePaused = true
	c.PauseReading()
}

func (h *Handler) ResumeWriting(c *stream.Conn) {
	h.writePaused = false
	if h.DataReceived(c, nil); !h.writePaused { // the lines that wait
		c.ResumeReading()
	}
}
