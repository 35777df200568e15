//go:build unix

package lines_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
	"goselectors/examples/lines"
	"goselectors/selectors"
)

// split passes the input to a Splitter in pieces of the given size. It stops after
// each line if stepwise is set.
func split(input string, limit, size int, stepwise bool) (got []string, rest string, err error) {
	s := lines.Splitter{Limit: limit}
	feed := func(p []byte) {
		for again := true; again && err == nil; p = nil {
			again = false
			for line, lineErr := range s.Lines(p) {
				if err = lineErr; err != nil {
					return
				}
				got = append(got, string(line))
				if again = stepwise; again {
					break
				}
			}
		}
	}
	for len(input) > 0 && err == nil {
		n := min(size, len(input))
		piece := []byte(input[:n])
		feed(piece)
		for i := range piece { // the Splitter must not keep it
			piece[i] = '?'
		}
		input = input[n:]
	}
	if err == nil {
		rest = string(s.Rest())
	}
	return got, rest, err
}

func TestSplitter(t *testing.T) {
	for _, c := range []struct {
		input string
		lines []string
		rest  string
		err   error
	}{
		{"", nil, "", nil},
		{"a\nbc\r\n", []string{"a", "bc"}, "", nil},
		{"a\nbc", []string{"a"}, "bc", nil},
		{"\n\r\n\n", []string{"", "", ""}, "", nil},
		{"a\rb\r\r\n", []string{"a\rb\r"}, "", nil},
		{"a\r", nil, "a\r", nil},
		{"12345\n", []string{"12345"}, "", nil},
		{"12345\r\n", []string{"12345"}, "", nil},
		{"12345", nil, "12345", nil},
		{"12345\r", nil, "12345\r", nil},
		{"a\n123456\nb\n", []string{"a"}, "", lines.ErrTooLong},
		{"123456\r\n", nil, "", lines.ErrTooLong},
		{"123456", nil, "", lines.ErrTooLong},
		{"12345\rx", nil, "", lines.ErrTooLong},
	} {
		for size := 1; size <= max(1, len(c.input)); size++ {
			for _, stepwise := range []bool{false, true} {
				got, rest, err := split(c.input, 5, size, stepwise)
				if diff := cmp.Diff(c.lines, got); diff != "" || rest != c.rest || err != c.err {
					t.Errorf("%q in pieces of %d, stepwise %v: rest %q, %v; want %q, %v; lines (-want +got):\n%s",
						c.input, size, stepwise, rest, err, c.rest, c.err, diff)
				}
			}
		}
	}
}

// TestRandom compares a Splitter with strings.Split.
func TestRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		input := make([]byte, rnd.IntN(200))
		for i := range input {
			input[i] = "abc\r\n"[rnd.IntN(5)]
		}
		want := strings.Split(string(input), "\n")
		for i := range want[:len(want)-1] {
			want[i] = strings.TrimSuffix(want[i], "\r")
		}
		got, rest, err := split(string(input), 1000, 1+rnd.IntN(30), rnd.IntN(2) == 0)
		if diff := cmp.Diff(want, append(got, rest)); diff != "" || err != nil {
			t.Fatalf("%q: %v (-want +got):\n%s", input, err, diff)
		}
	}
}

// TestLinear requires that a long line costs the same for each byte when it comes in
// single bytes. Quadratic time would be more than a minute.
func TestLinear(t *testing.T) {
	const size = 2 << 20
	s := lines.Splitter{Limit: size}
	start := time.Now()
	for range size {
		for range s.Lines([]byte("x")) {
			t.Fatal("a line without an end")
		}
	}
	for line, err := range s.Lines([]byte("\n")) {
		if len(line) != size || err != nil {
			t.Errorf("%d bytes, %v", len(line), err)
		}
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("%d single bytes took %v", size, took)
	}
}

// TestMemory requires that the buffer does not keep lines that were taken.
func TestMemory(t *testing.T) {
	s, p := lines.Splitter{Limit: 10}, []byte("x\nx")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 1 << 20 {
		for range s.Lines(p) {
		}
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
		t.Errorf("%d bytes allocated for a million short lines", allocated)
	}
}

// upper returns a handler that sends each line back in upper case, times over.
func upper(times int) stream.Handler {
	return &lines.Handler{
		Splitter: lines.Splitter{Limit: 100},
		LineReceived: func(c *stream.Conn, line []byte) {
			c.Write(bytes.Repeat(append(bytes.ToUpper(line), '\n'), times))
		},
		LineTooLong: func(c *stream.Conn) { fmt.Fprintln(c, "too long") },
	}
}

// serve runs a server on every backend, and passes a client's connection to test.
func serve(t *testing.T, newHandler func() stream.Handler, test func(t *testing.T, conn *net.TCPConn)) {
	for _, b := range selectors.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			sel, err := b.New()
			if err != nil {
				t.Fatal(err)
			}
			loop, err := eventloop.New(eventloop.WithSelector(sel))
			if err != nil {
				t.Fatal(err)
			}
			l, err := stream.Listen(loop, "tcp", "127.0.0.1:0", newHandler)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- loop.Run(context.Background()) }()
			defer func() {
				loop.Close()
				<-ended
				l.Close()
			}()
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			test(t, conn.(*net.TCPConn))
		})
	}
}

func TestHandler(t *testing.T) {
	for _, c := range []struct{ input, want string }{
		{"one\r\ntwo\nthree", "ONE\nTWO\nTHREE\n"},
		{"one\n" + strings.Repeat("x", 101), "ONE\ntoo long\n"},
	} {
		serve(t, func() stream.Handler { return upper(1) }, func(t *testing.T, conn *net.TCPConn) {
			for i := range c.input {
				if _, err := conn.Write([]byte(c.input[i : i+1])); err != nil {
					t.Fatal(err)
				}
			}
			conn.CloseWrite()
			if got, err := io.ReadAll(conn); string(got) != c.want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// TestBackPressure requires that a client that does not read gets no more lines
// answered than fit into the queue, and that no line is lost.
func TestBackPressure(t *testing.T) {
	const count, times = 2000, 10000
	var answered atomic.Int64
	newHandler := func() stream.Handler {
		h := upper(times).(*lines.Handler)
		write := h.LineReceived
		h.LineReceived = func(c *stream.Conn, line []byte) {
			write(c, line)
			answered.Add(1)
		}
		return h
	}
	serve(t, newHandler, func(t *testing.T, conn *net.TCPConn) {
		answered.Store(0)
		if _, err := io.WriteString(conn, strings.Repeat("a\n", count)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		if answered.Load() == count {
			t.Errorf("all %d lines were answered before the client has read", count)
		}
		conn.CloseWrite()
		want := bytes.Repeat([]byte("A\n"), count*times)
		if got, err := io.ReadAll(conn); !bytes.Equal(got, want) || err != nil {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
		}
	})
}

// A server that counts the letters of each line.
func Example() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	l, err := stream.Listen(loop, "tcp", "127.0.0.1:0", func() stream.Handler {
		return &lines.Handler{
			Splitter:     lines.Splitter{Limit: 1000},
			LineReceived: func(c *stream.Conn, line []byte) { fmt.Fprintln(c, len(line)) },
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		defer loop.Stop()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(conn, "one\r\nthree\n")
		conn.(*net.TCPConn).CloseWrite()
		answer, err := io.ReadAll(conn)
		fmt.Printf("%q %v\n", answer, errors.Join(err, conn.Close()))
	}()
	if err := loop.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: "3\n5\n" <nil>
}
