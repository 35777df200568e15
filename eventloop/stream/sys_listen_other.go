//go:build !unix

package stream

import (
	"errors"
	"net/netip"
)

type fileID struct{ dev, ino uint64 }

func accept(int) (int, netip.AddrPort, error) {
	return -1, netip.AddrPort{}, errors.ErrUnsupported
}
func isConnError(error) bool                { return false }
func isSocketGone(error) bool               { return false }
func idOfFD(int) (fileID, error)            { return fileID{}, errors.ErrUnsupported }
func idOfSocketFile(string) (fileID, error) { return fileID{}, errors.ErrUnsupported }
func isAbstract(string) bool                { return true }
func isReadable(int) bool                   { return false }
func checkListening(int) error              { return errors.ErrUnsupported }
func hasDeadOwner(string) bool              { return false }
func inheritFD(int) error                   { return errors.ErrUnsupported }
func isAddrInUse(error) bool                { return false }
func lockDirectory(string) (func(), error)  { return nil, errors.ErrUnsupported }
