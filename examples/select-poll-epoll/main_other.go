//go:build !linux

package main

import "goselectors/examples/internal/cli"

func main() {
	cli.Unsupported("select-poll-epoll", "only Linux has all three calls; go run ./examples/compare measures the backends of this system")
}
