package selectors

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// BackendEnv names the environment variable that makes NewDefaultSelector use
// one backend: SELECTORS_BACKEND=poll.
const BackendEnv = "SELECTORS_BACKEND"

// NewDefaultSelector returns a selector on the best backend of this platform:
// epoll on Linux, kqueue on the BSDs and macOS. Python calls it DefaultSelector.
//
// The environment variable [BackendEnv] overrides the choice; a name that is
// unknown or not available here is an error that lists the choices. Where the
// platform has no backend at all the error wraps [errors.ErrUnsupported].
func NewDefaultSelector(opts ...Option) (Selector, error) {
	if name := os.Getenv(BackendEnv); name != "" {
		var choices []string
		for _, b := range backends {
			if b.Name == name {
				return b.New(opts...)
			}
			choices = append(choices, b.Name)
		}
		return nil, &Error{Op: "new", Backend: name, FD: -1, Err: fmt.Errorf("%w here; %s takes one of: %s",
			&unsupportedError{"this backend"}, BackendEnv, strings.Join(choices, ", "))}
	}
	err := error(&Error{Op: "new", Backend: "default", FD: -1, Err: errNone})
	for _, b := range backends {
		var s Selector
		if s, err = b.New(opts...); !errors.Is(err, errors.ErrUnsupported) {
			return s, err
		}
	}
	return nil, err
}

// errNone is the cause where there is no backend.
var errNone error = &unsupportedError{"waiting for readiness on this platform"}

// Option adjusts a new selector.
type Option func(*options)

type options struct{ wait strategy }

// WithBlockingWait makes a waiting Select block a thread in the kernel instead
// of parking its goroutine in Go's runtime poller. The other backends do so
// anyway; the package documentation has figures on when it pays on epoll.
func WithBlockingWait() Option { return func(o *options) { o.wait = blocking } }

// strategy is how a selector waits.
type strategy uint8

const (
	adaptive strategy = iota // block briefly while that is likely to do, else park
	blocking                 // block
	armed                    // park, behind a gate that is armed for each park
	nested                   // park, with the runtime poller watching the whole set all the time
)

func newOptions(opts []Option) (o options) {
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	return o
}

// orNil keeps a nil *EpollSelector from becoming a Selector that is not nil.
func orNil[S Selector](s S, err error) (Selector, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
