//go:build !linux

package main

import "goselectors/examples/internal/lesson"

func main() {
	lesson.Unsupported("02-epoll", "only Linux has epoll; lesson 3 runs on other systems too")
}
