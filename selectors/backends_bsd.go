//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package selectors

var backends = []Backend{
	{"kqueue", native.traits().features, func(o ...Option) (Selector, error) { return orNil(NewKqueueSelector(o...)) }},
	{"poll", pollTraits.features, func(o ...Option) (Selector, error) { return orNil(NewPollSelector(o...)) }},
	{"select", selectTraits.features, func(o ...Option) (Selector, error) { return orNil(NewSelectSelector(o...)) }},
}
