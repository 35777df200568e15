package selectors

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"goselectors/selectors/internal/park"
	"goselectors/selectors/internal/sys"
)

// BackendEnv is the environment variable that makes NewDefaultSelector use one
// backend: SELECTORS_BACKEND=poll.
const BackendEnv = "SELECTORS_BACKEND"

// NewDefaultSelector returns a selector on the best backend of this platform:
// epoll on Linux, kqueue on the BSDs and macOS. Python calls it DefaultSelector.
//
// The environment variable [BackendEnv] overrides the choice. A name that is
// unknown or not available here is an error that lists the choices. Where the
// platform has no backend the error wraps [errors.ErrUnsupported].
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
			sys.Unsupported("this backend"), BackendEnv, strings.Join(choices, ", "))}
	}
	err := error(&Error{Op: "new", Backend: "default", FD: -1, Err: errNoBackend})
	for _, b := range backends {
		var s Selector
		if s, err = b.New(opts...); !errors.Is(err, errors.ErrUnsupported) {
			return s, err
		}
	}
	return nil, err
}

// errNoBackend is the cause where the platform has no backend.
const errNoBackend = sys.Unsupported("waiting for readiness on this platform")

// A Backend is one of the kernel facilities of this platform.
type Backend struct {
	Name     string // as in SELECTORS_BACKEND: "epoll", "kqueue", "poll", "select"
	Features Feature
	New      func(...Option) (Selector, error)
}

// Backends lists the backends of this platform, best first. Where there are none
// the list is empty, and NewDefaultSelector returns [errors.ErrUnsupported].
func Backends() []Backend {
	return slices.Clone(backends)
}

// nativeBackends is defined by the file of the platform's own facility.
var backends = append(slices.Clone(nativeBackends), portableBackends()...)

func portableBackends() (list []Backend) {
	if sys.HasPoll {
		list = append(list, Backend{"poll", pollTraits.features, func(o ...Option) (Selector, error) { return orNil(NewPollSelector(o...)) }})
	}
	if sys.HasSelect {
		list = append(list, Backend{"select", selectTraits.features, func(o ...Option) (Selector, error) { return orNil(NewSelectSelector(o...)) }})
	}
	return list
}

// Option adjusts a new selector.
type Option func(*options)

type options struct{ wait park.Strategy }

// WithBlockingWait makes a waiting Select of the epoll backend block a thread in
// the kernel instead of parking its goroutine in Go's runtime poller. The other
// backends block anyway. docs/waiting.md has figures on when it pays.
func WithBlockingWait() Option { return func(o *options) { o.wait = park.Blocking } }

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
