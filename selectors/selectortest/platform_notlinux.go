//go:build !linux

package selectortest

// Other systems have no rules of their own.
var (
	linuxStates []state
	linuxGroups []group
)
