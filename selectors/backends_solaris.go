package selectors

var backends = []Backend{
	{"eventport", eventPortTraits.features, func(o ...Option) (Selector, error) { return orNil(NewEventPortSelector(o...)) }},
	{"poll", pollTraits.features, func(o ...Option) (Selector, error) { return orNil(NewPollSelector(o...)) }},
	{"select", selectTraits.features, func(o ...Option) (Selector, error) { return orNil(NewSelectSelector(o...)) }},
}
