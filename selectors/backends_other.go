//go:build !unix

package selectors

import "errors"

var backends []Backend

var errBadFD = errors.New("bad file descriptor")
