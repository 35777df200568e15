//go:build unix

package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goselectors/examples/internal/servertest"
)

var (
	hostileTime = flag.Duration("hostile.time", 2*time.Second, "`duration` of TestHostile, for all backends together; 0 means one connection a backend")
	hostileSeed = flag.Uint64("hostile.seed", 0, "`number` of the first connection of TestHostile; 0 means a random one")
)

// hostileStreams are the inputs that TestHostile mutates.
var hostileStreams = []string{
	"*524289\r\n" + strings.Repeat("$0\r\n\r\n", 200),
	"*1048576\r\n" + strings.Repeat("$3\r\nDEL\r\n", 1000),
	"*1048576\r\n$67108864\r\nabc",
	"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108864\r\n" + strings.Repeat("x", 300_000),
	"*-1\r\n*0\r\n*-2147483648\r\n*2147483648\r\n*18446744073709551616\r\n",
	"*1\r\n$-1\r\n*1\r\n$67108865\r\n",
	"$4\r\nPING\r\n+OK\r\n:1\r\n_\r\n%1\r\n",
	strings.Repeat("x", 70_000),
	strings.Repeat("\r\n", 20_000),
	strings.Repeat("a ", 30_000) + "\r\n",
	strings.Repeat(resp("GET", "big"), 500),
	strings.Repeat("GET big\r\n", 500) + resp("QUIT") + resp("GET", "big"),
	resp("ECHO", strings.Repeat("y", 1<<20)) + resp("ECHO", strings.Repeat("y", 70_000)),
	strings.Repeat("PING\r\n", 20_000),
	strings.Repeat(resp("SET", "k", "v", "PX", "1")+resp("GET", "k")+resp("INCR", "k")+resp("TTL", "k"), 500),
	resp("SET", "k", "v", "PX", "9223372036854775807") + resp("EXPIRE", "k", "-9223372036854775808") + resp("EXPIRE", "k", "9223372036"),
	strings.Repeat(resp("SET", "v", strings.Repeat("z", 200_000))+resp("SET", "v", "")+resp("GET", "v"), 10),
	resp("HELLO", "3", "AUTH", "default", "", "SETNAME", "\xff") + resp("HELLO", "3") + resp("RESET") + resp("QUIT") + resp("PING"),
	resp("CLIENT", "SETNAME", strings.Repeat("n", 100_000)) + resp("CLIENT", "SETINFO", "LIB-NAME", "\r\n") + resp("CLIENT", "INFO") + resp("CLIENT"),
	strings.Repeat(resp("COMMAND")+resp("COMMAND", "DOCS")+resp("INFO"), 300),
	resp("CONFIG", "GET", strings.Repeat("*", 10_000)) + resp("CONFIG", "GET", "[") + resp("CONFIG", "GET", "\\") + resp("CONFIG", "GET", strings.Repeat("[a-", 100)),
	"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + resp("SET", "k", "smuggled"),
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00\xff", 300),
	"*1\n$4\nPING\n*1\r\n$3\r\nPING\r\n*1\r\n$4\r\nPING\n\r",
	resp(append([]string{"DEL"}, strings.Split(strings.Repeat("k ", 20_000), " ")...)...) + resp("EXISTS", "k") + resp(""),
}

// loopFiles is the number of descriptors that a loop may open while it runs.
const loopFiles = 8

// A hostile is one connection of TestHostile. Its number determines all that it does.
type hostile struct {
	random *rand.Rand
	input  []byte
}

func newHostile(number uint64) *hostile {
	h := &hostile{random: rand.New(rand.NewPCG(number, 1))}
	h.input = []byte(hostileStreams[h.random.IntN(len(hostileStreams))])
	for range h.random.IntN(6) {
		h.mutate()
	}
	return h
}

// part returns a random part of p.
func (h *hostile) part(p []byte) []byte {
	i := h.random.IntN(len(p) + 1)
	j := i + h.random.IntN(min(len(p)-i, 2000)+1)
	return p[i:j]
}

func (h *hostile) mutate() {
	p := h.input
	at := h.random.IntN(len(p) + 1)
	insert := func(q []byte) { h.input = bytes.Join([][]byte{p[:at], q, p[at:]}, nil) }
	switch h.random.IntN(8) {
	case 0: // change some bytes
		for range 1 + h.random.IntN(10) {
			if len(p) > 0 {
				p[h.random.IntN(len(p))] = byte(h.random.IntN(256))
			}
		}
	case 1: // change a byte of the syntax
		if i := bytes.IndexAny(p[at:], "*$\r\n0123456789"); i >= 0 {
			p[at+i] = "*$\r\n0123456789"[h.random.IntN(14)]
		}
	case 2: // delete
		q := h.part(p)
		h.input = bytes.Replace(p, q, nil, 1)
	case 3: // repeat
		insert(bytes.Repeat(h.part(p), 1+h.random.IntN(5)))
	case 4: // mix with another input
		insert(h.part([]byte(hostileStreams[h.random.IntN(len(hostileStreams))])))
	case 5: // truncate
		h.input = p[:at]
	case 6: // an extreme number
		numbers := []string{"0", "-1", "1048576", "1048577", "67108864", "67108865", "2147483647", "9223372036854775807", "18446744073709551615"}
		insert([]byte(numbers[h.random.IntN(len(numbers))]))
	case 7: // a random piece
		q := make([]byte, h.random.IntN(100))
		for i := range q {
			q[i] = byte(h.random.Uint32())
		}
		insert(q)
	}
}

// run sends the input in pieces, reads all, some or none of the replies, and ends
// the connection in one of several ways. It does not take long.
func (h *hostile) run(addr string) error {
	c, err := net.DialTimeout("tcp", addr, servertest.Timeout)
	if err != nil {
		return err
	}
	defer c.Close()
	conn := c.(*net.TCPConn)
	conn.SetNoDelay(true)
	conn.SetDeadline(time.Now().Add(time.Duration(10+h.random.IntN(100)) * time.Millisecond))
	maxPiece := []int{1, 10, 1000, 1 << 20}[h.random.IntN(4)]
	reads, end := h.random.IntN(3), h.random.IntN(4)
	var reading sync.WaitGroup
	defer reading.Wait()
	if reads > 0 {
		reading.Add(1)
		go func() {
			defer reading.Done()
			if reads == 1 {
				io.Copy(io.Discard, conn)
			} else {
				io.CopyN(io.Discard, conn, 1000)
			}
		}()
	}
	for i, p := 0, h.input; len(p) > 0 && err == nil; i++ {
		n := min(1+h.random.IntN(maxPiece), len(p))
		if i == 2000 {
			n = len(p) // very many writes would take too long
		}
		_, err = conn.Write(p[:n]) // fails when the server has closed the connection, or does not read
		p = p[n:]
	}
	switch end {
	case 0:
		conn.SetLinger(0) // makes Close send a reset
		conn.Close()
	case 1:
		conn.Close()
	case 2:
		conn.CloseWrite()
	}
	return nil
}

// TestHostile sends invalid and excessive input, while a client that behaves well is
// served all the time. The server's memory is bounded, and when the hostile clients
// are gone, nothing remains of them. Run it for a longer time with
//
//	go test -run TestHostile ./examples/kv -hostile.time 10m
//
// The connections are numbered from a seed. The same seed with -hostile.time 0
// sends only the first one.
func TestHostile(t *testing.T) {
	seed := *hostileSeed
	if seed == 0 {
		seed = rand.Uint64() >> 16
	}
	t.Logf("seed %d", seed)
	eachStore(t, func(s *testServer) {
		good := servertest.Dial(s.T, s.addr)
		servertest.Exchange(s.T, good, resp("SET", "big", strings.Repeat("b", 1<<20)), "+OK\r\n")
		before, files, goroutines := heap(), openFiles(), runtime.NumGoroutine()
		var next atomic.Uint64
		stop := make(chan struct{})
		var workers sync.WaitGroup
		for range 8 {
			workers.Add(1)
			go func() {
				defer workers.Done()
				for {
					n := next.Add(1) - 1
					if n > 0 && *hostileTime == 0 {
						return
					}
					if err := newHostile(seed + n).run(s.addr); err != nil {
						s.Errorf("connection %d: %v", seed+n, err)
						return
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			}()
		}
		slowest, served, peak := s.serveGood(good, time.Now().Add(*hostileTime/3))
		close(stop)
		workers.Wait()
		s.until("the hostile clients are gone", func() bool { return s.db.clients == 1 })
		s.removeKeys()
		s.Logf("%d connections; %d commands of the other client, the slowest took %v; at most %d MiB of heap",
			next.Load(), served, slowest, peak>>20)
		if slowest > 5*time.Second {
			s.Errorf("a command of the well-behaved client took %v", slowest)
		}
		if peak > 512<<20 {
			s.Errorf("the heap had %d MiB", peak>>20)
		}
		s.until("goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
		s.until("descriptors are closed", func() bool { return openFiles() <= files+loopFiles })
		s.clients = nil
		if grown := heap() - before; grown > 4<<20 {
			s.Errorf("%d KiB of heap remain", grown>>10)
		}
	})
}

// serveGood uses a connection as a client that behaves well, until the deadline. It
// returns the time of the slowest command, the number of commands, and the largest
// size of the heap.
func (s *testServer) serveGood(conn net.Conn, deadline time.Time) (slowest time.Duration, count int, peak uint64) {
	for count == 0 || time.Now().Before(deadline) {
		start := time.Now()
		value := fmt.Sprint(count)
		servertest.Exchange(s.T, conn, resp("SET", "well-behaved", value)+resp("GET", "well-behaved"), fmt.Sprintf("+OK\r\n$%d\r\n%s\r\n", len(value), value))
		slowest = max(slowest, time.Since(start))
		if count++; count%10 == 0 {
			conn.SetDeadline(time.Now().Add(servertest.Timeout))
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
			s.do(func() {
				if len(s.db.keys) > 1000 {
					s.removeKeys()
				}
				s.clients = s.clients[:0]
			})
		}
		time.Sleep(100 * time.Microsecond)
	}
	return slowest, count, peak
}

// removeKeys removes the keys that hostile clients have set.
func (s *testServer) removeKeys() {
	for key, v := range s.db.keys {
		if key != "big" && key != "well-behaved" {
			s.db.remove(key, v)
		}
	}
}

// openFiles returns the number of open descriptors, or 0 where that is not known.
func openFiles() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
