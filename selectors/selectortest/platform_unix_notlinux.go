//go:build unix && !linux

package selectortest

// signalAllThreads sends some thread of the process a signal.
func signalAllThreads() { signalProcess() }
