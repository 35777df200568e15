package selectors_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"goselectors/selectors"
)

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		err  selectors.Error
		want string
	}{
		{selectors.Error{Op: "register", Backend: "epoll", FD: 7, Err: selectors.ErrRegistered}, "selectors: epoll register fd 7: already registered"},
		{selectors.Error{Op: "unregister", Backend: "poll", FD: 0, Err: selectors.ErrNotRegistered}, "selectors: poll unregister fd 0: not registered"},
		{selectors.Error{Op: "select", Backend: "select", FD: -1, Err: selectors.ErrClosed}, "selectors: select select: selector is closed"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("%#v says %q, want %q", test.err, got, test.want)
		}
	}
}

func TestErrorCauses(t *testing.T) {
	causes := []error{
		selectors.ErrRegistered, selectors.ErrNotRegistered, selectors.ErrClosed, selectors.ErrConcurrentSelect,
		selectors.ErrInvalidEvents, selectors.ErrInvalidFileObj, selectors.ErrFDTooLarge, selectors.ErrWouldBlock,
		os.ErrNotExist, errors.ErrUnsupported,
	}
	for _, cause := range causes {
		err := fmt.Errorf("outer: %w", &selectors.Error{Op: "op", Backend: "backend", FD: 3, Err: fmt.Errorf("inner: %w", cause)})
		for _, other := range causes {
			if got := errors.Is(err, other); got != (cause == other) {
				t.Errorf("errors.Is(%v, %v) is %v", err, other, got)
			}
		}
		var e *selectors.Error
		if !errors.As(err, &e) || e.FD != 3 || e.Op != "op" || e.Backend != "backend" {
			t.Errorf("errors.As of %v found %+v", err, e)
		}
	}
}

func TestErrClosedIsOSErrClosed(t *testing.T) {
	if !errors.Is(selectors.ErrClosed, os.ErrClosed) {
		t.Error("ErrClosed is not os.ErrClosed")
	}
	if errors.Is(selectors.ErrClosed, os.ErrNotExist) {
		t.Error("ErrClosed is os.ErrNotExist")
	}
}
