//go:build !linux

package main

import "fmt"

func main() { fmt.Println("this comparison is for Linux: it measures with /proc and epoll") }
