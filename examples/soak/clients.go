package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"
)

// timeout limits every wait of a client.
const timeout = 20 * time.Second

// A kind is a way in which a client behaves. Sessions are short, because a pause
// waits for all of them.
type kind struct {
	name   string
	weight int // how often it is chosen
	run    func(s *session) error
}

var kinds = []kind{
	{"connect", 2, (*session).connectOnly},
	{"talk", 6, (*session).talk},
	{"slow reader", 2, (*session).slowReader},
	{"slow writer", 2, (*session).slowWriter},
	{"half-close", 4, (*session).halfClose},
	{"reset", 3, (*session).reset},
	{"vanish", 1, (*session).vanish},
	{"pipeline", 2, (*session).pipeline},
	{"idle", 2, (*session).idle},
	{"chat", 3, (*session).chat},
}

// A session is one connection of a client, which uses the rest for all its sessions.
type session struct {
	*soak
	end *endpoint
	id  int64 // unique
	rnd *rand.Rand
	buf []byte
}

const (
	maxData = 512 << 10 // bytes that a session sends at most at once
	bufSize = 16 << 10
)

func newSession(s *soak, client int) *session {
	return &session{soak: s, rnd: newRand(s.seed, client+1), buf: make([]byte, bufSize)}
}

func newRand(seed uint64, stream int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(stream))) }

// newData returns random bytes. All that clients send is a part of them.
func newData(seed uint64) []byte {
	rnd, data := newRand(seed, 0), make([]byte, maxData)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	return data
}

// client runs sessions until the end.
func (s *soak) client(n int) {
	se := newSession(s, n)
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	for id := int64(n); ; id += int64(s.clients) {
		s.running.RLock()
		if s.ended.Load() {
			s.running.RUnlock()
			return
		}
		i, w := 0, se.rnd.IntN(total)
		for ; w >= kinds[i].weight; i++ {
			w -= kinds[i].weight
		}
		se.id, se.end = id, &s.ends[se.rnd.IntN(len(s.ends))]
		if err := kinds[i].run(se); err != nil {
			s.fail("%s client over %s: %v", kinds[i].name, se.end.name, err)
		}
		s.sessions[i].Add(1)
		s.running.RUnlock()
		se.rest(20 * time.Millisecond)
	}
}

// rest sleeps for a random time shorter than limit.
func (s *session) rest(limit time.Duration) { time.Sleep(time.Duration(s.rnd.Int64N(int64(limit)))) }

// part returns up to limit bytes to send, at least one.
func (s *session) part(limit int) []byte {
	n := 1 + s.rnd.IntN(min(limit, maxData))
	start := s.rnd.IntN(maxData - n + 1)
	return s.data[start : start+n]
}

// expect reads exactly the bytes of want.
func (s *session) expect(c conn, want []byte) error {
	for done := 0; done < len(want); {
		n, err := c.Read(s.buf[:min(bufSize, len(want)-done)])
		s.bytes.Add(int64(n))
		if !bytes.Equal(s.buf[:n], want[done:done+n]) {
			return fmt.Errorf("of %d bytes the next %d came back changed after %d", len(want), n, done)
		}
		if done += n; err != nil && done < len(want) {
			return fmt.Errorf("%d of %d bytes came back: %w", done, len(want), err)
		}
	}
	return nil
}

// expectEnd reads the end of the stream.
func expectEnd(c conn) error {
	if n, err := c.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		return fmt.Errorf("instead of the end: %d bytes, %w", n, err)
	}
	return nil
}

// with connects, calls use and closes the connection.
func (s *session) with(service service, use func(c conn) error) error {
	c, err := s.end.connect(service)
	if err != nil {
		return err
	}
	defer c.Close()
	return use(c)
}

func (s *session) connectOnly() error {
	return s.with(echoService, func(conn) error { return nil })
}

// idle is silent and leaves.
func (s *session) idle() error {
	return s.with(echoService, func(conn) error {
		s.rest(200 * time.Millisecond)
		return nil
	})
}

// talk sends requests and waits for each answer.
func (s *session) talk() error {
	return s.with(echoService, func(c conn) error {
		for range 1 + s.rnd.IntN(30) {
			p := s.part(8 << 10)
			if _, err := c.Write(p); err != nil {
				return err
			}
			if err := s.expect(c, p); err != nil {
				return err
			}
			s.rest(4 * time.Millisecond)
		}
		return nil
	})
}

// slowReader sends much and reads it in small pieces.
func (s *session) slowReader() error {
	return s.with(echoService, func(c conn) error {
		p := s.part(maxData)
		written := make(chan error, 1)
		go func() {
			_, err := c.Write(p)
			written <- err
		}()
		piece := 1 + len(p)/20
		for rest := p; len(rest) > 0; {
			n := min(piece, len(rest))
			if err := s.expect(c, rest[:n]); err != nil {
				return errors.Join(err, c.Close(), <-written)
			}
			rest = rest[n:]
			s.rest(20 * time.Millisecond)
		}
		return <-written
	})
}

// slowWriter sends single bytes.
func (s *session) slowWriter() error {
	return s.with(echoService, func(c conn) error {
		p := s.part(30)
		for i := range p {
			if _, err := c.Write(p[i : i+1]); err != nil {
				return err
			}
			s.rest(10 * time.Millisecond)
		}
		return s.expect(c, p)
	})
}

// halfClose closes the writing side first. All that it sent has to come back, and
// then the end.
func (s *session) halfClose() error {
	return s.with(echoService, func(c conn) error {
		p := s.part(40 << 10)
		if _, err := c.Write(p); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		if err := s.expect(c, p); err != nil {
			return err
		}
		return expectEnd(c)
	})
}

// reset leaves without reading what comes back. Over TCP the server gets a reset
// instead of the end of the stream.
func (s *session) reset() error {
	return s.with(echoService, func(c conn) error {
		_, err := c.Write(s.part(40 << 10))
		s.rest(2 * time.Millisecond)
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		return err
	})
}

// vanish sends something and then neither reads nor closes, like a peer that has lost
// its network. The server's idle timeout has to end the connection.
func (s *session) vanish() error {
	return s.with(shortService, func(c conn) error {
		if _, _, err := s.fill(c); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			return nil // the program was busy for so long that the server has ended the connection
		}
		time.Sleep(2 * shortIdle)
		_, err := io.Copy(io.Discard, c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("no idle timeout after %v: %w", timeout, err)
		}
		return nil // the end or a reset
	})
}

// pipeline sends as much as the server takes without reading, then reads all of it.
func (s *session) pipeline() error {
	return s.with(echoService, func(c conn) error {
		p, sent, err := s.fill(c)
		if err != nil {
			return err
		}
		if err := s.expect(c, p[:sent]); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		return expectEnd(c)
	})
}

// fill writes until the server stops reading, or all of p is written.
func (s *session) fill(c conn) (p []byte, sent int, err error) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetReadBuffer(16 << 10) // so that the server's write blocks soon
	}
	p = s.part(maxData)
	c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	sent, err = c.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	c.SetDeadline(time.Now().Add(timeout))
	return p, sent, err
}

// chatLine returns a line from which the receiver can tell that it is whole.
func chatLine(id, n int64) string {
	return fmt.Sprintf("%d %d %s\n", id, n, strings.Repeat("x", int(id+n)%100))
}

// chat sends lines and reads those of others. Lines may be missing, but each has to be
// whole, and those of one sender in order.
func (s *session) chat() error {
	return s.with(chatService, func(c conn) error {
		read := make(chan error, 1)
		go func() { read <- s.readChat(c) }()
		for n := range int64(1 + s.rnd.IntN(20)) {
			if _, err := io.WriteString(c, chatLine(s.id, n)); err != nil {
				return errors.Join(err, c.Close(), <-read)
			}
			s.rest(10 * time.Millisecond)
		}
		c.CloseWrite()
		s.rest(20 * time.Millisecond)
		c.Close()
		return <-read
	})
}

// readChat reads lines until the connection is closed.
func (s *session) readChat(c conn) error {
	last := make(map[int64]int64)
	for in := bufio.NewReaderSize(c, 4096); ; {
		line, err := in.ReadString('\n')
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		var id, n int64
		fmt.Sscan(line, &id, &n)
		previous, known := last[id]
		if line != chatLine(id, n) || known && n <= previous {
			return fmt.Errorf("line %q after number %d", line, previous)
		}
		last[id] = n
		s.bytes.Add(int64(len(line)))
	}
}
