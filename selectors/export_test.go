package selectors

import "goselectors/selectors/internal/park"

// Strategies are the ways in which the epoll backend can wait, as options.
var Strategies = []struct {
	Name   string
	Option Option
}{
	{"adaptive", func(o *options) { o.wait = park.Adaptive }},
	{"blocking", WithBlockingWait()},
	{"parking", func(o *options) { o.wait = park.Parking }},
}
