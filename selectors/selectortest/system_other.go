//go:build !unix

package selectortest

// system is what rules need of the operating system; here that is nothing.
type system struct{}

// systemGroups are the rules that need descriptors. They are written with
// Unix's system calls, so here they are missing: what waits, wakes, closes and
// refuses is checked, and what gets ready is not.
var systemGroups = []group{{"Descriptors", []rule{
	{"All", 0, func(t *T) { t.Skip("the rules on descriptors are written with Unix's system calls") }},
}}}
