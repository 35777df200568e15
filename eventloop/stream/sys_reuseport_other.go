//go:build !(dragonfly || freebsd || linux)

package stream

import "errors"

const canReusePort = false

func reusePort(int) error { return errors.ErrUnsupported }
