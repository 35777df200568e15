package selectors

type pollMask = uint16 // of unix.PollFd
