//go:build !unix

package main

import "goselectors/examples/internal/lesson"

func main() {
	lesson.Unsupported("05-fetch", "needs a Unix system, because it creates its own sockets")
}
