//go:build unix && !linux

package selectortest_test

const pollRdHup = 0 // only Linux has it
