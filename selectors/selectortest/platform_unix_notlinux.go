//go:build unix && !linux

package selectortest

// signalAllThreads sends a signal to one thread of the process: only Linux has a
// list of threads.
func signalAllThreads() { signalProcess() }
