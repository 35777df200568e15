//go:build race

package selectortest

const raceEnabled = true
