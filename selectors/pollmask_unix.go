//go:build unix && !aix

package selectors

type pollMask = int16 // of a pollFD
