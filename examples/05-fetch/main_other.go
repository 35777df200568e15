//go:build !unix

package main

import "goselectors/examples/internal/cli"

func main() {
	cli.Unsupported("05-fetch", "needs a Unix system, because it creates its own sockets")
}
