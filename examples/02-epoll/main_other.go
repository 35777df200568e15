//go:build !linux

package main

import "goselectors/examples/internal/cli"

func main() {
	cli.Unsupported("02-epoll", "only Linux has epoll; lesson 3 runs on other systems too")
}
