//go:build unix && !linux && !darwin && !freebsd

package stream

// kernelUnsent is not known on these systems.
func kernelUnsent(int, fileKind) (int, bool) { return 0, false }
