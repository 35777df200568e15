//go:build unix

package comparetest_test

import (
	"maps"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
	"goselectors/selectors/internal/backendtest"
	"goselectors/selectors/internal/fdtest"
)

func TestCPythonUnregisterAfterFDClose(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.UnixPair(t)
		backendtest.Register(t, s, rd, read)
		backendtest.Register(t, s, wr, write)
		fdtest.Close(t, rd, wr)
		backendtest.Unregister(t, s, rd)
		backendtest.Unregister(t, s, wr)
		backendtest.ExpectNothing(t, s)
	})
}

func TestCPythonUnregisterAfterFDCloseAndReuse(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		rd, wr := fdtest.UnixPair(t)
		backendtest.Register(t, s, rd, read)
		backendtest.Register(t, s, wr, write)
		rd2, wr2 := fdtest.UnixPair(t)
		fdtest.Close(t, rd, wr)
		fdtest.Replace(t, rd, rd2)
		fdtest.Replace(t, wr, wr2)
		backendtest.Unregister(t, s, rd)
		backendtest.Unregister(t, s, wr)
		backendtest.ExpectNothing(t, s)
		if s.Len() != 0 {
			t.Errorf("Len is %d", s.Len())
		}
	})
}

func TestCPythonUnregisterAfterSocketClose(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.NetPair(t)
		backendtest.Register(t, s, a, read)
		backendtest.Register(t, s, b, write)
		a.Close()
		b.Close()
		backendtest.Unregister(t, s, a)
		backendtest.Unregister(t, s, b)
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibeventDupFD: Two numbers of one file. One of them is closed and
// duplicated again.
func TestLibeventDupFD(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.UnixPair(t)
		dup := fdtest.Dup(t, r)
		backendtest.Register(t, s, r, read)
		backendtest.Register(t, s, dup, read)
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, w, "x")
		backendtest.Expect(t, s, batch{r: read, dup: read})

		fdtest.Close(t, dup)
		backendtest.Unregister(t, s, dup)
		fdtest.Replace(t, dup, r)
		backendtest.Register(t, s, dup, read) // the kernel says EEXIST
		backendtest.Expect(t, s, batch{r: read, dup: read})
		fdtest.Drain(t, r)
		backendtest.ExpectNothing(t, s)

		fdtest.Close(t, dup) // not unregistered this time
		fdtest.Replace(t, dup, r)
		fdtest.Write(t, w, "x")
		backendtest.Expect(t, s, batch{r: read, dup: read})
		backendtest.Unregister(t, s, r)
		backendtest.Expect(t, s, batch{dup: read})
	})
}

// TestLibeventManyDups: Many numbers of one file.
func TestLibeventManyDups(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		r, w := fdtest.Pipe(t)
		want := batch{}
		for range 300 {
			fd := fdtest.Dup(t, r)
			backendtest.Register(t, s, fd, read)
			want[fd] = read
		}
		backendtest.ExpectNothing(t, s)
		fdtest.Write(t, w, "x")
		backendtest.Expect(t, s, want)
		fdtest.Drain(t, r)
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibuvWatcherCrossStop: All of many ready keys are unregistered after the
// first batch. None is reported again.
func TestLibuvWatcherCrossStop(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		want := batch{}
		for range 500 {
			r, w := fdtest.Pipe(t)
			fdtest.Write(t, w, "x")
			backendtest.Register(t, s, r, read)
			want[r] = read
		}
		backendtest.Expect(t, s, want)
		for fd := range want {
			if fd%2 == 0 {
				fdtest.Close(t, fd) // closed before it is unregistered
			}
			backendtest.Unregister(t, s, fd)
		}
		backendtest.ExpectNothing(t, s)
	})
}

// TestLibkqueueFDReuse: Numbers that are closed and opened again, in several
// ways, do not show the readiness of their former files.
func TestLibkqueueFDReuse(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		random := rand.New(rand.NewPCG(5, 6))
		numbers := make([]int, 8)
		peers := make([]int, len(numbers))
		for i := range numbers {
			numbers[i], _ = fdtest.UnixPair(t)
		}
		renew := func(i int) (ready bool) {
			a, b := fdtest.UnixPair(t)
			if random.IntN(2) == 0 {
				fdtest.Dup(t, numbers[i]) // keeps its old file open
			}
			if random.IntN(2) == 0 {
				fdtest.Close(t, numbers[i])
			}
			fdtest.Replace(t, numbers[i], a)
			fdtest.Close(t, a)
			if peers[i] != 0 {
				unix.Write(peers[i], []byte("stale"))
			}
			peers[i] = b
			return random.IntN(2) == 0
		}
		for range 100 {
			want := batch{}
			for i, fd := range numbers {
				if _, err := s.Key(fd); err == nil && random.IntN(2) == 0 {
					backendtest.Unregister(t, s, fd)
				}
				ready := renew(i)
				backendtest.Register(t, s, fd, read)
				if ready {
					fdtest.Write(t, peers[i], "x")
					want[fd] = read
				}
			}
			got := backendtest.Select(t, s, 0).Interests(t, s)
			for range 2 { // stale events may take several Selects to find
				maps.Copy(got, backendtest.Select(t, s, 0).Interests(t, s))
			}
			if !maps.Equal(got, want) {
				t.Fatalf("reported %v, want %v", got, want)
			}
		}
	})
}

// TestMioAddThenDrop: A selector holds no reference to a file. When the owner
// closes a file, it is closed, and the peer sees that.
func TestMioAddThenDrop(t *testing.T) {
	backendtest.EachSelector(t, func(t *testing.T, s selectors.Selector) {
		a, b := fdtest.TCPPair(t)
		l, _ := fdtest.Listen(t)
		backendtest.Register(t, s, a, read|write)
		backendtest.Register(t, s, l, read)
		fdtest.Close(t, a, l)
		fdtest.AwaitReadable(t, b)
		if n, err := unix.Read(b, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("the peer reads %d, %v, want the end", n, err)
		}
		for range 3 {
			backendtest.Select(t, s, 0)
		}
		backendtest.ExpectNothing(t, s)
		if s.Len() != 2 {
			t.Errorf("Len is %d", s.Len())
		}
	})
}
