//go:build !unix

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "05-fetch: needs a Unix system: it makes its sockets itself")
	os.Exit(1)
}
