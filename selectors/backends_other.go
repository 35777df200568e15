//go:build !unix

package selectors

import "errors"

var backends []Backend

var errBadFD = errors.New("bad file descriptor")

func fileID(int) (uint64, error) { return 0, errBadFD }
