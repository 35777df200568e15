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
	sites map[any]*site // by loop; nil once the client is on its loop
	*site
	conn         *stream.Conn
	rest         []byte // received, not yet parsed
	skip         int64  // bytes of a request body still to be discarded
	busy         bool   // a response is in progress; the next request waits
	writePaused  bool   // too much data waits to be written
	lastResponse bool   // the last response has started: later input is discarded
	eof          bool   // the client has closed its side
	sending      *sending
}

const maxHeader = 16 << 10

// A request holds the parts of a request that the server uses. The slices point
// into the read buffer.
type request struct {
	method, target []byte
	minor          byte // of HTTP/1.x
	keepAlive      bool
	length         int64
}

func (h *client) ConnectionMade(c *stream.Conn) {
	h.conn, h.site = c, h.sites[c.Loop()]
	h.sites = nil
}

func (h *client) DataReceived(c *stream.Conn, p []byte) {
	if h.lastResponse {
		return
	}
	if len(h.rest) > 0 {
		h.rest = append(h.rest, p...)
		p = h.rest
	}
	h.serve(p)
}

// serve answers the requests in p. Responses that are available at once are
// collected in one buffer and written with one Write.
func (h *client) serve(p []byte) {
	for !h.busy && !h.writePaused && !h.lastResponse {
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
			break // incomplete
		}
		r, status := parse(p[:end])
		p = p[end+4:]
		if status != 0 {
			h.refuse(status)
			break
		}
		h.skip = r.length
		h.lastResponse = !r.keepAlive
		h.answer(r)
		if len(h.out) > 64<<10 {
			h.flush()
		}
	}
	h.flush()
	if h.lastResponse || len(p) == 0 {
		h.rest = nil // an idle connection has no buffer
	} else {
		h.rest = append(h.rest[:0], p...)
	}
	h.updateReading()
	switch {
	case h.busy:
	case h.lastResponse:
		h.closeAfterResponse()
	case h.eof && !h.writePaused:
		h.conn.Close()
	}
}

// updateReading pauses reading while requests cannot be answered. So a client
// that sends many requests and reads no responses does not fill the memory.
func (h *client) updateReading() {
	if (h.busy || h.writePaused) && !h.lastResponse {
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

// finishResponse ends a response in progress and serves the next request.
func (h *client) finishResponse() {
	h.busy = false
	h.serve(h.rest)
}

// closeAfterResponse ends the connection so that the client gets the last
// response even if it continues to send. Closing at once would reset the
// connection and lose the response.
func (h *client) closeAfterResponse() {
	h.conn.CloseWrite()
	h.conn.SetIdleTimeout(2 * time.Second)
}

func (h *client) PauseWriting(*stream.Conn) {
	h.writePaused = true
	h.updateReading()
}

func (h *client) ResumeWriting(*stream.Conn) {
	h.writePaused = false
	switch {
	case h.sending != nil:
		h.sending.readNext(h)
	case !h.busy:
		h.serve(h.rest)
	}
}

// EOFReceived keeps the connection for the responses that are still due.
func (h *client) EOFReceived(*stream.Conn) bool {
	h.eof = true
	return h.busy || h.writePaused
}

func (h *client) ConnectionLost(*stream.Conn, error) {
	if h.sending != nil {
		h.sending.connectionLost()
	}
}

// parse reads a request line and the header fields. A status other than 0 means
// that the request is refused with that status.
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
		case equalFold(name, "host"):
			host++
		case equalFold(name, "connection"):
			for token := range bytes.SplitSeq(value, []byte(",")) {
				switch token = bytes.TrimSpace(token); {
				case equalFold(token, "close"):
					r.keepAlive = false
				case equalFold(token, "keep-alive"):
					r.keepAlive = true
				}
			}
		case equalFold(name, "content-length"):
			n, err := strconv.ParseUint(string(value), 10, 62)
			if err != nil || r.length != 0 {
				return r, http.StatusBadRequest
			}
			r.length = int64(n)
		case equalFold(name, "transfer-encoding"):
			return r, http.StatusNotImplemented
		}
	}
	if host != 1 && r.minor > 0 {
		return r, http.StatusBadRequest
	}
	return r, 0
}

// equalFold compares without regard to case and without allocating.
func equalFold(p []byte, lower string) bool {
	return len(p) == len(lower) && bytes.EqualFold(p, []byte(lower))
}

// answer starts the response to a request, and completes it if all of it is
// available.
func (h *client) answer(r request) {
	head := string(r.method) == http.MethodHead
	if !head && string(r.method) != http.MethodGet {
		h.header(http.StatusMethodNotAllowed, "text/plain", -1, "Allow: GET, HEAD\r\n")
		h.text(http.StatusMethodNotAllowed, false)
		return
	}
	target, _, _ := bytes.Cut(r.target, []byte("?"))
	if f := h.files[string(target)]; f != nil && h.loop.Now()-f.loaded < cacheTime {
		h.send(f, r.minor, head)
		return
	}
	if n, ok := strings.CutPrefix(string(target), "/ticks/"); ok {
		if count, err := strconv.Atoi(n); err == nil && count >= 0 {
			h.ticks(count, r.minor, head)
			return
		}
	}
	h.file(string(target), r.minor, head)
}

// header starts a response. With a length of -1 the caller adds the rest of the
// header.
func (h *client) header(status int, kind string, length int64, more string) {
	h.out = append(h.out, "HTTP/1.1 "...)
	h.out = strconv.AppendInt(h.out, int64(status), 10)
	h.out = append(append(h.out, ' '), http.StatusText(status)...)
	h.out = append(append(h.out, "\r\nDate: "...), h.date()...)
	h.out = append(append(h.out, "\r\nContent-Type: "...), kind...)
	h.out = append(append(h.out, "\r\n"...), more...)
	if h.lastResponse {
		h.out = append(h.out, "Connection: close\r\n"...)
	}
	if length >= 0 {
		h.out = append(h.out, "Content-Length: "...)
		h.out = append(strconv.AppendInt(h.out, length, 10), "\r\n\r\n"...)
	}
}

// text completes a response whose body is the status text.
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

// refuse answers an invalid request and ends the connection, because the start
// of the next request is unknown.
func (h *client) refuse(status int) {
	h.lastResponse = true
	h.status(status, false)
}

// beginChunks starts a response of unknown length. HTTP/1.0 has no chunks: there
// the end of the connection is the end of the response.
func (h *client) beginChunks(minor byte) (chunked bool) {
	if minor == 0 {
		h.lastResponse = true
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

// ticks sends count lines at intervals of 100 ms, with a timer of the loop.
func (h *client) ticks(count int, minor byte, head bool) {
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
			h.finishResponse()
			return
		}
		n++
		if !h.writePaused { // a client that does not read misses ticks
			h.chunk("tick "+strconv.Itoa(n)+"\n", chunked)
			h.flush()
		}
		h.loop.CallLater(100*time.Millisecond, more)
	}
	more()
}
