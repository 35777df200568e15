//go:build unix

package eventloop_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"

	"golang.org/x/sys/unix"
)

// sendSignal sends a signal to this process.
func sendSignal(sig syscall.Signal) { check(unix.Kill(os.Getpid(), sig)) }

func TestOnSignal(t *testing.T) {
	forEachLoopKind(t,
		testCase{"on the loop", func(t *testing.T, k loopKind) {
			l := k.loop(t, eventloop.WithDebug(), discardLog)
			var got []os.Signal
			for _, sig := range []syscall.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH} {
				must(l.OnSignal(sig, func(s os.Signal) {
					if s != sig {
						t.Errorf("the handler of %v was called for %v", sig, s)
					}
					got = append(got, s)
					if len(got) == 3 {
						check(l.CallSoon(l.Stop)) // only allowed on the loop's goroutine
					}
				}))
			}
			check(l.CallSoon(func() {
				sendSignal(unix.SIGUSR1)
				sendSignal(unix.SIGUSR2)
				sendSignal(unix.SIGWINCH)
			}))
			runLoop(t, l)
			for _, sig := range []os.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH} {
				if !slices.Contains(got, sig) {
					t.Errorf("%v was not delivered: got %v", sig, got)
				}
			}
		}},
		testCase{"wakes a sleeping loop", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			a, _ := socketPair(t)
			must(l.Register(a, read, func(any, selectors.Event) { t.Error("called") }))
			must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { l.Stop() }))
			for range 5 {
				time.AfterFunc(2*time.Millisecond, func() { sendSignal(unix.SIGUSR1) })
				runLoop(t, l)
			}
		}},
		testCase{"several handlers, several loops", func(t *testing.T, k loopKind) {
			const loops, handlers = 3, 3
			var calls atomic.Int64
			var ended []<-chan error
			var all []*eventloop.Loop
			for range loops {
				l := k.loop(t)
				for range handlers {
					must(l.OnSignal(unix.SIGUSR2, func(os.Signal) { calls.Add(1) }))
				}
				all, ended = append(all, l), append(ended, startLoop(t, l))
			}
			sendSignal(unix.SIGUSR2)
			eventually(t, "all are called", func() bool { return calls.Load() == loops*handlers })
			all[0].Close()
			receive(t, ended[0])
			calls.Store(0)
			sendSignal(unix.SIGUSR2)
			eventually(t, "the others are called", func() bool { return calls.Load() >= (loops-1)*handlers })
			time.Sleep(time.Millisecond)
			if n := calls.Load(); n != (loops-1)*handlers {
				t.Errorf("%d calls, want %d", n, (loops-1)*handlers)
			}
			for i := 1; i < loops; i++ {
				all[i].Stop()
				receive(t, ended[i])
			}
		}},
		testCase{"stopped", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var r recorder
			first := must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { r.add("first") }))
			second := must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { r.add("second") }))
			must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { r.add("third") }))
			caught := func() bool { runTurn(t, l); return r.count("third") > 0 }
			if !first.Stop() {
				t.Error("Stop of an active handler returned false")
			}
			if first.Stop() {
				t.Error("the second Stop returned true")
			}
			sendSignal(unix.SIGUSR1)
			eventually(t, "the signal comes", caught)
			eventually(t, "it comes to the second", func() bool { runTurn(t, l); return r.count("second") > 0 })
			if r.count("first") != 0 {
				t.Error("a stopped handler was called")
			}
			// A signal that is pending when its handler is stopped is not delivered.
			sendSignal(unix.SIGUSR1)
			time.Sleep(quietPeriod)
			second.Stop()
			was := r.count("second")
			for started := time.Now(); time.Since(started) < quietPeriod; {
				runTurn(t, l)
			}
			if r.count("second") != was || r.count("third") != 2 {
				t.Errorf("second: %d, want %d; third: %d, want 2", r.count("second"), was, r.count("third"))
			}
		}},
		testCase{"stopped by another handler", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			var handlers [2]*eventloop.SignalHandler
			calls := 0
			for i := range handlers {
				handlers[i] = must(l.OnSignal(unix.SIGUSR1, func(os.Signal) {
					calls++
					handlers[1-i].Stop()
				}))
			}
			sendSignal(unix.SIGUSR1)
			time.Sleep(quietPeriod) // both signals are pending now
			for started := time.Now(); calls == 0 || time.Since(started) < quietPeriod; {
				if runTurn(t, l); time.Since(started) > receiveTimeout {
					t.Fatal("no signal was delivered")
				}
			}
			if calls != 1 {
				t.Errorf("%d calls, want 1", calls)
			}
		}},
		testCase{"none lost in a burst", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			ended := startLoop(t, l)
			var sent, seen, calls atomic.Int64
			added := make(chan struct{})
			check(l.Post(func() {
				must(l.OnSignal(unix.SIGUSR1, func(os.Signal) {
					calls.Add(1)
					seen.Store(sent.Load())
				}))
				close(added)
			}))
			receive(t, added)
			const numSignals = 2000
			for range numSignals {
				sent.Add(1)
				sendSignal(unix.SIGUSR1)
			}
			eventually(t, "the handler runs after the last signal", func() bool { return seen.Load() == numSignals })
			if n := calls.Load(); n > numSignals {
				t.Errorf("%d calls for %d signals", n, numSignals)
			}
			l.Stop()
			receive(t, ended)
		}},
		testCase{"handler closes the loop", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { l.Close() }))
			must(l.OnSignal(unix.SIGUSR2, func(os.Signal) { t.Error("called after Close") }))
			sendSignal(unix.SIGUSR1)
			if err := l.Run(context.Background()); !errors.Is(err, eventloop.ErrClosed) {
				t.Error(err)
			}
		}},
		testCase{"handler panics", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			must(l.OnSignal(unix.SIGUSR1, func(os.Signal) { panicBoom() }))
			for range 2 {
				sendSignal(unix.SIGUSR1)
				if v, stack := catchPanic(func() { l.Run(context.Background()) }); v != "boom" || !strings.Contains(stack, "panicBoom") {
					t.Fatalf("panicked with %v", v)
				}
			}
		}},
		testCase{"invalid signals", func(t *testing.T, k loopKind) {
			l := k.loop(t)
			for _, sig := range []os.Signal{nil, os.Kill, unix.SIGKILL, unix.SIGSTOP, syscall.Signal(0), syscall.Signal(-1), syscall.Signal(65), syscall.Signal(1 << 20), noSignal{}} {
				h, err := l.OnSignal(sig, func(os.Signal) {})
				if h != nil || !errors.Is(err, eventloop.ErrInvalidSignal) {
					t.Errorf("%v: %v, %v", sig, h, err)
				}
			}
			if l.Alive() {
				t.Error("a rejected handler keeps the loop alive")
			}
		}},
		testCase{"no goroutine leak", func(t *testing.T, k loopKind) {
			for range 2 { // package signal starts a goroutine at its first use and keeps it
				l := k.loop(t)
				must(l.OnSignal(unix.SIGUSR1, func(os.Signal) {}))
				l.Close()
			}
			initial := runtime.NumGoroutine()
			for range 10 {
				l := k.loop(t)
				for range 5 {
					must(l.OnSignal(unix.SIGUSR1, func(os.Signal) {}))
					must(l.OnSignal(unix.SIGUSR2, func(os.Signal) {})).Stop()
				}
				l.Close()
			}
			eventually(t, fmt.Sprintf("no more than %d goroutines", initial), func() bool { return runtime.NumGoroutine() <= initial })
		}},
	)
}

type noSignal struct{}

func (noSignal) String() string { return "none" }
func (noSignal) Signal()        {}

// When the last handler is removed, the signal has its default effect again. For
// SIGTERM this ends the process. (Many others, for example SIGUSR1, have no
// effect on a Go program that does not handle them.)
func TestSignalDefaultReturns(t *testing.T) {
	for _, way := range []string{"Stop", "Close", "Close while Run waits"} {
		t.Run(strings.ReplaceAll(way, " ", "_"), func(t *testing.T) {
			inChild, output, err := runInChild(t)
			if !inChild {
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGTERM || !strings.Contains(output, "caught\n") {
					t.Errorf("%v, want %v; output:\n%s", err, unix.SIGTERM, output)
				}
				return
			}
			l := must(eventloop.New())
			h := must(l.OnSignal(unix.SIGTERM, func(os.Signal) {
				fmt.Println("caught")
				l.Stop()
			}))
			sendSignal(unix.SIGTERM)
			runLoop(t, l)
			switch way {
			case "Stop":
				h.Stop()
			case "Close":
				l.Close()
			default:
				ended := startLoop(t, l)
				l.Close()
				<-ended
			}
			sendSignal(unix.SIGTERM)
			time.Sleep(receiveTimeout) // the signal ends the process before this returns
		})
	}
}
