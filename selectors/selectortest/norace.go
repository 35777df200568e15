//go:build !race

package selectortest

const raceEnabled = false
