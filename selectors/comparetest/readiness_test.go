//go:build unix

package comparetest_test

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

func TestCPythonSelect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.UnixPair(t)
		backendtest.Register(t, s, rd, read)
		key := backendtest.Register(t, s, wr, write)
		ready, err := s.Select(fdtest.Timeout)
		if err != nil {
			t.Fatal(err)
		}
		if len(ready) != 1 || ready[0] != (selectors.Ready{Key: key, Events: write}) {
			t.Errorf("Select reported %v, want %v with Write alone", ready, key)
		}
	})
}

// TestCPythonSelectReadWrite: Both events are in one entry
// (https://github.com/python/cpython/issues/110038).
func TestCPythonSelectReadWrite(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.UnixPair(t)
		backendtest.Register(t, s, a, read|write)
		fdtest.Write(t, b, "foo")
		backendtest.Expect(t, s, batch{a: read | write})
	})
}

// TestCPythonSelector: With twelve pairs, only the pair that is written to
// becomes readable. The pairs are unregistered one by one.
func TestCPythonSelector(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		const message = "This is a test."
		peers := map[int]int{} // by the end that writes
		writers := batch{}
		for range 12 {
			rd, wr := fdtest.UnixPair(t)
			backendtest.Register(t, s, rd, read)
			backendtest.Register(t, s, wr, write)
			peers[wr] = rd
			writers[wr] = write
		}
		for len(peers) > 0 {
			backendtest.Expect(t, s, writers)
			for wr, rd := range peers {
				fdtest.Write(t, wr, message)
				writers[rd] = read
				backendtest.Expect(t, s, writers)
				if got := fdtest.Read(t, rd, len(message)); got != message {
					t.Fatalf("read %q", got)
				}
				delete(writers, rd)
				delete(writers, wr)
				delete(peers, wr)
				backendtest.Unregister(t, s, rd)
				backendtest.Unregister(t, s, wr)
				break
			}
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestCPythonAboveFDSetsize: One Select reports every ready descriptor,
// whatever their count and their numbers.
func TestCPythonAboveFDSetsize(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := int(min(uint64(limit.Cur), 4096)) - fdtest.FirstFD - 64
	if n < 400 {
		t.Skipf("RLIMIT_NOFILE is %d: too low for descriptors above FD_SETSIZE", limit.Cur)
	}
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		want := batch{}
		for len(want) < n {
			a, b := fdtest.UnixPair(t)
			want[a], want[b] = write, write
		}
		for fd := range want {
			if _, err := s.Register(fd, write, nil); errors.Is(err, selectors.ErrFDTooLarge) {
				delete(want, fd) // this platform's select
			} else if err != nil {
				t.Fatal(err)
			}
		}
		backendtest.Expect(t, s, want)
		for fd := range want {
			backendtest.Unregister(t, s, fd)
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestCPythonRegisterFile: Python's epoll selector refuses regular files. Here
// they are always ready, as with poll and select.
func TestCPythonRegisterFile(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		key := backendtest.Register(t, s, f, read)
		backendtest.Expect(t, s, batch{key.FD: read})
		backendtest.Unregister(t, s, f)
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibeventCombined: Much data in both directions at once.
func TestLibeventCombined(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		const size = 2 << 20
		source := make([]byte, size)
		for i := range source {
			source[i] = byte(rand.Uint32())
		}
		type side struct {
			fd       int
			sent     int
			received []byte
		}
		a, b := fdtest.UnixPair(t)
		sides := []*side{{fd: a}, {fd: b}}
		for _, me := range sides {
			if _, err := s.Register(me.fd, read|write, me); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 1<<16)
		for s.Len() > 0 {
			ready, err := s.Select(fdtest.Timeout)
			if err != nil || len(ready) == 0 {
				t.Fatalf("Select reported nothing before the transfer ended: %v", err)
			}
			for _, r := range ready {
				me := r.Key.Data.(*side)
				if r.Events&write != 0 && me.sent < size {
					n, err := selectors.TryWrite(me.fd, source[me.sent:])
					if err != nil && err != selectors.ErrWouldBlock {
						t.Fatal(err)
					}
					if me.sent += n; me.sent == size {
						if _, err := s.Modify(me.fd, read, me); err != nil {
							t.Fatal(err)
						}
					}
				}
				if r.Events&read != 0 {
					n, err := selectors.TryRead(me.fd, buf)
					if err != nil && err != selectors.ErrWouldBlock {
						t.Fatal(err)
					}
					me.received = append(me.received, buf[:n]...)
				}
				if me.sent == size && len(me.received) == size {
					backendtest.Unregister(t, s, me.fd)
				}
			}
		}
		for _, me := range sides {
			if !bytes.Equal(me.received, source) {
				t.Errorf("fd %d did not receive what was sent", me.fd)
			}
		}
	})
}

// TestLibeventManyEvents: Each of many ready sockets is reported once, whether
// they are all added first or one by one between Selects.
func TestLibeventManyEvents(t *testing.T) {
	for _, slow := range []bool{false, true} {
		backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
			want := batch{}
			for range 70 {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
				if err != nil {
					t.Fatal(err)
				}
				fd = fdtest.Own(t, fd)
				backendtest.Register(t, s, fd, write)
				want[fd] = write
				if slow {
					backendtest.Expect(t, s, want)
				}
			}
			backendtest.Expect(t, s, want)
		})
	}
}

// TestLibuvPollDuplex: Connections that write, read, shut down and change
// their interest at random. Every byte arrives. As there is no other reader,
// most reports of Read must be followed by a read that succeeds.
func TestLibuvPollDuplex(t *testing.T) {
	for _, kind := range []struct {
		name string
		make func(testing.TB) (int, int)
	}{{"unix", fdtest.UnixPair}, {"tcp", fdtest.TCPPair}} {
		t.Run(kind.name, func(t *testing.T) {
			backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
				const size = 20_000
				random := rand.New(rand.NewPCG(3, 4))
				type side struct {
					fd, sent, received int
					shut, ended        bool
				}
				var sides []*side
				for range 10 {
					a, b := kind.make(t)
					for _, fd := range []int{a, b} {
						me := &side{fd: fd}
						if _, err := s.Register(fd, read|write, me); err != nil {
							t.Fatal(err)
						}
						sides = append(sides, me)
					}
				}
				spurious, valid := 0, 0
				buf := make([]byte, 4096)
				for s.Len() > 0 {
					ready, err := s.Select(fdtest.Timeout)
					if err != nil || len(ready) == 0 {
						t.Fatalf("Select reported nothing before the transfer ended: %v", err)
					}
					for _, r := range ready {
						me := r.Key.Data.(*side)
						if r.Events&read != 0 && !me.ended {
							n, err := selectors.TryRead(me.fd, buf[:1+random.IntN(len(buf))])
							me.received += n
							switch err {
							case nil:
								valid++
							case selectors.ErrWouldBlock:
								spurious++
							default:
								me.ended = true
							}
						}
						if r.Events&write != 0 && !me.shut {
							n, err := selectors.TryWrite(me.fd, buf[:min(1+random.IntN(len(buf)), size-me.sent)])
							me.sent += n
							switch err {
							case nil:
								valid++
							case selectors.ErrWouldBlock:
								spurious++
							default:
								t.Fatal(err)
							}
							if me.sent == size {
								me.shut = true
								fdtest.Shutdown(t, me.fd, unix.SHUT_WR)
							}
						}
						var next selectors.Event
						if !me.ended {
							next |= read
						}
						if !me.shut {
							next |= write
						}
						if next == read|write { // sometimes only one of them
							next = []selectors.Event{read, write, read | write}[random.IntN(3)]
							if next == read && me.received == size {
								next = write
							}
						}
						if next == 0 {
							backendtest.Unregister(t, s, me.fd)
						} else if _, err := s.Modify(me.fd, next, me); err != nil {
							t.Fatal(err)
						}
					}
					// Two sides that both only read would wait for each other.
					for _, me := range sides {
						if key, err := s.Key(me.fd); err == nil && !me.shut && key.Events == read && random.IntN(4) == 0 {
							if _, err := s.Modify(me.fd, read|write, me); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
				for _, me := range sides {
					if me.received != size || me.sent != size {
						t.Errorf("fd %d sent %d and received %d bytes", me.fd, me.sent, me.received)
					}
				}
				if spurious > valid/2 {
					t.Errorf("%d reports were spurious, %d were true", spurious, valid)
				}
			})
		})
	}
}

// TestLibuvPollOOB: The urgent byte can be read before the data that was sent
// earlier.
func TestLibuvPollOOB(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		backendtest.Need(t, s, selectors.FeaturePriority)
		a, b := fdtest.TCPPair(t)
		backendtest.Register(t, s, a, read|priority)
		fdtest.Write(t, b, "hello")
		fdtest.AwaitReadable(t, a)
		backendtest.Expect(t, s, batch{a: read})
		fdtest.SendUrgent(t, b)
		start := time.Now()
		for {
			got := backendtest.Select(t, s, fdtest.Timeout).Interests(t, s)
			if got[a]&priority != 0 {
				break
			}
			if time.Since(start) > fdtest.Timeout {
				t.Fatalf("the urgent byte is not reported, only %v", got)
			}
		}
		buf := make([]byte, 16)
		if n, _, err := unix.Recvfrom(a, buf, unix.MSG_OOB); err != nil || string(buf[:n]) != "!" {
			t.Errorf("urgent: %q, %v", buf[:max(n, 0)], err)
		}
		backendtest.Expect(t, s, batch{a: read})
		if got := fdtest.Read(t, a, 16); got != "hello" {
			t.Errorf("read %q", got)
		}
		backendtest.ExpectNothing(t, s)
	})
}

func TestPollingBasicIO(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.UnixPair(t)
		backendtest.Register(t, s, r, read)
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, w, "x")
		backendtest.Expect(t, s, batch{r: read})
		backendtest.Unregister(t, s, r)
		backendtest.ExpectNothing(t, s)
	})
}

func TestPollingAppendEvents(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		var all []selectors.Ready
		for n := 1; n <= 4; n++ {
			_, w := fdtest.UnixPair(t)
			key := backendtest.Register(t, s, w, write|oneShot)
			var err error
			all, err = s.SelectInto(all, fdtest.Timeout)
			if err != nil || len(all) != n || all[n-1].Key != key {
				t.Fatalf("after %d the batch is %v, %v", n, all, err)
			}
		}
	})
}

func TestPollingManyConnections(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		type connection struct{ a, b int }
		var all []connection
		for range 100 {
			a, b := fdtest.TCPPair(t)
			backendtest.Register(t, s, a, read)
			all = append(all, connection{a, b})
		}
		random := rand.New(rand.NewPCG(1, 2))
		for len(all) > 0 {
			i := random.IntN(len(all))
			fdtest.Write(t, all[i].b, "Hello, world!")
			backendtest.Expect(t, s, batch{all[i].a: read})
			backendtest.Unregister(t, s, all[i].a)
			all[i] = all[len(all)-1]
			all = all[:len(all)-1]
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestMioZeroDurationPollsEvents: A timeout of zero still asks the kernel.
func TestMioZeroDurationPollsEvents(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		want := batch{}
		for range 3 {
			a, _ := fdtest.TCPPair(t)
			backendtest.Register(t, s, a, write)
			want[a] = write
		}
		if got := backendtest.Select(t, s, 0).Interests(t, s); !maps.Equal(got, want) {
			t.Errorf("Select(0) reported %v, want %v", got, want)
		}
	})
}

func TestMioReadyAgainAfterWouldBlock(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.TCPPair(t)
		backendtest.Register(t, s, a, read)
		for range 3 {
			fdtest.Write(t, b, "hello")
			backendtest.Expect(t, s, batch{a: read})
			fdtest.Drain(t, a)
			backendtest.ExpectNothing(t, s)
		}
	})
}

func TestMioTCPAccept(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		l, addr := fdtest.Listen(t)
		backendtest.Register(t, s, l, read)
		backendtest.ExpectNothing(t, s)
		for range 3 {
			unix.Connect(fdtest.TCPSocket(t), addr)
		}
		for n := 0; n < 3; {
			backendtest.Expect(t, s, batch{l: read})
			fd, err := selectors.TryAcceptFD(l)
			if err != nil {
				t.Fatal(err)
			}
			fdtest.Own(t, fd)
			n++
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestMioTCPConnect: A socket is writable when its connect has ended, with
// success or with an error.
func TestMioTCPConnect(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		l, addr := fdtest.Listen(t)
		for _, test := range []struct {
			name string
			want error
		}{{"accepted", nil}, {"refused", unix.ECONNREFUSED}} {
			fd := fdtest.TCPSocket(t)
			if err := unix.Connect(fd, addr); err == unix.ECONNREFUSED {
				t.Skip("this system refuses at once")
			} else if err != nil && err != unix.EINPROGRESS {
				t.Fatal(err)
			}
			backendtest.Register(t, s, fd, write)
			backendtest.Expect(t, s, batch{fd: write})
			errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err != nil {
				t.Fatal(err)
			}
			if got := unix.Errno(errno); (test.want == nil) != (got == 0) || test.want != nil && got != test.want {
				t.Errorf("%s: the connect ended with %v, want %v", test.name, got, test.want)
			}
			backendtest.Unregister(t, s, fd)
			if test.want == nil {
				fdtest.Close(t, l)
			}
		}
	})
}

// TestMioChildProcess: The standard input and output of a child process.
func TestMioChildProcess(t *testing.T) {
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs cat: ", err)
	}
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		child := exec.Command(cat)
		inR, inW, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { inR.Close(); inW.Close() })
		outR, outW, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { outR.Close(); outW.Close() })
		child.Stdin, child.Stdout = inR, outW
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { child.Process.Kill(); child.Wait() })
		inR.Close()
		outW.Close()

		in := backendtest.Register(t, s, inW, write).FD
		out := backendtest.Register(t, s, outR, read).FD
		backendtest.Expect(t, s, batch{in: write})
		if _, err := selectors.TryWrite(inW, []byte("Hello, world!")); err != nil {
			t.Fatal(err)
		}
		backendtest.Unregister(t, s, inW)
		backendtest.Expect(t, s, batch{out: read})
		buf := make([]byte, 32)
		if n, err := selectors.TryRead(outR, buf); err != nil || string(buf[:n]) != "Hello, world!" {
			t.Errorf("read %q, %v", buf[:max(n, 0)], err)
		}
		inW.Close() // cat ends
		backendtest.Expect(t, s, batch{out: read})
		if n, err := selectors.TryRead(outR, buf); n != 0 || err == nil {
			t.Errorf("read at the end: %d, %v", n, err)
		}
	})
}
