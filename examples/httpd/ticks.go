package main

import (
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"
)

const maxTicks = 36000 // an hour

// parseTicks returns the number in a path like /ticks/5.
func parseTicks(path string) (count int, ok bool) {
	number, ok := strings.CutPrefix(path, "/ticks/")
	if !ok || !isNumber(number) {
		return 0, false
	}
	count, err := strconv.Atoi(number)
	return count, err == nil && count <= maxTicks
}

// serveTicks sends count lines at intervals of 100 ms, with a timer of the loop.
// The length of the response is not known, so it is sent in chunks. HTTP/1.0 has
// no chunks. There the end of the connection marks the end of the response.
func (c *client) serveTicks(r *http.Request, count int) {
	header := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	chunked := r.ProtoMinor > 0
	if chunked {
		header["Transfer-Encoding"] = []string{"chunked"}
	} else {
		c.lastResponse = true
	}
	c.writeHead(http.StatusOK, header, r)
	if r.Method == http.MethodHead {
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
				httputil.NewChunkedWriter(&c.out).Close()
				c.out.WriteString("\r\n") // no trailer fields
			}
			c.finishResponse()
			return
		}
		n++
		if !c.writePaused { // a client that does not read misses ticks
			line := "tick " + strconv.Itoa(n) + "\n"
			if chunked {
				httputil.NewChunkedWriter(&c.out).Write([]byte(line))
			} else {
				c.out.WriteString(line)
			}
			c.flush()
		}
		c.loop.CallLater(100*time.Millisecond, tick)
	}
	c.loop.CallSoon(tick)
}
