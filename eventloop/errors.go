package eventloop

import (
	"errors"
	"fmt"
	"os"
)

// What can be wrong with a call, to be tested for with errors.Is. Errors of the
// selector come back as they are.
var (
	// ErrClosed: a call after Close, or a Run that Close has ended. It matches
	// [os.ErrClosed] too.
	ErrClosed error = closedError{}

	// ErrRunning: Run or RunOnce while the loop is running, in a callback or on
	// another goroutine.
	ErrRunning = errors.New("the loop is running already")

	// ErrNilCallback: nil where a function is to be called.
	ErrNilCallback = errors.New("nil callback")

	// ErrNoCallback: Run found a key ready that was registered with the
	// selector directly and whose data is not a Callback. It ends Run; the turn
	// has been finished.
	ErrNoCallback = errors.New("the data of a ready key is not a callback")

	// ErrInvalidInterval: Every with an interval that is not positive.
	ErrInvalidInterval = errors.New("the interval is not positive")

	// ErrInvalidSignal: OnSignal with a signal that does not exist or that no
	// process can catch.
	ErrInvalidSignal = errors.New("signal cannot be caught")

	// ErrWrongGoroutine: with WithDebug, a call from another goroutine than
	// that of the running loop.
	ErrWrongGoroutine = errors.New("called from outside the loop's goroutine; use Post")
)

type closedError struct{}

func (closedError) Error() string        { return "the loop is closed" }
func (closedError) Is(target error) bool { return target == os.ErrClosed }

func fail(op string, err error) error { return fmt.Errorf("eventloop: %s: %w", op, err) }

// check is what every method begins with that belongs to the loop's goroutine.
func (l *Loop) check(op string, isNil bool) error {
	switch {
	case isNil:
		return fail(op, ErrNilCallback)
	case l.closing.Load():
		return fail(op, ErrClosed)
	case l.debug && !l.atHome():
		return fail(op, ErrWrongGoroutine)
	}
	return nil
}

// allows is check for methods that cannot say why they did nothing: WithDebug
// logs it.
func (l *Loop) allows(op string) bool {
	err := l.check(op, false)
	if errors.Is(err, ErrWrongGoroutine) {
		l.log.Error(err.Error(), "from", line(caller()))
	}
	return err == nil
}
