//go:build !race

package eventloop

const Race = false
