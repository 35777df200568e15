//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "select-poll-epoll: only Linux has all three; go run ./examples/compare measures what is here")
	os.Exit(1)
}
