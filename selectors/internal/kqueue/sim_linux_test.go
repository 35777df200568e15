//go:build simkqueue

package kqueue

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors/internal/fdtest"
)

// What the simulated kqueue does, as the manual pages describe it.

const userIdent = 0x7e57

func eachFlavour(t *testing.T, test func(t *testing.T, f flavour)) {
	for _, f := range flavours {
		t.Run(f.Name, func(t *testing.T) { test(t, f) })
	}
}

func openQueue(t *testing.T, f flavour) *Queue {
	t.Helper()
	q := &Queue{}
	if err := q.Open(f.Dialect); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// change makes one change, without room for a receipt.
func change(q *Queue, fd, filter, flags int) error {
	var ev Event
	ev.Set(fd, filter, flags, 0, 7)
	_, err := q.Call([]Event{ev}, nil, nil)
	return err
}

// pending returns the events that can be reported now, sorted by filter.
func pending(t *testing.T, q *Queue) []Event {
	t.Helper()
	events := make([]Event, 8)
	n, err := q.Call(nil, events, &unix.Timespec{})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(events[:n], func(a, b Event) int { return b.filter - a.filter })
	return events[:n]
}

func expectErrno(t *testing.T, what string, err, want error) {
	t.Helper()
	if err != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestSimulation(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		q := openQueue(t, f)
		a, b := fdtest.UnixPair(t)
		for _, filter := range []int{FilterRead, FilterWrite} {
			expectErrno(t, "delete of a filter that was not added", change(q, a, filter, Delete), unix.ENOENT)
			expectErrno(t, "enable of a filter that was not added", change(q, a, filter, Enable), unix.ENOENT)
			expectErrno(t, "add", change(q, a, filter, Add), nil)
			expectErrno(t, "add again", change(q, a, filter, Add), nil)
			expectErrno(t, "delete of a number that is not open", change(q, math.MaxInt32, filter, Delete), unix.EBADF)
		}

		fdtest.Write(t, b, "x")
		want := []Event{{ident: a, filter: FilterRead, tag: 7}, {ident: a, filter: FilterWrite, tag: 7}}
		for range 2 {
			if got := pending(t, q); !slices.Equal(got, want) {
				t.Fatalf("one event for each filter: %v, want %v", got, want)
			}
		}
		if n, err := q.Call(nil, nil, nil); n != 0 || err != nil {
			t.Errorf("a call without room for events: %d, %v", n, err)
		}

		// The flags of a knote are those it was added with.
		expectErrno(t, "add with EV_CLEAR", change(q, a, FilterWrite, Add|Clear), nil)
		pending(t, q)
		if got := pending(t, q); !slices.Equal(got, want) {
			t.Errorf("EV_CLEAR was applied to an existing knote: %v", got)
		}
		expectErrno(t, "delete", change(q, a, FilterWrite, Delete), nil)
		expectErrno(t, "add with EV_CLEAR", change(q, a, FilterWrite, Add|Clear), nil)
		if got := pending(t, q); len(got) != 2 || got[1].flags != Clear {
			t.Errorf("added with EV_CLEAR: %v", got)
		}
		if got := pending(t, q); !slices.Equal(got, want[:1]) {
			t.Errorf("EV_CLEAR, nothing new: %v", got)
		}
		expectErrno(t, "add", change(q, a, FilterWrite, Add), nil)
		if got := pending(t, q); len(got) != 2 {
			t.Errorf("adding reports the state again: %v", got)
		}

		// The peer closes with unread data: both directions end.
		fdtest.Write(t, a, "x")
		unix.Close(b)
		expectErrno(t, "add", change(q, a, FilterWrite, Add), nil)
		got := pending(t, q)
		if len(got) != 2 || got[0].flags != EOF || got[1].flags != EOF|Clear || got[0].fflags == 0 {
			t.Errorf("the peer has closed: %v", got)
		}

		// close(2) deletes the knotes, also if a duplicate keeps the file open.
		fdtest.Dup(t, a)
		unix.Close(a)
		if got := pending(t, q); len(got) != 0 {
			t.Errorf("closed: %v", got)
		}
		r, _ := fdtest.Pipe(t)
		unix.Dup3(r, a, unix.O_CLOEXEC)
		expectErrno(t, "delete under a new file", change(q, a, FilterRead, Delete), unix.ENOENT)
	})
}

func TestSimulationPipe(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		q := openQueue(t, f)
		r, w := fdtest.Pipe(t)
		expectErrno(t, "add", change(q, w, FilterWrite, Add), nil)
		unix.Close(r)
		if got := pending(t, q); len(got) != 1 || got[0].flags != EOF {
			t.Errorf("no reader: %v", got)
		}
		expectErrno(t, "delete", change(q, w, FilterWrite, Delete), nil)
		expectErrno(t, "add without a reader", change(q, w, FilterWrite, Add), unix.EPIPE)
	})
}

func TestSimulationReceipts(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		q := openQueue(t, f)
		a, _ := fdtest.UnixPair(t)
		changes := make([]Event, 3)
		changes[0].Set(a, FilterWrite, Add|Receipt, 0, 1)
		changes[1].Set(a, FilterRead, Delete|Receipt, 0, 2)
		changes[2].Set(a, FilterRead, Add|Receipt, 0, 3)
		events := make([]Event, 3)
		n, err := q.Call(changes, events, nil)
		var got []int64
		for _, ev := range events[:n] {
			if ev.flags != Error {
				t.Errorf("a receipt with flags %#x", ev.flags)
			}
			got = append(got, int64(ev.tag), ev.data)
		}
		want := []int64{1, 0, 2, int64(unix.ENOENT), 3, 0}
		if !f.Receipts {
			want = want[2:4]
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("the receipts are %v, %v, want %v", got, err, want)
		}
		// Without room for receipts the first error ends the call.
		changes[0].Set(a, FilterRead, Delete, 0, 1)
		changes[1].Set(a, FilterRead, Delete, 0, 2)
		changes[2].Set(a, FilterWrite, Delete, 0, 3)
		if _, err := q.Call(changes, nil, nil); err != unix.ENOENT {
			t.Errorf("a list with an error: %v", err)
		}
		if _, exists := q.knotes[knoteKey{a, FilterWrite}]; !exists {
			t.Error("the change behind the error was made")
		}
	})
}

func TestSimulationFiles(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		q := openQueue(t, f)
		file, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		fd := int(file.Fd())
		fdtest.Write(t, fd, "x")
		expectErrno(t, "add of a regular file", change(q, fd, FilterRead, Add), nil)
		if got := pending(t, q); len(got) != 0 {
			t.Errorf("at the end: %v", got)
		}
		if _, err := file.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		if got := pending(t, q); len(got) != 1 || got[0].data != 1 {
			t.Errorf("one byte before the end: %v", got)
		}
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { null.Close() })
		expectErrno(t, "add of a device", change(q, int(null.Fd()), FilterRead, Add), f.deviceErrno)
	})
}

func TestSimulationUserAndTime(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		q := openQueue(t, f)
		want := error(nil)
		if !f.UserEvents {
			want = unix.EINVAL
		}
		expectErrno(t, "add of a user event", change(q, userIdent, FilterUser, Add|Clear), want)
		if f.UserEvents {
			var ev Event
			ev.Set(userIdent, FilterUser, Enable, NoteTrigger, 7)
			if _, err := q.Call([]Event{ev}, nil, nil); err != nil {
				t.Fatal(err)
			}
			if got := pending(t, q); len(got) != 1 || got[0].ident != userIdent || got[0].filter != FilterUser {
				t.Errorf("triggered: %v", got)
			}
			if got := pending(t, q); len(got) != 0 {
				t.Errorf("reported, with EV_CLEAR: %v", got)
			}
		}
		events := make([]Event, 1)
		bad := []unix.Timespec{{Sec: -1}, {Nsec: 1e9}}
		if f.timeoutLimit {
			bad = append(bad, unix.Timespec{Sec: 1e6 + 1})
		}
		for _, ts := range bad {
			if _, err := q.Call(nil, events, &ts); err != unix.EINVAL {
				t.Errorf("a timeout of %v: %v", ts, err)
			}
		}
		begin := time.Now()
		if n, err := q.Call(nil, events, &unix.Timespec{Nsec: 2e6}); n != 0 || err != nil && err != unix.EINTR {
			t.Errorf("a wait: %d, %v", n, err)
		} else if err == nil && time.Since(begin) < 2*time.Millisecond {
			t.Error("a wait ended early")
		}
	})
}
