package selectortest_test

import "golang.org/x/sys/unix"

const pollRdHup = unix.POLLRDHUP
