//go:build unix && !linux

package selectortest

// interruptAll sends some thread of the process a signal.
func signalAllThreads() { signalProcess() }
