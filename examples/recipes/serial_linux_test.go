package recipes

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// newLine opens a pseudo-terminal. The slave side stands for a serial line.
func newLine(t *testing.T) (master, slave int) {
	t.Helper()
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs pseudo-terminals: ", err)
	}
	check(t, unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	check(t, err)
	slave, err = OpenSerial(fmt.Sprintf("/dev/pts/%d", number), unix.B115200)
	check(t, err)
	return master, slave
}

func write(t *testing.T, fd int, text string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(text)); n != len(text) {
		t.Fatal(n, err)
	}
}

// TestFrames writes frames to a line, some in parts, and hangs up. The last
// frame ends with the line.
func TestFrames(t *testing.T) {
	frames := [][]string{{"binary\n\r\x00\x03\x04\xff"}, {"in", " three", " parts"}, {"cut off"}}
	want := []string{"binary\n\r\x00\x03\x04\xff", "in three parts", "cut off"}
	for _, c := range []struct {
		name  string
		swap  bool // read from the master side
		ended error
	}{{"line", false, io.EOF}, {"master", true, unix.EIO}} {
		t.Run(c.name, func(t *testing.T) {
			eachSelector(t, func(t *testing.T, sel selectors.Selector) {
				peer, fd := newLine(t)
				if c.swap {
					peer, fd = fd, peer
				}
				if n, err := unix.Read(fd, make([]byte, 1)); err != unix.EAGAIN {
					t.Fatalf("a read without data returned %d, %v, want EAGAIN", n, err)
				}
				loop, err := eventloop.New(eventloop.WithSelector(sel), eventloop.WithDebug())
				check(t, err)
				t.Cleanup(func() { loop.Close() })
				var got []string
				var ended error
				check(t, ReadFrames(loop, fd, 200*time.Millisecond,
					func(frame []byte) { got = append(got, string(frame)) },
					func(err error) { ended = err }))

				runUntil := func(done func() bool) {
					t.Helper()
					for start := time.Now(); !done(); {
						if time.Since(start) >= timeout {
							t.Fatal("the loop waits for something that does not happen")
						}
						_, err := loop.RunOnce(timeout)
						check(t, err)
					}
				}
				for i, parts := range frames {
					for _, part := range parts {
						write(t, peer, part)
						if ran, err := loop.RunOnce(timeout); ran == 0 || err != nil {
							t.Fatalf("the line is not readable: %v", err)
						}
					}
					if i == len(frames)-1 {
						unix.Close(peer)
						runUntil(func() bool { return ended != nil })
					}
					runUntil(func() bool { return len(got) > i })
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("frames (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.ended, ended, cmpopts.EquateErrors()); diff != "" {
					t.Errorf("end (-want +got):\n%s", diff)
				}
				if loop.Alive() {
					t.Error("the line or its timer is left")
				}
			})
		})
	}
}

// TestVMIN shows what VMIN and VTIME do to a non-blocking line: when it is
// reported, and what a read returns.
func TestVMIN(t *testing.T) {
	type result struct {
		Ready bool
		Read  string
		Err   error
	}
	for _, c := range []struct {
		vmin, vtime uint8
		write       string
		want        result
	}{
		{1, 0, "", result{false, "", unix.EAGAIN}},
		{1, 0, "x", result{true, "x", nil}},
		{0, 0, "", result{false, "", nil}}, // looks like the end of the file
		{0, 0, "x", result{true, "x", nil}},
		{0, 1, "", result{false, "", unix.EAGAIN}},
		{3, 0, "xx", result{false, "xx", nil}}, // is not reported
		{3, 0, "xxx", result{true, "xxx", nil}},
		{3, 1, "x", result{true, "x", nil}},
	} {
		t.Run(fmt.Sprintf("VMIN=%d,VTIME=%d,%q", c.vmin, c.vtime, c.write), func(t *testing.T) {
			eachSelector(t, func(t *testing.T, sel selectors.Selector) {
				master, line := newLine(t)
				t.Cleanup(func() { unix.Close(master); unix.Close(line) })
				mode, err := unix.IoctlGetTermios(line, unix.TCGETS)
				check(t, err)
				mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = c.vmin, c.vtime
				check(t, unix.IoctlSetTermios(line, unix.TCSETS, mode))
				_, err = sel.Register(line, selectors.EventRead, nil)
				check(t, err)
				wait := quietTime
				if c.write != "" {
					write(t, master, c.write)
				}
				if c.want.Ready {
					wait = timeout
				}
				batch, err := sel.Select(wait)
				check(t, err)
				if c.write != "" && !c.want.Ready {
					time.Sleep(quietTime) // the kernel moves bytes to the line in the background
				}
				buf := make([]byte, 16)
				n, err := unix.Read(line, buf)
				got := result{len(batch) > 0, string(buf[:max(n, 0)]), err}
				if diff := cmp.Diff(c.want, got, cmpopts.EquateErrors()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				// Nothing is left, whatever a read says of that.
				if n, err := selectors.TryRead(line, buf); n != 0 || err != selectors.ErrWouldBlock {
					t.Errorf("TryRead returned %d, %v, want ErrWouldBlock", n, err)
				}
			})
		})
	}
}
