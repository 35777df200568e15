package eventloop

import (
	"errors"
	"fmt"
	"os"
	"reflect"
)

// Errors that methods of this package return, wrapped: test for them with
// errors.Is. Errors of the selector are returned unchanged.
var (
	// ErrClosed reports a call after Close, or a Run that Close has ended. It
	// also matches [os.ErrClosed].
	ErrClosed error = closedError{}

	// ErrRunning reports a call of Run or RunOnce while the loop is running, in
	// a callback or on another goroutine.
	ErrRunning = errors.New("loop is already running")

	// ErrInvalidLoop reports a call of a method of a nil loop, or of one that was
	// not made by New.
	ErrInvalidLoop = errors.New("loop is nil or was not made by New")

	// ErrNilSelector reports a selector of WithSelector that is a nil pointer.
	ErrNilSelector = errors.New("selector is nil")

	// ErrNilCallback reports a nil function or FileHandler as an argument.
	ErrNilCallback = errors.New("nil callback")

	// ErrNoCallback reports a ready key that was registered directly with the
	// selector and whose data is not a Callback. Run finishes the turn and then
	// returns this error.
	ErrNoCallback = errors.New("data of the ready key is not a callback")

	// ErrInvalidInterval reports a call of Every with an interval that is not
	// positive.
	ErrInvalidInterval = errors.New("interval is not positive")

	// ErrInvalidSignal reports a call of OnSignal with a signal that does not
	// exist or that a process cannot catch.
	ErrInvalidSignal = errors.New("signal cannot be caught")

	// ErrWorkExited is the error that DoResult gives to done if work has called
	// runtime.Goexit, as testing's FailNow does.
	ErrWorkExited = errors.New("work called runtime.Goexit")

	// ErrWrongGoroutine reports a call from a goroutine other than the one that
	// runs the loop. Only a loop with WithDebug checks for it.
	ErrWrongGoroutine = errors.New("called from outside the loop's goroutine; use Post")
)

type closedError struct{}

func (closedError) Error() string        { return "loop is closed" }
func (closedError) Is(target error) bool { return target == os.ErrClosed }

func opError(op string, err error) error { return fmt.Errorf("eventloop: %s: %w", op, err) }

// isInvalid reports whether a loop is nil or was not made by New.
func (l *Loop) isInvalid() bool { return l == nil || l.sel == nil }

// isNil reports whether v is nil or holds a nil pointer or function.
func isNil(v any) bool {
	switch v := reflect.ValueOf(v); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return v.IsNil()
	}
	return false
}

// checkPost validates a call of a method that any goroutine may call.
func (l *Loop) checkPost(op string, isNil bool) error {
	switch {
	case l.isInvalid():
		return opError(op, ErrInvalidLoop)
	case isNil:
		return opError(op, ErrNilCallback)
	}
	return nil
}

// checkCall validates a call of a method that belongs to the loop's goroutine.
func (l *Loop) checkCall(op string, isNil bool) error {
	switch {
	case l.isInvalid():
		return opError(op, ErrInvalidLoop)
	case isNil:
		return opError(op, ErrNilCallback)
	case l.closing.Load():
		return opError(op, ErrClosed)
	case l.debug && !l.onLoopGoroutine():
		return opError(op, ErrWrongGoroutine)
	}
	return nil
}

// callAllowed is checkCall for methods that return no error. It logs
// ErrWrongGoroutine instead.
func (l *Loop) callAllowed(op string) bool {
	err := l.checkCall(op, false)
	if errors.Is(err, ErrWrongGoroutine) {
		l.log.Error(err.Error(), "from", fileLine(callerPC()))
	}
	return err == nil
}
