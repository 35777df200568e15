package selectors

type pollMask = uint16 // of a pollFD
