//go:build !linux

package main

import "goselectors/examples/internal/cli"

func main() {
	cli.Unsupported("06-anyfd", "only Linux has all of these descriptors")
}
