//go:build linux

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// serveHTTP is what examples/httpd is beside in servers.sh: package net/http
// with the same bytes in memory. It says its port, and goes on for ever.
func serveHTTP(a args) {
	data, err := os.ReadFile(filepath.Join(a.text("dir", "."), "hello.txt"))
	check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT")
		w.Write(data)
	})}
	check(s.Serve(l))
}
