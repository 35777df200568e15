package selectors

// Strategies of waiting, for comparisons: an Option each.
var Strategies = []struct {
	Name   string
	Option Option
}{
	{"adaptive", func(o *options) { o.wait = adaptive }},
	{"blocking", func(o *options) { o.wait = blocking }},
	{"armed", func(o *options) { o.wait = armed }},
	{"nested", func(o *options) { o.wait = nested }},
}
