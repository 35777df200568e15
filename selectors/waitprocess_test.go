//go:build linux

package selectors_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// The processes of the wait table: one that measures, and its client.

// raceExit is for processes built with -race, which otherwise take a second to end.
const raceExit = "GORACE=atexit_sleep_ms=0"

// The client process makes plain blocking system calls, so that it costs little.

const peerEnv = "SELECTORS_WAIT_PEER" // "pause in ns", its connections are descriptors 3, 4 …

// startPeer starts the client and returns our ends of its connections. The client
// ends after we do, when it reads the end of the file. So it must not have our
// standard error, whose end the test waits for.
func startPeer(conns int, pause time.Duration) (fds []int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", peerEnv, conns, pause),
		"GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1", raceExit)
	for range conns {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		check(err)
		check(unix.SetNonblock(p[0], true))
		fds = append(fds, p[0])
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(p[1]), "client"))
	}
	check(cmd.Start())
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	return fds
}

func peer(conns int, pause time.Duration) {
	// By default a nanosleep is exact to 50 µs.
	check(unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0))
	request := make([]byte, 8)
	send := func(fd int) {
		binary.NativeEndian.PutUint64(request, uint64(monotonic()))
		if n := rawWrite(fd, request); n != len(request) {
			os.Exit(0)
		}
	}
	receive := func(fd int) {
		if n := rawRead(fd, request); n != len(request) {
			os.Exit(0)
		}
	}
	if conns == 1 {
		ts := unix.NsecToTimespec(int64(pause))
		for {
			send(3)
			receive(3)
			if pause > 0 {
				unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
			}
		}
	}
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	check(err)
	for fd := 3; fd < 3+conns; fd++ {
		check(unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
		send(fd)
	}
	events := make([]unix.EpollEvent, conns)
	for {
		n, _, _ := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(set), uintptr(unsafe.Pointer(&events[0])), uintptr(conns), ^uintptr(0), 0, 0)
		for _, ev := range events[:max(int(n), 0)] {
			receive(int(ev.Fd))
			send(int(ev.Fd))
		}
	}
}

// Raw system calls cost least. They do not block here, except in the client, which
// may.

func rawRead(fd int, p []byte) int {
	n, _, _ := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n)
}

func rawWrite(fd int, p []byte) int {
	n, _, _ := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n)
}

// monotonic returns CLOCK_MONOTONIC, which is the same in every process. It uses
// the runtime's clock, which needs no system call.
func monotonic() int64 { return clockBase + int64(time.Since(clockStart)) }

var (
	clockStart = time.Now()
	clockBase  = func() (base int64) {
		// Use the best of several tries: some are interrupted between the two clocks.
		narrowest := time.Duration(math.MaxInt64)
		for range 100 {
			var ts unix.Timespec
			before := time.Since(clockStart)
			check(unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
			if width := time.Since(clockStart) - before; width < narrowest {
				narrowest, base = width, ts.Nano()-int64(before+width/2)
			}
		}
		return base
	}()
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

const childEnv = "SELECTORS_WAIT_ROW" // row, strategy and time, separated by newlines

// The test binary is also the measuring process and the client.
func init() {
	if arg, ok := os.LookupEnv(peerEnv); ok {
		var conns int
		var pause time.Duration
		_, err := fmt.Sscan(arg, &conns, (*int64)(&pause))
		check(err)
		peer(conns, pause)
	}
	if arg, ok := os.LookupEnv(childEnv); ok {
		os.Unsetenv(childEnv)
		done := make(chan struct{})
		go func() { // init's own goroutine is locked to its thread
			defer close(done)
			child(strings.Split(arg, "\n"))
		}()
		<-done
		os.Exit(0)
	}
}

func child(args []string) {
	d, err := time.ParseDuration(args[2])
	check(err)
	r := &waitRun{time: d, figures: make(map[string]float64)}
	for _, strategy := range selectors.Strategies {
		if strategy.Name == args[1] {
			r.option = strategy.Option
		}
	}
	for _, row := range waitTableRows() {
		if row.name == args[0] {
			row.run(r)
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(r.figures))
}

// measure runs one row with one strategy in a process of its own.
func (row *waitRow) measure(t *testing.T, strategy string, d time.Duration) map[string]float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+10*d)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+row.name+"\n"+strategy+"\n"+d.String(), fmt.Sprintf("GOMAXPROCS=%d", row.procs), raceExit)
	var errors strings.Builder
	cmd.Stderr = &errors
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGQUIT) } // so that it prints its goroutines
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s, %s: %v\n%s", row.name, strategy, err, ownGoroutines(errors.String()))
		return nil
	}
	figures := make(map[string]float64)
	if err := json.Unmarshal(out, &figures); err != nil {
		t.Errorf("%s, %s: %v in %q", row.name, strategy, err, out)
	}
	return figures
}

// ownGoroutines cuts a trace to the goroutines that run code of this project.
func ownGoroutines(trace string) string {
	parts := strings.Split(trace, "\n\n")
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return !strings.Contains(part, "goselectors/") }), "\n\n")
}
