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
	loopStates map[any]*loopState // by loop; nil once the client is on its loop
	*loopState
	conn          *stream.Conn
	unparsed      []byte    // received, not yet parsed
	bodyRemaining int64     // bytes of a request body still to be discarded
	responding    bool      // a response is in progress; the next request waits
	writePaused   bool      // too much data waits to be written
	lastResponse  bool      // the last response has started; later input is discarded
	eof           bool      // the client has closed its side
	transfer      *transfer // of a large file; nil if there is none
}

const (
	maxHeaderSize = 16 << 10 // bytes
	flushSize     = 64 << 10 // collected bytes of responses that cause a write
)

// A request holds the parts of a request that the server uses. The slices point
// into the read buffer.
type request struct {
	method, target []byte
	minorVersion   byte // x of HTTP/1.x
	keepAlive      bool
	contentLength  int64
}

func (c *client) ConnectionMade(conn *stream.Conn) {
	c.conn, c.loopState = conn, c.loopStates[conn.Loop()]
	c.loopStates = nil
}

func (c *client) DataReceived(_ *stream.Conn, p []byte) {
	if c.lastResponse {
		return
	}
	if len(c.unparsed) > 0 {
		c.unparsed = append(c.unparsed, p...)
		p = c.unparsed
	}
	c.serve(p)
}

// serve handles the requests in p and stores what it cannot handle yet. Responses
// that are available at once are collected in a buffer and written together.
func (c *client) serve(p []byte) {
	for !c.responding && !c.writePaused && !c.lastResponse {
		n := min(c.bodyRemaining, int64(len(p)))
		c.bodyRemaining -= n
		p = bytes.TrimLeft(p[n:], "\r\n") // empty lines are allowed before a request
		if len(p) == 0 {
			break
		}
		end := bytes.Index(p, []byte("\r\n\r\n"))
		if end > maxHeaderSize || end < 0 && len(p) > maxHeaderSize {
			c.refuse(http.StatusRequestHeaderFieldsTooLarge)
			break
		}
		if end < 0 {
			break // incomplete
		}
		r, status := parseRequest(p[:end])
		p = p[end+4:]
		if status != 0 {
			c.refuse(status)
			break
		}
		c.bodyRemaining = r.contentLength
		c.lastResponse = !r.keepAlive
		c.respond(r)
		if len(c.out) > flushSize {
			c.flush()
		}
	}
	c.flush()
	if c.lastResponse || len(p) == 0 {
		c.unparsed = nil // an idle connection has no buffer
	} else {
		c.unparsed = append(c.unparsed[:0], p...)
	}
	c.updateReading()
	switch {
	case c.responding:
	case c.lastResponse:
		c.closeAfterResponse()
	case c.eof && !c.writePaused:
		c.conn.Close()
	}
}

// updateReading pauses reading while the client cannot serve requests. Otherwise
// the requests of a client that reads no responses would fill the memory.
func (c *client) updateReading() {
	if (c.responding || c.writePaused) && !c.lastResponse {
		c.conn.PauseReading()
	} else {
		c.conn.ResumeReading()
	}
}

// flush writes the collected responses.
func (c *client) flush() {
	if len(c.out) > 0 {
		c.conn.Write(c.out)
		c.out = c.out[:0]
	}
}

// finishResponse marks the response in progress as complete and serves the
// requests that were received meanwhile.
func (c *client) finishResponse() {
	c.responding = false
	c.serve(c.unparsed)
}

// closeAfterResponse closes the write side and lets the connection end when the
// client closes its side or is idle for two seconds. If the client still sends
// data, Close would reset the connection, and the response could be lost.
func (c *client) closeAfterResponse() {
	c.conn.CloseWrite()
	c.conn.SetIdleTimeout(2 * time.Second)
}

func (c *client) PauseWriting(*stream.Conn) {
	c.writePaused = true
	c.updateReading()
}

func (c *client) ResumeWriting(*stream.Conn) {
	c.writePaused = false
	switch {
	case c.transfer != nil:
		c.transfer.readNext(c)
	case !c.responding:
		c.serve(c.unparsed)
	}
}

// EOFReceived keeps the connection open if there are responses to be written.
func (c *client) EOFReceived(*stream.Conn) bool {
	c.eof = true
	return c.responding || c.writePaused
}

func (c *client) ConnectionLost(*stream.Conn, error) {
	if c.transfer != nil {
		c.transfer.connectionLost()
	}
}

// parseRequest parses a request line and the header fields. If the request is not
// valid or not supported, status is the status of the response; otherwise it is 0.
func parseRequest(p []byte) (r request, status int) {
	line, header, _ := bytes.Cut(p, []byte("\r\n"))
	if status := r.parseRequestLine(line); status != 0 {
		return r, status
	}
	hosts := 0
	for len(header) > 0 {
		line, header, _ = bytes.Cut(header, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
			return r, http.StatusBadRequest
		}
		value = bytes.TrimSpace(value)
		switch {
		case equalFold(name, "host"):
			hosts++
		case equalFold(name, "connection"):
			r.parseConnection(value)
		case equalFold(name, "content-length"):
			n, err := strconv.ParseUint(string(value), 10, 62)
			if err != nil || r.contentLength != 0 {
				return r, http.StatusBadRequest
			}
			r.contentLength = int64(n)
		case equalFold(name, "transfer-encoding"):
			return r, http.StatusNotImplemented
		}
	}
	if hosts != 1 && r.minorVersion > 0 {
		return r, http.StatusBadRequest
	}
	return r, 0
}

// parseRequestLine parses the method, the target and the version. Its result is a
// status as in parseRequest.
func (r *request) parseRequestLine(line []byte) (status int) {
	var version []byte
	var ok bool
	if r.method, line, ok = bytes.Cut(line, []byte(" ")); !ok {
		return http.StatusBadRequest
	}
	if r.target, version, ok = bytes.Cut(line, []byte(" ")); !ok || len(version) != 8 || !bytes.HasPrefix(version, []byte("HTTP/")) {
		return http.StatusBadRequest
	}
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) {
		return http.StatusHTTPVersionNotSupported
	}
	r.minorVersion = version[7] - '0'
	r.keepAlive = r.minorVersion > 0
	return 0
}

// parseConnection parses the value of the header field Connection.
func (r *request) parseConnection(value []byte) {
	for token := range bytes.SplitSeq(value, []byte(",")) {
		switch token = bytes.TrimSpace(token); {
		case equalFold(token, "close"):
			r.keepAlive = false
		case equalFold(token, "keep-alive"):
			r.keepAlive = true
		}
	}
}

// equalFold compares without regard to case and does not allocate.
func equalFold(p []byte, lower string) bool {
	return len(p) == len(lower) && bytes.EqualFold(p, []byte(lower))
}

// respond starts the response to a request. It also completes the response if all
// of it is available at once.
func (c *client) respond(r request) {
	isHead := string(r.method) == http.MethodHead
	if !isHead && string(r.method) != http.MethodGet {
		c.writeHeader(http.StatusMethodNotAllowed, "text/plain", -1, "Allow: GET, HEAD\r\n")
		c.writeStatusBody(http.StatusMethodNotAllowed, false)
		return
	}
	target, _, _ := bytes.Cut(r.target, []byte("?"))
	if f := c.files[string(target)]; f != nil && c.loop.Now()-f.loadedAt < cacheDuration {
		c.writeFile(f, r.minorVersion, isHead)
		return
	}
	if n, ok := strings.CutPrefix(string(target), "/ticks/"); ok {
		if count, err := strconv.Atoi(n); err == nil && count >= 0 {
			c.serveTicks(count, r.minorVersion, isHead)
			return
		}
	}
	c.serveFile(string(target), r.minorVersion, isHead)
}

// writeHeader adds the status line and the header fields to c.out. extraFields is
// empty or consists of complete lines. If contentLength is -1, the caller adds the
// end of the header.
func (c *client) writeHeader(status int, contentType string, contentLength int64, extraFields string) {
	c.out = append(c.out, "HTTP/1.1 "...)
	c.out = strconv.AppendInt(c.out, int64(status), 10)
	c.out = append(append(c.out, ' '), http.StatusText(status)...)
	c.out = append(append(c.out, "\r\nDate: "...), c.date()...)
	c.out = append(append(c.out, "\r\nContent-Type: "...), contentType...)
	c.out = append(append(c.out, "\r\n"...), extraFields...)
	if c.lastResponse {
		c.out = append(c.out, "Connection: close\r\n"...)
	}
	if contentLength >= 0 {
		c.writeContentLength(contentLength)
	}
}

// writeContentLength adds the field Content-Length and ends the header.
func (c *client) writeContentLength(n int64) {
	c.out = append(c.out, "Content-Length: "...)
	c.out = append(strconv.AppendInt(c.out, n, 10), "\r\n\r\n"...)
}

// writeStatusBody ends a header and adds the status text as the body.
func (c *client) writeStatusBody(status int, isHead bool) {
	text := http.StatusText(status) + "\n"
	c.writeContentLength(int64(len(text)))
	if !isHead {
		c.out = append(c.out, text...)
	}
}

// writeStatus adds a response whose body is the status text.
func (c *client) writeStatus(status int, isHead bool) {
	c.writeHeader(status, "text/plain", -1, "")
	c.writeStatusBody(status, isHead)
}

// refuse responds to an invalid request and ends the connection, because it is not
// known where the next request starts.
func (c *client) refuse(status int) {
	c.lastResponse = true
	c.writeStatus(status, false)
}

// beginChunks starts a response of unknown length. HTTP/1.0 has no chunks. There
// the end of the connection marks the end of the response.
func (c *client) beginChunks(minorVersion byte) (chunked bool) {
	if minorVersion == 0 {
		c.lastResponse = true
		c.writeHeader(http.StatusOK, "text/plain; charset=utf-8", -1, "")
	} else {
		c.writeHeader(http.StatusOK, "text/plain; charset=utf-8", -1, "Transfer-Encoding: chunked\r\n")
	}
	c.out = append(c.out, "\r\n"...)
	return minorVersion > 0
}

// writeChunk adds a part of the body. With chunked, an empty text is the end of the
// body.
func (c *client) writeChunk(text string, chunked bool) {
	if !chunked {
		c.out = append(c.out, text...)
		return
	}
	c.out = append(strconv.AppendInt(c.out, int64(len(text)), 16), "\r\n"...)
	c.out = append(append(c.out, text...), "\r\n"...)
}

// serveTicks sends count lines at intervals of 100 ms, with a timer of the loop.
func (c *client) serveTicks(count int, minorVersion byte, isHead bool) {
	chunked := c.beginChunks(minorVersion)
	if isHead {
		return
	}
	c.responding = true
	c.flush()
	n := 0
	var tick func()
	tick = func() {
		switch {
		case c.conn.Closed():
			return
		case n == count:
			if chunked {
				c.writeChunk("", true) // the last chunk
			}
			c.flush()
			c.finishResponse()
			return
		}
		n++
		if !c.writePaused { // a client that does not read misses ticks
			c.writeChunk("tick "+strconv.Itoa(n)+"\n", chunked)
			c.flush()
		}
		c.loop.CallLater(100*time.Millisecond, tick)
	}
	tick()
}
