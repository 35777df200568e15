//go:build unix || windows

package sys

import "runtime"

// CloseWithOwner makes the garbage collector close a descriptor when the object
// that owner points into is not reachable any more. That is for owners that were
// forgotten; those that are closed stop the cleanup first.
//
// A method of the owner has to keep it alive until its last system call on the
// descriptor has returned, for example by unlocking a mutex of the owner afterwards.
func CloseWithOwner[T any](owner *T, fd int) runtime.Cleanup {
	return runtime.AddCleanup(owner, closeDescriptor, fd)
}
