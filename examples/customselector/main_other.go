//go:build !linux

package main

import "goselectors/examples/internal/cli"

func main() {
	cli.Unsupported("customselector", "only Linux has io_submit")
}
