package sys

import "golang.org/x/sys/unix"

// dontWait makes a call on a socket not wait, whatever its mode.
const dontWait = unix.MSG_DONTWAIT
