package selectors

var backends = []Backend{
	{"epoll", epollTraits.features, func(o ...Option) (Selector, error) { return orNil(NewEpollSelector(o...)) }},
	{"poll", pollTraits.features, func(o ...Option) (Selector, error) { return orNil(NewPollSelector(o...)) }},
	{"select", selectTraits.features, func(o ...Option) (Selector, error) { return orNil(NewSelectSelector(o...)) }},
}
