//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "02-epoll: only Linux has epoll; lesson 3 runs on other systems too")
	os.Exit(1)
}
