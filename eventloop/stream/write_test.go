//go:build unix

package stream_test

import (
	"bytes"
	"errors"
	"flag"
	"hash"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"goselectors/eventloop/stream"

	"golang.org/x/sys/unix"
)

var bulk = flag.Int("stream.bulk", 64<<20, "bytes that TestBulk sends each way; 1<<30 = 1073741824 is the full test")

// readSlowly reads to EOF in small pieces, and pauses after each MiB.
func readSlowly(r io.Reader, piece int, pause time.Duration) ([]byte, error) {
	var all []byte
	buf := make([]byte, piece)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if len(all)/(1<<20) != (len(all)-n)/(1<<20) {
			time.Sleep(pause)
		}
	}
}

// TestWriteOrder checks that pieces of all sizes, by Write and Writev, more than
// the socket holds, arrive in order and once.
func TestWriteOrder(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		c, peer := l.pair(network, p)
		message := randomBytes(8 << 20)
		go func() {
			rest, rnd := message, rand.New(rand.NewPCG(1, 2))
			take := func() []byte {
				n := min(1<<rnd.IntN(20), len(rest))
				piece := rest[:n]
				rest = rest[n:]
				return piece
			}
			for len(rest) > 0 {
				l.Post(func() {
					// The caller may change the data when Write has returned.
					for range 8 {
						var pieces [][]byte
						var whole []byte
						for range rnd.IntN(100) {
							piece := bytes.Clone(take())
							whole = append(whole, piece...)
							pieces = append(pieces, piece)
						}
						if n, err := c.Writev(pieces...); n != len(whole) || err != nil {
							l.Errorf("writev: %d, %v", n, err)
						}
						for _, piece := range pieces {
							clear(piece)
						}
						piece := bytes.Clone(take())
						if n, err := c.Write(piece); n != len(piece) || err != nil {
							l.Errorf("write: %d, %v", n, err)
						}
						clear(piece)
					}
				})
				done := make(chan struct{})
				l.Post(func() { close(done) })
				<-done
			}
			l.Post(func() { c.CloseWrite() })
		}()
		p.expect(l, "PauseWriting") // before the peer has read anything
		got, err := readSlowly(peer, 10000, time.Millisecond)
		if err != nil {
			l.Error(err)
		}
		checkBytes(l, "message", got, message)
		peer.Close()
		counts := p.countUntil(l, "ConnectionLost")
		if counts["PauseWriting"]+1 != counts["ResumeWriting"] {
			l.Errorf("writing paused %d times and resumed %d times", counts["PauseWriting"]+1, counts["ResumeWriting"])
		}
	})
}

// TestWaterMarks checks that a producer that obeys PauseWriting queues at most the
// high water mark and one write, even for a slow peer.
func TestWaterMarks(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		const high, low, piece = 2_000_000, 300_000, 100_000 // several times what a socket takes at once
		p := newRecorder()
		message := randomBytes(16 << 20)
		rest := message
		paused := false
		produce := func(c *stream.Conn) {
			for len(rest) > 0 && !paused {
				n := min(piece, len(rest))
				c.Write(rest[:n])
				rest = rest[n:]
			}
			if len(rest) == 0 {
				c.CloseWrite()
			}
		}
		p.onConnectionMade = produce
		p.onPauseWriting = func(c *stream.Conn) {
			paused = true
			if n := c.Unsent(); n <= high || n > high+piece {
				l.Errorf("paused with %d unsent", n)
			}
		}
		p.onResumeWriting = func(c *stream.Conn) {
			paused = false
			if n := c.Unsent(); n > low {
				l.Errorf("resumed with %d unsent", n)
			}
			produce(c)
		}
		_, peer := l.pair(network, p, stream.WithWaterMarks(high, low))
		got, err := readSlowly(peer, 50000, time.Millisecond)
		if err != nil {
			l.Error(err)
		}
		checkBytes(l, "message", got, message)
		peer.Close()
		p.countUntil(l, "ConnectionLost")
	})
}

// TestPeerNeverReads checks that such a connection costs no turns and can be
// aborted.
func TestPeerNeverReads(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		c, _ := l.pair(network, p)
		for paused := false; !paused; {
			l.do(func() { c.Write(make([]byte, 10_000)) })
			select {
			case <-p.events:
				paused = true
			default:
			}
		}
		turns := l.Stats().Turns
		time.Sleep(idlePeriod)
		if now := l.Stats().Turns; now > turns+10 {
			l.Errorf("%d turns of an idle loop", now-turns)
		}
		l.do(c.Abort)
		p.expect(l, "ConnectionLost")
		l.do(func() {
			if c.Unsent() != 0 {
				l.Error("unsent data after ConnectionLost")
			}
		})
	})
}

// TestPeerVanishes checks a peer that closes during a big write, or with a small
// one unread.
func TestPeerVanishes(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		for _, size := range []int{16 << 20, 100} {
			p := newRecorder()
			c, peer := l.pair(network, p)
			l.do(func() { c.Write(make([]byte, size)) })
			if size > 100 {
				p.expect(l, "PauseWriting")
				io.ReadFull(peer, make([]byte, 100_000))
			}
			peer.Close() // unread data makes this a reset
			for ended := false; !ended; {
				select {
				case event := <-p.events:
					ended = event == "ConnectionLost with error" || size == 100 && event == "ConnectionLost"
				case <-time.After(testTimeout):
					l.Fatal("timeout waiting for ConnectionLost")
				}
			}
			if p.err != nil {
				checkErrorIs(l, p.err, unix.ECONNRESET, unix.EPIPE)
			}
		}
	})
}

// TestWriteInsideHandlers checks that every method of a handler may write.
func TestWriteInsideHandlers(t *testing.T) {
	eachNetwork(t, func(l *testLoop, network string) {
		p := newRecorder()
		p.keepOpen = true
		p.onConnectionMade = func(c *stream.Conn) { c.Write([]byte("hello ")) }
		p.onDataReceived = func(c *stream.Conn, data []byte) { c.Write(data) }
		p.onConnectionLost = func(c *stream.Conn, err error) {
			if _, err := c.Write([]byte("too late")); !errors.Is(err, net.ErrClosed) {
				l.Errorf("write in ConnectionLost: %v", err)
			}
		}
		c, peer := l.pair(network, p)
		write(l, peer, "there ")
		p.expect(l, "DataReceived there ")
		peer.(interface{ CloseWrite() error }).CloseWrite()
		p.expect(l, "EOFReceived")
		l.do(func() { c.Write([]byte("bye")); c.Write(nil); c.Writev(); c.Writev(nil, nil); c.Close() })
		if got := readAll(l, peer); string(got) != "hello there bye" {
			l.Errorf("the peer reads %q", got)
		}
		p.expect(l, "ConnectionLost")
	})
}

// A bulkHandler sends its source, and counts and checksums received data.
type bulkHandler struct {
	stream.BaseHandler
	sum      hash.Hash64
	received int
	source   io.Reader
	paused   bool
	ended    chan error
}

func (s *bulkHandler) ConnectionMade(c *stream.Conn) { s.send(c) }

func (s *bulkHandler) send(c *stream.Conn) {
	buf := make([]byte, 128<<10)
	for !s.paused {
		n, err := s.source.Read(buf)
		c.Write(buf[:n])
		if err != nil {
			c.CloseWrite()
			return
		}
	}
}

func (s *bulkHandler) DataReceived(_ *stream.Conn, p []byte) {
	s.sum.Write(p)
	s.received += len(p)
}
func (s *bulkHandler) EOFReceived(*stream.Conn) bool            { return true }
func (s *bulkHandler) PauseWriting(*stream.Conn)                { s.paused = true }
func (s *bulkHandler) ResumeWriting(c *stream.Conn)             { s.paused = false; s.send(c) }
func (s *bulkHandler) ConnectionLost(_ *stream.Conn, err error) { s.ended <- err }

// randomReader returns a reader of n reproducible bytes.
func randomReader(n int, seed uint64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{byte(seed)}), int64(n))
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// TestBulk sends much data in both directions at once, and compares checksums.
func TestBulk(t *testing.T) {
	size := *bulk
	if testing.Short() {
		size = min(size, 4<<20)
	}
	eachNetwork(t, func(l *testLoop, network string) {
		s := &bulkHandler{sum: crc64.New(crcTable), source: randomReader(size, 1), ended: make(chan error, 1)}
		ln := l.listen(network, func() stream.Handler { return s })
		peer := l.connect(ln)
		peer.SetDeadline(time.Now().Add(10 * time.Minute))
		sent, got := crc64.New(crcTable), crc64.New(crcTable)
		done := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.MultiWriter(peer, sent), randomReader(size, 2))
			err = errors.Join(err, peer.(interface{ CloseWrite() error }).CloseWrite())
			done <- err
		}()
		n, err := io.Copy(got, peer)
		if err = errors.Join(err, <-done); err != nil || n != int64(size) {
			l.Fatalf("the peer has read %d bytes, want %d: %v", n, size, err)
		}
		select {
		case err := <-s.ended:
			if err != nil {
				l.Error(err)
			}
		case <-time.After(testTimeout):
			l.Fatal("timeout waiting for ConnectionLost")
		}
		want := crc64.New(crcTable)
		io.Copy(want, randomReader(size, 1))
		if got.Sum64() != want.Sum64() {
			l.Error("the checksums of sent data and data that the peer has read differ")
		}
		if s.received != size || s.sum.Sum64() != sent.Sum64() {
			l.Errorf("received %d bytes, want %d, or the checksums differ", s.received, size)
		}
	})
}
