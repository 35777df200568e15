//go:build !unix

package main

const openFlags = 0

func isShortage(error) bool { return false }
