//go:build race

package eventloop

// Race: the race detector is on, and what takes a second takes ten.
const Race = true
