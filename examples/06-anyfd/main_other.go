//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "06-anyfd: only Linux has all of these descriptors")
	os.Exit(1)
}
