package main

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"goselectors/eventloop/stream"
)

// A client is one connection.
type client struct {
	servers map[any]*server
	*server
	conn    *stream.Conn
	rest    []byte // received, and not looked at yet
	skip    int64  // so much of a request's body is still to come, which nobody wants
	busy    bool   // an answer takes longer; the next request waits for its end
	full    bool   // the client does not read what it is sent
	last    bool   // the last answer was begun: what comes now does not matter
	eof     bool   // the client has asked all that it wants to
	sending *sending
}

const maxHeader = 16 << 10

// A request is what matters of one here. All of it points into what was read.
type request struct {
	method, target []byte
	minor          byte // of HTTP/1.x
	keepAlive      bool
	length         int64
}

func (h *client) ConnectionMade(c *stream.Conn) {
	h.conn, h.server = c, h.servers[c.Loop()]
	h.servers = nil
}

func (h *client) DataReceived(c *stream.Conn, p []byte) {
	if h.last {
		return
	}
	if len(h.rest) > 0 {
		h.rest = append(h.rest, p...)
		p = h.rest
	}
	h.serve(p)
}

// serve answers the requests in p: all of them at once, in one buffer and one
// Write, but for those that take longer.
func (h *client) serve(p []byte) {
	for !h.busy && !h.full && !h.last {
		n := min(h.skip, int64(len(p)))
		h.skip -= n
		p = bytes.TrimLeft(p[n:], "\r\n") // allowed before a request
		if len(p) == 0 {
			break
		}
		end := bytes.Index(p, []byte("\r\n\r\n"))
		if end > maxHeader || end < 0 && len(p) > maxHeader {
			h.refuse(http.StatusRequestHeaderFieldsTooLarge)
			break
		}
		if end < 0 {
			break // there is more to come
		}
		r, status := parse(p[:end])
		p = p[end+4:]
		if status != 0 {
			h.refuse(status)
			break
		}
		h.skip = r.length
		h.last = !r.keepAlive
		h.answer(r)
		if len(h.out) > 64<<10 {
			h.flush()
		}
	}
	h.flush()
	if h.last || len(p) == 0 {
		h.rest = nil // an idle connection costs no buffer
	} else {
		h.rest = append(h.rest[:0], p...)
	}
	h.listen()
	switch {
	case h.busy:
	case h.last:
		h.hangUp()
	case h.eof && !h.full:
		h.conn.Close()
	}
}

// listen asks for more requests only if they can be answered: a client that
// sends many and reads nothing is held back, instead of filling our memory.
func (h *client) listen() {
	if (h.busy || h.full) && !h.last {
		h.conn.PauseReading()
	} else {
		h.conn.ResumeReading()
	}
}

func (h *client) flush() {
	if len(h.out) > 0 {
		h.conn.Write(h.out)
		h.out = h.out[:0]
	}
}

// next goes on behind an answer that took longer.
func (h *client) next() {
	h.busy = false
	h.serve(h.rest)
}

// hangUp ends the connection so that the client gets the last answer even if it
// goes on sending: closing at once would reset the connection, and throw the
// answer away.
func (h *client) hangUp() {
	h.conn.CloseWrite()
	h.conn.SetIdleTimeout(2 * time.Second)
}

func (h *client) PauseWriting(*stream.Conn) {
	h.full = true
	h.listen()
}

func (h *client) ResumeWriting(*stream.Conn) {
	h.full = false
	switch {
	case h.sending != nil:
		h.sending.more(h)
	case !h.busy:
		h.serve(h.rest)
	}
}

// EOFReceived: whoever has asked may still want the answers.
func (h *client) EOFReceived(*stream.Conn) bool {
	h.eof = true
	return h.busy || h.full
}

func (h *client) ConnectionLost(*stream.Conn, error) {
	if h.sending != nil {
		h.sending.lost()
	}
}

// parse reads a request line and the header; a status that is not 0 is why it
// cannot be answered.
func parse(p []byte) (r request, status int) {
	line, header, _ := bytes.Cut(p, []byte("\r\n"))
	var version []byte
	var ok bool
	if r.method, line, ok = bytes.Cut(line, []byte(" ")); !ok {
		return r, http.StatusBadRequest
	}
	if r.target, version, ok = bytes.Cut(line, []byte(" ")); !ok || len(version) != 8 || !bytes.HasPrefix(version, []byte("HTTP/")) {
		return r, http.StatusBadRequest
	}
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) {
		return r, http.StatusHTTPVersionNotSupported
	}
	r.minor = version[7] - '0'
	r.keepAlive = r.minor > 0
	host := 0
	for len(header) > 0 {
		line, header, _ = bytes.Cut(header, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
			return r, http.StatusBadRequest
		}
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "host"):
			host++
		case is(name, "connection"):
			for token := range bytes.SplitSeq(value, []byte(",")) {
				switch token = bytes.TrimSpace(token); {
				case is(token, "close"):
					r.keepAlive = false
				case is(token, "keep-alive"):
					r.keepAlive = true
				}
			}
		case is(name, "content-length"):
			n, err := strconv.ParseUint(string(value), 10, 62)
			if err != nil || r.length != 0 {
				return r, http.StatusBadRequest
			}
			r.length = int64(n)
		case is(name, "transfer-encoding"):
			return r, http.StatusNotImplemented
		}
	}
	if host != 1 && r.minor > 0 {
		return r, http.StatusBadRequest
	}
	return r, 0
}

// is compares without regard to case, and without allocating.
func is(p []byte, lower string) bool {
	return len(p) == len(lower) && bytes.EqualFold(p, []byte(lower))
}

// answer begins the answer to a request, and ends it if that is all at hand.
func (h *client) answer(r request) {
	head := string(r.method) == http.MethodHead
	if !head && string(r.method) != http.MethodGet {
		h.header(http.StatusMethodNotAllowed, "text/plain", -1, "Allow: GET, HEAD\r\n")
		h.text(http.StatusMethodNotAllowed, false)
		return
	}
	target, _, _ := bytes.Cut(r.target, []byte("?"))
	if f := h.files[string(target)]; f != nil && h.loop.Now()-f.read < fresh {
		h.send(f, r.minor, head)
		return
	}
	if n, ok := strings.CutPrefix(string(target), "/ticks/"); ok {
		if count, err := strconv.Atoi(n); err == nil && count >= 0 {
			h.tick(count, r.minor, head)
			return
		}
	}
	h.file(string(target), r.minor, head)
}

// header begins an answer. A length of -1 is for text to say.
func (h *client) header(status int, kind string, length int64, more string) {
	h.out = append(h.out, "HTTP/1.1 "...)
	h.out = strconv.AppendInt(h.out, int64(status), 10)
	h.out = append(append(h.out, ' '), http.StatusText(status)...)
	h.out = append(append(h.out, "\r\nDate: "...), h.date()...)
	h.out = append(append(h.out, "\r\nContent-Type: "...), kind...)
	h.out = append(append(h.out, "\r\n"...), more...)
	if h.last {
		h.out = append(h.out, "Connection: close\r\n"...)
	}
	if length >= 0 {
		h.out = append(h.out, "Content-Length: "...)
		h.out = append(strconv.AppendInt(h.out, length, 10), "\r\n\r\n"...)
	}
}

// text ends an answer that says no more than its status.
func (h *client) text(status int, head bool) {
	text := http.StatusText(status) + "\n"
	h.out = append(h.out, "Content-Length: "...)
	h.out = append(strconv.AppendInt(h.out, int64(len(text)), 10), "\r\n\r\n"...)
	if !head {
		h.out = append(h.out, text...)
	}
}

func (h *client) status(status int, head bool) {
	h.header(status, "text/plain", -1, "")
	h.text(status, head)
}

// refuse answers what is no request. Where the next one would begin, nobody
// knows.
func (h *client) refuse(status int) {
	h.last = true
	h.status(status, false)
}

// A chunked answer goes out as it is made. Clients of HTTP/1.0 do not know
// chunks: for them the end of the connection is the end of the answer.
func (h *client) beginChunks(minor byte) (chunked bool) {
	if minor == 0 {
		h.last = true
		h.header(http.StatusOK, "text/plain; charset=utf-8", -1, "")
	} else {
		h.header(http.StatusOK, "text/plain; charset=utf-8", -1, "Transfer-Encoding: chunked\r\n")
	}
	h.out = append(h.out, "\r\n"...)
	return minor > 0
}

func (h *client) chunk(text string, chunked bool) {
	if !chunked {
		h.out = append(h.out, text...)
		return
	}
	h.out = append(strconv.AppendInt(h.out, int64(len(text)), 16), "\r\n"...)
	h.out = append(append(h.out, text...), "\r\n"...)
}

// tick says something now and then, by a timer of the loop.
func (h *client) tick(count int, minor byte, head bool) {
	chunked := h.beginChunks(minor)
	if head {
		return
	}
	h.busy = true
	h.flush()
	n := 0
	var more func()
	more = func() {
		switch {
		case h.conn.Closed():
			return
		case n == count:
			if chunked {
				h.chunk("", true) // the end
			}
			h.flush()
			h.next()
			return
		}
		n++
		if !h.full { // who does not read misses some
			h.chunk("tick "+strconv.Itoa(n)+"\n", chunked)
			h.flush()
		}
		h.loop.CallLater(100*time.Millisecond, more)
	}
	more()
}
