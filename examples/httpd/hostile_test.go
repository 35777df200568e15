//go:build unix

package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/servertest"
	"goselectors/selectors"
)

var (
	hostileTime = flag.Duration("hostile.time", 2*time.Second, "duration of TestHostile")
	hostileSeed = flag.Uint64("hostile.seed", 0, "seed of TestHostile; 0 means a random one")
)

// hostileStreams are what a server on the Internet gets, beside requests.
var hostileStreams = []struct{ name, data string }{
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00\xab\r\n", 100)},
	{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00"},
	{"SSH", "SSH-2.0-OpenSSH_9.2\r\n"},
	{"Redis", "*1\r\n$4\r\nPING\r\n"},
	{"SMTP", "EHLO x\r\nMAIL FROM:<x>\r\n\r\n"},
	{"zeros", strings.Repeat("\x00", 70000)},
	{"line ends", strings.Repeat("\r\n", 40000)},
	{"endless target", "GET /" + strings.Repeat("%41", 30000)},
	{"endless value", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 100000)},
	{"endless fields", "GET / HTTP/1.1\r\n" + strings.Repeat("X: x\r\n", 20000)},
	{"line feeds", "GET / HTTP/1.1\nHost: x\n\n"},
	{"carriage returns", "GET / HTTP/1.1\rHost: x\r\r"},
	{"continued line", "GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n\tContent-Length: 5\r\n\r\nabcde"},
	{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nGET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"length and chunks", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"},
	{"chunks", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx\r\n0\r\n\r\n"},
	{"half a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 50000)},
	{"expectation", "GET /big.bin HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"},
	{"ranges", "GET /big.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=" + strings.Repeat("0-,", 3000) + "0-\r\n\r\n"},
	{"small ranges", strings.Repeat("GET /hello.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=1-1\r\n\r\n", 500)},
	{"requests in a row", strings.Repeat("GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n", 2000)},
	{"large files in a row", strings.Repeat("GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n", 200)},
	{"missing files in a row", strings.Repeat("GET /..%2f..%2fmissing HTTP/1.1\r\nHost: x\r\n\r\n", 500)},
	{"special files", strings.Repeat("GET /fifo HTTP/1.1\r\nHost: x\r\n\r\nGET /outside HTTP/1.1\r\nHost: x\r\n\r\n", 100)},
	{"paths", "GET /../.%2e/%2e%2e/%5c..%5c/etc/passwd?%00 HTTP/1.1\r\nHost: x\r\n\r\nGET //////sub//a%20b.html/ HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"ticks", strings.Repeat("GET /ticks/2 HTTP/1.1\r\nHost: x\r\n\r\n", 30) + "GET /ticks/36000 HTTP/1.0\r\n\r\n"},
	{"conditions", "GET /hello.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"" + strings.Repeat("\",\"", 2000) + "\r\nIf-Range: W/\"\r\nRange: bytes=--1\r\n\r\n"},
	{"upgrade", "GET /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"},
	{"proxy", "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\nGET http://x/hello.txt HTTP/1.1\r\nHost: y\r\n\r\n"},
}

// mutate returns a stream with some changes.
func mutate(r *rand.Rand, data string) string {
	special := []string{"\r", "\n", "\r\n", "\r\n\r\n", "\x00", " ", "\t", ":", ",", "/", "%", "\x7f", "\xff", "HTTP/1.1", "Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "Host: x\r\n"}
	p := []byte(data)
	for range r.IntN(4) {
		at := r.IntN(len(p) + 1)
		if r.IntN(2) == 0 {
			at = min(at, r.IntN(200)) // most of the meaning is at the beginning
		}
		end := at + r.IntN(min(len(p)-at, 50)+1)
		switch r.IntN(5) {
		case 0:
			p = append(p[:at], p[end:]...)
		case 1:
			p = []byte(string(p[:at]) + special[r.IntN(len(special))] + string(p[at:]))
		case 2:
			p = []byte(string(p[:at]) + strings.Repeat(string(p[at:end]), r.IntN(5)) + string(p[at:]))
		case 3:
			for i := at; i < end; i++ {
				p[i] ^= byte(1 << r.IntN(8))
			}
		case 4:
			other := hostileStreams[r.IntN(len(hostileStreams))].data
			p = append(p[:at:at], other[r.IntN(len(other)):]...)
		}
	}
	return string(p)
}

// beHostile makes a connection and sends a stream. It returns an error if the
// server neither sends anything nor ends the connection.
func beHostile(r *rand.Rand, addr, stream string) error {
	conn, err := net.DialTimeout("tcp", addr, servertest.Timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	reads, halfCloses, resets := r.IntN(4) > 0, r.IntN(2) == 0, r.IntN(4) == 0
	if resets {
		conn.(*net.TCPConn).SetLinger(0)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		conn.SetWriteDeadline(time.Now().Add(servertest.Timeout))
		for len(stream) > 0 {
			n := len(stream)
			if r.IntN(2) == 0 {
				n = 1 + r.IntN(n)
				time.Sleep(time.Duration(r.IntN(2)) * time.Millisecond)
			}
			if _, err := io.WriteString(conn, stream[:n]); err != nil {
				return
			}
			stream = stream[n:]
		}
		if halfCloses {
			conn.(*net.TCPConn).CloseWrite()
		}
	}()
	defer func() { <-sent }()
	if !reads { // then a write may wait until the server gives up the connection
		<-sent
		return nil
	}
	buf := make([]byte, 32<<10)
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		conn.SetReadDeadline(time.Now().Add(servertest.Timeout))
		if _, err := conn.Read(buf); errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("no data and no end within %v", servertest.Timeout)
		} else if err != nil {
			break
		}
	}
	conn.Close()
	return nil
}

// openFiles returns the files and sockets that the process has open, or nothing
// where that is not known. Descriptors of the kernel's facilities for waiting do not
// count: a selector makes some of them when it first needs them.
func openFiles() (names []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		name, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if !strings.HasPrefix(name, "anon_inode:") {
			names = append(names, name)
		}
	}
	return names
}

// TestHostile sends hostile streams and mutations of them over several connections
// at a time, while another client is served all the time. The server must not
// crash, hang, or keep memory or descriptors.
func TestHostile(t *testing.T) {
	seed := *hostileSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		const limit = time.Second
		s := startHere(t, backend, func(cfg *config) { cfg.limits = timeLimits{limit, limit, limit, limit} }, nil)
		if err := unix.Mkfifo(filepath.Join(s.dir, "fifo"), 0o644); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if t.Failed() {
				t.Logf("again: go test -run TestHostile/%s -hostile.seed %d", backend, seed)
			}
		}()
		servePolitely(t, s.addr, limit) // so that what is made once is there
		files, goroutines, memory := openFiles(), runtime.NumGoroutine(), heapSize()
		const workers = 16
		stop := make(chan struct{})
		var streams atomic.Int64
		var wg sync.WaitGroup
		for i := range workers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for n := i; ; n += workers {
					select {
					case <-stop:
						return
					default:
					}
					stream := hostileStreams[n%len(hostileStreams)]
					data := stream.data
					if n >= len(hostileStreams) {
						data = mutate(r, data)
					}
					if err := beHostile(r, s.addr, data); err != nil {
						t.Errorf("%s: %v; stream %.1000q", stream.name, err, data)
						return
					}
					streams.Add(1)
				}
			}()
		}
		polite := 0
		var slowest time.Duration
		var lastSample time.Time
		var peak uint64
		duration := *hostileTime / time.Duration(len(selectors.Backends()))
		for end := time.Now().Add(duration); time.Now().Before(end) || streams.Load() < int64(len(hostileStreams)) && !t.Failed(); {
			start := time.Now()
			servePolitely(t, s.addr, limit)
			slowest = max(slowest, time.Since(start))
			polite++
			if time.Since(lastSample) > 200*time.Millisecond {
				peak, lastSample = max(peak, heapSize()), time.Now()
			}
			time.Sleep(time.Millisecond)
		}
		close(stop)
		wg.Wait()
		t.Logf("%d streams; %d polite requests, the slowest took %v; heap at most %d KiB more", streams.Load(), polite, slowest.Round(time.Millisecond), (max(peak, memory)-memory)>>10)
		const maxMemory = 64 << 20
		if peak > memory+maxMemory {
			t.Errorf("%d bytes of heap, %d before", peak, memory)
		}
		waitGivenBack(t, files, goroutines)
		if now := heapSize(); now > memory+4<<20 {
			t.Errorf("%d bytes of heap at the end, %d before", now, memory)
		}
	})
}

// waitGivenBack waits until the process has no more descriptors and goroutines than
// before.
func waitGivenBack(t *testing.T, files []string, goroutines int) {
	t.Helper()
	for deadline := time.Now().Add(servertest.Timeout); len(openFiles()) > len(files) || runtime.NumGoroutine() > goroutines; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines, before %d; descriptors %q, before %q", runtime.NumGoroutine(), goroutines, openFiles(), files)
			return
		}
	}
}

// heapSize returns the size of the heap that is in use.
func heapSize() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// servePolitely makes two requests on a new connection. If it cannot send them within
// the limit, because the machine is busy, the server may close the connection.
func servePolitely(t *testing.T, addr string, limit time.Duration) {
	t.Helper()
	start := time.Now()
	conn, err := net.DialTimeout("tcp", addr, servertest.Timeout)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(servertest.Timeout))
	r := bufio.NewReader(conn)
	for range 2 {
		io.WriteString(conn, "GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n")
		sent := time.Since(start)
		response, err := http.ReadResponse(r, nil)
		if err != nil && sent > limit/2 {
			return
		}
		if err != nil {
			t.Errorf("a polite client: %v", err)
			return
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || string(body) != "hello, world\n" {
			t.Errorf("a polite client: %q, %v", body, err)
		}
		start = time.Now()
	}
}
