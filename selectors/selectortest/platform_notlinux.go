//go:build !linux

package selectortest

// Nothing is measured, and nothing promised, of these systems beyond what they
// have in common.
var (
	linuxStates []state
	linuxGroups []group
)
