//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package selectors

import "goselectors/selectors/internal/kqueue"

var nativeBackends = []Backend{
	{"kqueue", kqueueTraits(kqueue.Native).features, func(o ...Option) (Selector, error) { return orNil(NewKqueueSelector(o...)) }},
}
