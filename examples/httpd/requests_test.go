//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goselectors/eventloop/stream"
	"goselectors/examples/internal/servertest"
)

// A rawRequest is a request, byte for byte, and the response to it.
type rawRequest struct {
	name    string
	request string
	status  int  // of the last response to the request
	next    bool // a request that follows is served
}

const end = "\r\nHost: x\r\n\r\n"

var rawRequests = []rawRequest{
	// Valid requests.
	{"1.1", "GET /hello.txt HTTP/1.1" + end, 200, true},
	{"1.1, close", "GET /hello.txt HTTP/1.1\r\nConnection: close" + end, 200, false},
	{"close in a list", "GET /hello.txt HTTP/1.1\r\nConnection: x, Close" + end, 200, false},
	{"close in a second field", "GET /hello.txt HTTP/1.1\r\nConnection: keep-alive\r\nConnection: close" + end, 200, false},
	{"1.0", "GET /hello.txt HTTP/1.0\r\n\r\n", 200, false},
	{"1.0 with a host", "GET /hello.txt HTTP/1.0" + end, 200, false},
	{"1.0, keep-alive", "GET /hello.txt HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 200, true},
	{"1.0, no chunks", "GET /ticks/0 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, false},
	{"1.2 is like 1.1", "GET /hello.txt HTTP/1.2" + end, 200, true},
	{"chunks", "GET /ticks/1 HTTP/1.1" + end, 200, true},
	{"chunks, no ticks", "GET /ticks/0 HTTP/1.1" + end, 200, true},
	{"HEAD", "HEAD /hello.txt HTTP/1.1" + end, 200, true},
	{"HEAD of chunks", "HEAD /ticks/5 HTTP/1.1" + end, 200, true},
	{"empty line before", "\r\nGET /hello.txt HTTP/1.1" + end, 200, true},
	{"empty host", "GET /hello.txt HTTP/1.1\r\nHost:\r\n\r\n", 200, true},
	{"host and port", "GET /hello.txt HTTP/1.1\r\nHost: localhost:80\r\n\r\n", 200, true},
	{"IPv6 host", "GET /hello.txt HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, true},
	{"no blank after the colon", "GET /hello.txt HTTP/1.1\r\nhost:x\r\n\r\n", 200, true},
	{"tabs around a value", "GET /hello.txt HTTP/1.1\r\nHost:\tx \t\r\n\r\n", 200, true},
	{"bytes above 127 in a value", "GET /hello.txt HTTP/1.1\r\nX: \xe4\xff" + end, 200, true},
	{"empty value", "GET /hello.txt HTTP/1.1\r\nX:" + end, 200, true},
	{"query", "GET /hello.txt?a=b&c|d HTTP/1.1" + end, 200, true},
	{"two slashes", "GET //hello.txt HTTP/1.1" + end, 200, true},
	{"dots", "GET /../sub/./../hello.txt HTTP/1.1" + end, 200, true},
	{"encoded", "GET /%68ello.txt HTTP/1.1" + end, 200, true},
	{"long", "GET /hello.txt?" + strings.Repeat("x", 8000) + " HTTP/1.1\r\nX: " + strings.Repeat("x", 8000) + end, 200, true},
	{"many fields", "GET /hello.txt HTTP/1.1" + strings.Repeat("\r\nX: x", 2500) + end, 200, true},

	// Bodies.
	{"GET with a body", "GET /hello.txt HTTP/1.1\r\nContent-Length: 5" + end + "abcde", 200, true},
	{"length 0", "GET /hello.txt HTTP/1.1\r\nContent-Length: 0" + end, 200, true},
	{"length with zeros", "GET /hello.txt HTTP/1.1\r\nContent-Length: 0005" + end + "abcde", 200, true},
	{"length with blanks", "GET /hello.txt HTTP/1.1\r\nContent-Length: \t 5 " + end + "abcde", 200, true},
	{"body like a request", "GET /hello.txt HTTP/1.1\r\nContent-Length: 32" + end + "GET /missing HTTP/1.1\r\nHost: y\r\n", 200, true},
	{"large file and a body", "GET /big.bin HTTP/1.1\r\nContent-Length: 500" + end + strings.Repeat("x", 500), 200, true},
	{"expectation", "GET /hello.txt HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 5" + end + "abcde", 200, true},
	{"expectation without a body", "GET /hello.txt HTTP/1.1\r\nExpect: 100-continue" + end, 200, true},
	{"expectation in 1.0", "GET /hello.txt HTTP/1.0\r\nConnection: keep-alive\r\nExpect: x\r\n\r\n", 200, true},
	{"expectation and 405", "POST /hello.txt HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5" + end, 405, false},
	{"other expectation", "GET /hello.txt HTTP/1.1\r\nExpect: 200" + end, 417, true},
	{"other expectation and a body", "GET /hello.txt HTTP/1.1\r\nExpect: 200\r\nContent-Length: 5" + end, 417, false},
	{"two expectations", "GET /hello.txt HTTP/1.1\r\nExpect: 100-continue\r\nExpect: 100-continue" + end, 417, true},

	// Methods and targets.
	{"POST", "POST /hello.txt HTTP/1.1\r\nContent-Length: 5" + end + "abcde", 405, true},
	{"unknown method", "BREW /hello.txt HTTP/1.1" + end, 405, true},
	{"OPTIONS", "OPTIONS /hello.txt HTTP/1.1" + end, 204, true},
	{"OPTIONS *", "OPTIONS * HTTP/1.1" + end, 204, true},
	{"GET *", "GET * HTTP/1.1" + end, 400, false},
	{"CONNECT", "CONNECT x:80 HTTP/1.1" + end, 405, true},
	{"CONNECT without a port", "CONNECT x HTTP/1.1" + end, 400, false},
	{"CONNECT with a path", "CONNECT /hello.txt HTTP/1.1" + end, 400, false},
	{"CONNECT with a query", "CONNECT x:80?y HTTP/1.1" + end, 400, false},
	{"GET of an authority", "GET x:80 HTTP/1.1" + end, 400, false},
	{"absolute form", "GET http://y/hello.txt HTTP/1.1" + end, 200, true},
	{"absolute form, 1.0", "GET http://y/hello.txt HTTP/1.0\r\n\r\n", 200, false},
	{"absolute form, upper case", "GET HTTP://y:80/hello.txt HTTP/1.1" + end, 200, true},
	{"absolute form without a path", "GET http://y HTTP/1.1" + end, 200, true},
	{"absolute form without a host field", "GET http://y/hello.txt HTTP/1.1\r\n\r\n", 400, false},
	{"absolute form without a host", "GET http:///hello.txt HTTP/1.1" + end, 400, false},
	{"absolute form with a user", "GET http://u@y/hello.txt HTTP/1.1" + end, 400, false},
	{"absolute form, bad host", "GET http://a\"b/hello.txt HTTP/1.1" + end, 400, false},
	{"absolute form, other scheme", "GET ftp://y/hello.txt HTTP/1.1" + end, 400, false},
	{"absolute form, NUL", "GET http://y/%00 HTTP/1.1" + end, 400, false},
	{"no slash", "GET hello.txt HTTP/1.1" + end, 400, false},
	{"fragment", "GET /hello.txt#a HTTP/1.1" + end, 400, false},
	{"control byte in the target", "GET /hello\x01.txt HTTP/1.1" + end, 400, false},
	{"tab in the target", "GET /hello\t.txt HTTP/1.1" + end, 400, false},
	{"DEL in the target", "GET /hello\x7f.txt HTTP/1.1" + end, 400, false},
	{"byte above 127 in the target", "GET /h\xe4llo.txt HTTP/1.1" + end, 400, false},
	{"encoded NUL", "GET /hello.txt%00 HTTP/1.1" + end, 400, false},
	{"bad encoding", "GET /hello%zz HTTP/1.1" + end, 400, false},
	{"out of the root", "GET /..%2f..%2f..%2fetc/passwd HTTP/1.1" + end, 404, true},
	{"long target", "GET /" + strings.Repeat("x", 9000) + " HTTP/1.1" + end, 414, false},
	{"endless target", "GET /" + strings.Repeat("x", 9000), 414, false},
	{"long name of a file", "GET /" + strings.Repeat("x", 1000) + " HTTP/1.1" + end, 404, true},

	// Request lines.
	{"no request line", "nonsense\r\n\r\n", 400, false},
	{"two empty lines", "\r\n\r\nGET /hello.txt HTTP/1.1" + end, 400, false},
	{"0.9", "GET /hello.txt\r\n\r\n", 400, false},
	{"2.0", "GET /hello.txt HTTP/2.0" + end, 505, false},
	{"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, false},
	{"0.9 with a version", "GET /hello.txt HTTP/0.9" + end, 505, false},
	{"lower case version", "GET /hello.txt http/1.1" + end, 400, false},
	{"long version", "GET /hello.txt HTTP/1.10" + end, 400, false},
	{"short version", "GET /hello.txt HTTP/1" + end, 400, false},
	{"version with a sign", "GET /hello.txt HTTP/+.1" + end, 400, false},
	{"blank before the method", " GET /hello.txt HTTP/1.1" + end, 400, false},
	{"two blanks before the target", "GET  /hello.txt HTTP/1.1" + end, 400, false},
	{"two blanks before the version", "GET /hello.txt  HTTP/1.1" + end, 400, false},
	{"blank after the version", "GET /hello.txt HTTP/1.1 " + end, 400, false},
	{"tabs in the request line", "GET\t/hello.txt\tHTTP/1.1" + end, 400, false},
	{"method with a colon", "GE:T /hello.txt HTTP/1.1" + end, 400, false},
	{"method above 127", "G\xcbT /hello.txt HTTP/1.1" + end, 400, false},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, false},

	// Lines.
	{"LF only", "GET /hello.txt HTTP/1.1\nHost: x\n\n", 400, false},
	{"LF at the end of the request line", "GET /hello.txt HTTP/1.1\nHost: x\r\n\r\n", 400, false},
	{"LF in a value", "GET /hello.txt HTTP/1.1\r\nX: a\nb" + end, 400, false},
	{"LF in the empty line", "GET /hello.txt HTTP/1.1\r\nHost: x\r\n\n", 400, false},
	{"CR in a value", "GET /hello.txt HTTP/1.1\r\nX: a\rb" + end, 400, false},
	{"CR CR LF", "GET /hello.txt HTTP/1.1\r\r\nHost: x\r\n\r\n", 400, false},
	{"CR in the target", "GET /hello\r.txt HTTP/1.1" + end, 400, false},
	{"CR tab", "GET /hello.txt HTTP/1.1\r\nX: a\r\tb" + end, 400, false},
	{"NUL in a value", "GET /hello.txt HTTP/1.1\r\nX: a\x00b" + end, 400, false},
	{"NUL in a name", "GET /hello.txt HTTP/1.1\r\nX\x00: a" + end, 400, false},
	{"control byte in a value", "GET /hello.txt HTTP/1.1\r\nX: a\x08b" + end, 400, false},
	{"DEL in a value", "GET /hello.txt HTTP/1.1\r\nX: a\x7fb" + end, 400, false},
	{"continued value", "GET /hello.txt HTTP/1.1\r\nX: a\r\n b" + end, 400, false},
	{"value continued with a tab", "GET /hello.txt HTTP/1.1\r\nX: a\r\n\tb: c" + end, 400, false},
	{"blank before the first name", "GET /hello.txt HTTP/1.1\r\n Host: x\r\n\r\n", 400, false},
	{"blank before the colon", "GET /hello.txt HTTP/1.1\r\nHost : x\r\n\r\n", 400, false},
	{"tab before the colon", "GET /hello.txt HTTP/1.1\r\nHost\t: x\r\n\r\n", 400, false},
	{"blank in a name", "GET /hello.txt HTTP/1.1\r\nX Y: a" + end, 400, false},
	{"name above 127", "GET /hello.txt HTTP/1.1\r\nX\xe4: a" + end, 400, false},
	{"name with a bracket", "GET /hello.txt HTTP/1.1\r\nX(a): a" + end, 400, false},
	{"no name", "GET /hello.txt HTTP/1.1\r\n: a" + end, 400, false},
	{"no colon", "GET /hello.txt HTTP/1.1\r\nnonsense" + end, 400, false},
	{"long header", "GET /hello.txt HTTP/1.1\r\nX: " + strings.Repeat("x", 20000) + end, 431, false},
	{"endless header", "GET /hello.txt HTTP/1.1\r\nX: " + strings.Repeat("x", 20000), 431, false},
	{"too many fields", "GET /hello.txt HTTP/1.1" + strings.Repeat("\r\nX: x", 3000) + end, 431, false},

	// Host.
	{"no host", "GET /hello.txt HTTP/1.1\r\n\r\n", 400, false},
	{"two hosts", "GET /hello.txt HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, false},
	{"two equal hosts", "GET /hello.txt HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", 400, false},
	{"two hosts in 1.0", "GET /hello.txt HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400, false},
	{"blank in the host", "GET /hello.txt HTTP/1.1\r\nHost: x y\r\n\r\n", 400, false},
	{"path in the host", "GET /hello.txt HTTP/1.1\r\nHost: x/y\r\n\r\n", 400, false},
	{"user in the host", "GET /hello.txt HTTP/1.1\r\nHost: u@x\r\n\r\n", 400, false},
	{"bad port", "GET /hello.txt HTTP/1.1\r\nHost: x:8a\r\n\r\n", 400, false},
	{"two ports", "GET /hello.txt HTTP/1.1\r\nHost: x:80:80\r\n\r\n", 400, false},
	{"open bracket", "GET /hello.txt HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, false},
	{"text after the bracket", "GET /hello.txt HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400, false},
	{"host above 127", "GET /hello.txt HTTP/1.1\r\nHost: \xe4\r\n\r\n", 400, false},

	// Lengths and codings.
	{"two lengths", "GET /hello.txt HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5" + end + "abcde", 400, false},
	{"two equal lengths", "GET /hello.txt HTTP/1.1\r\nContent-Length: 5\r\ncontent-length: 5" + end + "abcde", 400, false},
	{"two zero lengths", "GET /hello.txt HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0" + end, 400, false},
	{"list of lengths", "GET /hello.txt HTTP/1.1\r\nContent-Length: 5, 5" + end + "abcde", 400, false},
	{"length with a plus sign", "GET /hello.txt HTTP/1.1\r\nContent-Length: +5" + end + "abcde", 400, false},
	{"length with a minus sign", "GET /hello.txt HTTP/1.1\r\nContent-Length: -5" + end + "abcde", 400, false},
	{"hexadecimal length", "GET /hello.txt HTTP/1.1\r\nContent-Length: 0x5" + end + "abcde", 400, false},
	{"length with an underscore", "GET /hello.txt HTTP/1.1\r\nContent-Length: 1_0" + end + "abcdeabcde", 400, false},
	{"length with a no-break space", "GET /hello.txt HTTP/1.1\r\nContent-Length: \u00a05" + end + "abcde", 400, false},
	{"length with a latin-1 blank", "GET /hello.txt HTTP/1.1\r\nContent-Length: \xa05" + end + "abcde", 400, false},
	{"length with an ideographic space", "GET /hello.txt HTTP/1.1\r\nContent-Length: 5\u3000" + end + "abcde", 400, false},
	{"Arabic digits", "GET /hello.txt HTTP/1.1\r\nContent-Length: \u0665" + end + "abcde", 400, false},
	{"blank in the length", "GET /hello.txt HTTP/1.1\r\nContent-Length: 5 5" + end + "abcde", 400, false},
	{"empty length", "GET /hello.txt HTTP/1.1\r\nContent-Length:" + end, 400, false},
	{"largest length", "GET /hello.txt HTTP/1.1\r\nContent-Length: 1048577" + end, 413, false},
	{"length beyond 64 bits", "GET /hello.txt HTTP/1.1\r\nContent-Length: 18446744073709551621" + end, 413, false},
	{"length with an apostrophe", "GET /hello.txt HTTP/1.1\r\nContent-Length: 5'" + end, 400, false},
	{"length and coding", "GET /hello.txt HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked" + end + "0\r\n\r\n", 400, false},
	{"coding and length", "GET /hello.txt HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5" + end + "0\r\n\r\n", 400, false},
	{"chunked", "GET /hello.txt HTTP/1.1\r\nTransfer-Encoding: chunked" + end + "0\r\n\r\n", 501, false},
	{"gzip, chunked", "GET /hello.txt HTTP/1.1\r\nTransfer-Encoding: gzip, chunked" + end + "0\r\n\r\n", 501, false},
	{"unknown coding", "GET /hello.txt HTTP/1.1\r\nTransfer-Encoding: xchunked" + end + "0\r\n\r\n", 501, false},
	{"chunked twice", "GET /hello.txt HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked" + end + "0\r\n\r\n", 400, false},
	{"chunked with a vertical tab", "GET /hello.txt HTTP/1.1\r\nTransfer-Encoding: \x0bchunked" + end + "0\r\n\r\n", 400, false},
	{"chunked in quotes", "GET /hello.txt HTTP/1.1\r\nTransfer-Encoding: \"chunked\"" + end + "0\r\n\r\n", 400, false},
	{"empty coding", "GET /hello.txt HTTP/1.1\r\nTransfer-Encoding:" + end, 400, false},
	{"chunked in 1.0", "GET /hello.txt HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, false},
}

// nextRequest follows each of the requests in one write.
const nextRequest = "GET /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// statuses sends bytes and returns the statuses of the responses until the end of
// the connection. The last response must announce the end. reason is the text of
// the last response that is not 200.
func statuses(conn net.Conn, request, method string) (got []int, reason string, err error) {
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, request)
		sent <- err
	}()
	defer func() { err = errors.Join(err, <-sent) }()
	r := bufio.NewReader(conn)
	last := false
	for {
		if _, err := r.Peek(1); err == io.EOF && last {
			return got, reason, nil
		}
		response, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return got, reason, err
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return got, reason, err
		}
		if response.StatusCode == http.StatusContinue {
			continue // the response follows
		}
		got = append(got, response.StatusCode)
		if response.StatusCode != http.StatusOK {
			reason = string(body)
		} else if response.Header.Get("Date") == "" {
			return got, reason, errors.New("no date")
		}
		last, method = response.Close, http.MethodGet
	}
}

func (r rawRequest) method() string {
	method, _, _ := strings.Cut(strings.TrimSpace(r.request), " ")
	return method
}

func (r rawRequest) want() []int {
	if r.next {
		return []int{r.status, http.StatusOK}
	}
	return []int{r.status}
}

// TestRawRequests sends each request, followed by another one. It also checks that
// each fault is the reason of a refusal, so no rule is without a test.
func TestRawRequests(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		s := startHere(t, backend, nil, nil)
		var reasons strings.Builder
		for _, r := range rawRequests {
			got, reason, err := statuses(servertest.Dial(t, s.addr), r.request+nextRequest, r.method())
			if diff := cmp.Diff(r.want(), got); diff != "" || err != nil {
				t.Errorf("%s: statuses (-want +got): %s%v\nof %.200q", r.name, diff, err, r.request)
			}
			reasons.WriteString(reason)
		}
		faults := []*fault{faultBytes, faultEmptyLines, faultLongLine, faultLongHead, faultSyntax, faultTarget}
		for i := range checks {
			faults = append(faults, &checks[i].fault)
		}
		for _, f := range faults {
			if !strings.Contains(reasons.String(), http.StatusText(f.status)+": "+f.text) {
				t.Errorf("no request is refused because %s", f.text)
			}
		}
	})
}

// A splitHandler gives the first data to the client in two parts.
type splitHandler struct {
	*client
	size int // of the first part
}

func (h *splitHandler) DataReceived(conn *stream.Conn, p []byte) {
	n := min(h.size, len(p))
	h.size = 0
	if n > 0 {
		h.client.DataReceived(conn, p[:n])
	}
	if n < len(p) {
		h.client.DataReceived(conn, p[n:])
	}
}

// TestSplitRequests sends each request split at every position.
func TestSplitRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a few seconds")
	}
	var size atomic.Int64
	s := startHere(t, "", nil, func(c *client) stream.Handler { return &splitHandler{c, int(size.Load())} })
	for _, r := range rawRequests {
		if strings.Contains(r.request, "/ticks/1") {
			continue // takes 100 ms each time
		}
		data := r.request + nextRequest
		step := max(1, len(data)/200)
		for at := 1; at < len(r.request)+2; at += step {
			size.Store(int64(at))
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := statuses(conn, data, r.method())
			conn.Close()
			if diff := cmp.Diff(r.want(), got); diff != "" || err != nil {
				t.Errorf("%s, split at %d: statuses (-want +got): %s%v", r.name, at, diff, err)
				break
			}
		}
	}
}

// TestByteByByte parses a header that arrives byte by byte. The search must not
// begin anew with each byte.
func TestByteByByte(t *testing.T) {
	head := []byte("\r\nGET / HTTP/1.1\r\nX: " + strings.Repeat("x", 10000) + end)
	var h headFinder
	for i := range head {
		size, f := h.find(head[:i])
		if size != 0 || f != nil {
			t.Fatalf("after %d of %d bytes: %d, %v", i, len(head), size, f)
		}
		if h.searched != i {
			t.Fatalf("after %d bytes, %d were searched", i, h.searched)
		}
		if i > 100 {
			clear(head[100 : i-1]) // these must not be looked at again
		}
	}
	if size, f := h.find(head); size != len(head) || f != nil {
		t.Errorf("complete: %d, %v; want %d", size, f, len(head))
	}
}

// TestResponseToHead compares the header fields of HEAD and GET.
func TestResponseToHead(t *testing.T) {
	s := startHere(t, "", nil, nil)
	client := &http.Client{Timeout: servertest.Timeout, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/hello.txt", "/empty", "/big.bin", "/missing", "/sub/", "/ticks/0"} {
		var headers []string
		for _, method := range []string{"GET", "HEAD"} {
			request, _ := http.NewRequest(method, "http://"+s.addr+path, nil)
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			response.Header.Del("Date")
			headers = append(headers, fmt.Sprint(response.Status, response.Header, response.ContentLength, response.TransferEncoding))
		}
		if headers[0] != headers[1] {
			t.Errorf("%s: HEAD has other fields than GET:\n%s\n%s", path, headers[1], headers[0])
		}
	}
}
