//go:build unix

package eventloop_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A spy is a selector that records the calls of SelectInto and Wake.
type spy struct {
	selectors.Selector
	timeouts     []time.Duration             // timeout of each SelectInto, in order
	wakes        atomic.Int64                // number of calls of Wake
	failWakes    atomic.Int64                // so many of the next calls of Wake fail
	beforeSleep  chan struct{}               // if not nil, receives a value before each SelectInto that may wait
	duringSelect func(timeout time.Duration) // if not nil, called by each SelectInto before it waits
}

func (s *spy) SelectInto(dst []selectors.Ready, timeout time.Duration) ([]selectors.Ready, error) {
	s.timeouts = append(s.timeouts, timeout)
	if s.beforeSleep != nil && timeout != 0 {
		s.beforeSleep <- struct{}{}
	}
	if s.duringSelect != nil {
		s.duringSelect(timeout)
	}
	return s.Selector.SelectInto(dst, timeout)
}

func (s *spy) Wake() error {
	s.wakes.Add(1)
	if s.failWakes.Add(-1) >= 0 {
		return syscall.EPERM
	}
	return s.Selector.Wake()
}

// loopWithSpy returns a loop whose selector is a spy, and the spy.
func (k loopKind) loopWithSpy(t testing.TB, opts ...eventloop.Option) (*eventloop.Loop, *spy) {
	t.Helper()
	s := &spy{Selector: k.selector(t)}
	return k.loop(t, append([]eventloop.Option{eventloop.WithSelector(s)}, opts...)...), s
}
