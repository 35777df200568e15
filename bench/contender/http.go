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

// serveHTTP is the server with which servers.sh compares examples/httpd: package
// net/http with the same file contents in memory. It prints its port and runs until
// it is killed.
func serveHTTP(a args) {
	data, err := os.ReadFile(filepath.Join(a.str("dir", "."), "hello.txt"))
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
