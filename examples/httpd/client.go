package main

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"strings"
	"time"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
)

// A loopState holds what the clients of one loop share. Only the goroutine of that
// loop uses it, except for root, which all goroutines may use.
type loopState struct {
	loop   *eventloop.Loop
	root   *os.Root
	limits timeLimits
	cache  fileCache

	clients   map[*client]struct{}
	stopped   chan struct{} // closed when the last client has left; nil while the server runs
	isStopped bool          // stopped is closed

	// One request is parsed and answered at a time, so these are shared too. They
	// are empty between callbacks.
	raw        rawHead
	text       strings.Reader
	textReader *bufio.Reader
	response   response
	out        bytes.Buffer // responses to be written

	dateHeader  string        // value of the Date header
	dateUpdated time.Duration // loop time of dateHeader
}

func newLoopState(loop *eventloop.Loop, root *os.Root, limits timeLimits) *loopState {
	s := &loopState{loop: loop, root: root, limits: limits, textReader: bufio.NewReader(nil)}
	s.response.header = make(http.Header)
	s.cache.files = make(map[string]*file)
	s.clients = make(map[*client]struct{})
	return s
}

// date returns the value of the Date header. It is at most half a second old.
func (s *loopState) date() string {
	if now := s.loop.Now(); s.dateHeader == "" || now-s.dateUpdated > time.Second/2 {
		s.dateHeader, s.dateUpdated = time.Now().UTC().Format(http.TimeFormat), now
	}
	return s.dateHeader
}

// A client is one connection.
type client struct {
	loopStates map[*eventloop.Loop]*loopState // nil once the client is on its loop
	*loopState
	conn          *stream.Conn
	unparsed      []byte // received, not yet parsed
	head          headFinder
	bodyRemaining int64     // bytes of a request body still to be discarded
	responding    bool      // a response is in progress; the next request waits
	writePaused   bool      // too much data waits to be written
	lastResponse  bool      // the last response has started; later input is discarded
	finishing     bool      // the server is stopping; this is the last request
	eof           bool      // the client has closed its side
	transfer      *transfer // of a large file; nil if there is none
	deadline      deadline
}

// flushSize is the number of collected bytes of responses that causes a write.
const flushSize = 64 << 10

func (c *client) ConnectionMade(conn *stream.Conn) {
	c.conn, c.loopState = conn, c.loopStates[conn.Loop()]
	c.loopStates = nil
	c.clients[c] = struct{}{}
	c.updateDeadline()
	if c.stopped != nil {
		c.ShutdownRequested(conn)
	}
}

func (c *client) DataReceived(_ *stream.Conn, p []byte) {
	if c.lastResponse {
		return
	}
	p = c.discardBody(p)
	if len(c.unparsed) > 0 {
		c.unparsed = append(c.unparsed, p...)
		p = c.unparsed
	}
	c.serve(p)
}

// serve handles the requests in p and stores what it cannot handle yet. Responses
// that are available at once are collected in a buffer and written together.
func (c *client) serve(p []byte) {
	for !c.responding && !c.writePaused && !c.lastResponse && !c.conn.Closed() {
		if len(p) == 0 {
			break
		}
		size, f := c.head.find(p)
		if size == 0 && f == nil {
			break // incomplete
		}
		var r *http.Request
		if f == nil {
			r, f = c.parseHead(p[:size])
		}
		if f != nil {
			c.refuse(f)
			break
		}
		c.head = headFinder{}
		c.deadline.requests++
		c.bodyRemaining = r.ContentLength
		p = c.discardBody(p[size:])
		c.lastResponse = r.Close || c.finishing
		c.respond(r)
		if c.out.Len() > flushSize {
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
		c.conn.CloseWrite() // see phaseLinger
	case c.eof && !c.writePaused:
		c.conn.Close()
	case c.finishing:
		c.stopIfDone()
	}
	c.updateDeadline()
}

// respond starts the response to a request. It also completes the response if all
// of it is available at once.
func (c *client) respond(r *http.Request) {
	const allowed = "GET, HEAD, OPTIONS"
	w := &c.response
	w.reset()
	expect, expects := r.Header["Expect"]
	expects = expects && r.ProtoMinor > 0 // RFC 9110 10.1.1: ignored in HTTP/1.0
	switch {
	case expects && (len(expect) > 1 || !strings.EqualFold(expect[0], "100-continue")):
		c.lastResponse = c.lastResponse || r.ContentLength > 0
		c.respondText(r, http.StatusExpectationFailed, "the only expectation that is known is 100-continue")
	case r.Method == http.MethodOptions:
		w.header.Set("Allow", allowed)
		w.WriteHeader(http.StatusNoContent)
		c.sendResponse(r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		// A client that waits for "100 Continue" need not send the body after this
		// response, and may send it. So it is not known where the next request starts.
		c.lastResponse = c.lastResponse || expects && r.ContentLength > 0
		w.header.Set("Allow", allowed)
		c.respondText(r, http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed))
	default:
		if expects && r.ContentLength > 0 {
			c.out.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
		}
		if count, ok := parseTicks(r.URL.Path); ok {
			c.serveTicks(r, count)
		} else {
			c.serveFile(r)
		}
	}
}

// discardBody returns what follows the body of the last request in p.
func (c *client) discardBody(p []byte) []byte {
	n := min(c.bodyRemaining, int64(len(p)))
	c.bodyRemaining -= n
	return p[n:]
}

// updateReading pauses reading while the client cannot serve requests. Otherwise
// the requests of a client that reads no responses would fill the memory. A body
// is always read: the client may read no response before it has sent all of it.
func (c *client) updateReading() {
	if (c.responding || c.writePaused) && !c.lastResponse && c.bodyRemaining == 0 {
		c.conn.PauseReading()
	} else {
		c.conn.ResumeReading()
	}
}

// flush writes the collected responses.
func (c *client) flush() {
	if c.out.Len() > 0 {
		c.write(c.out.Bytes())
		c.out.Reset()
	}
}

// write writes to the connection. An error ends the connection, and
// ConnectionLost follows.
func (c *client) write(p []byte) {
	n, _ := c.conn.Write(p)
	c.deadline.written += int64(n)
}

// finishResponse marks the response in progress as complete and serves the
// requests that were received meanwhile.
func (c *client) finishResponse() {
	c.responding = false
	c.serve(c.unparsed)
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
	delete(c.clients, c)
	c.checkStopped()
	c.deadline.stop()
	if c.transfer != nil {
		c.transfer.connectionLost()
	}
}
