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
	bodyRemaining int64 // bytes of a request body still to be discarded
	responding    bool  // a response is in progress; the next request waits
	writePaused   bool  // too much data waits to be written
	lastResponse  bool  // the last response has started; later input is discarded
	finishing     bool  // the server is stopping; this is the last request
	eof           bool  // the client has closed its side
	sendingFile   bool  // the response in progress is a large file
	deadline      deadline
}

// flushSize is the number of collected bytes of responses that causes a write.
const flushSize = 64 << 10

func (c *client) ConnectionMade(conn *stream.Conn) {
	c.conn, c.loopState = conn, c.loopStates[conn.Loop()]
	c.loopStates = nil
	c.updateDeadline()
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
	found := false // a request
	for len(p) > 0 && !c.responding && !c.writePaused && !c.lastResponse && !c.conn.Closed() {
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
		found = true
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
	switch {
	case c.lastResponse || len(p) == 0:
		c.unparsed = nil // an idle connection has no buffer
	case found || len(c.unparsed) == 0: // otherwise p is c.unparsed
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
		if _, err := c.conn.Write(c.out.Bytes()); err != nil {
			c.conn.Close() // what the client has sent does not matter any more
		}
		c.out.Reset()
	}
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
	if !c.responding {
		c.serve(c.unparsed)
	}
}

// EOFReceived keeps the connection open if there are responses to be written.
func (c *client) EOFReceived(*stream.Conn) bool {
	c.eof = true
	return c.responding || c.writePaused
}

func (c *client) ConnectionLost(*stream.Conn, error) {
	c.deadline.stop()
}
