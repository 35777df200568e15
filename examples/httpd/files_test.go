//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/examples/internal/servertest"
)

// get sends a request and returns the response and its body.
func get(t *testing.T, client *http.Client, method, url string, header map[string]string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("%s %s: body: %v", method, url, err)
	}
	return response, string(body)
}

func newHTTPClient(t *testing.T) *http.Client {
	client := &http.Client{
		Timeout:       servertest.Timeout,
		Transport:     &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// TestConditions has requests with conditions and ranges, for a small file and a
// large one.
func TestConditions(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		s := startHere(t, backend, nil, nil)
		client := newHTTPClient(t)
		for path, content := range map[string]string{"/hello.txt": "hello, world\n", "/big.bin": string(s.big)} {
			size := len(content)
			first, _ := get(t, client, "GET", "http://"+s.addr+path, nil)
			etag, modified := first.Header.Get("Etag"), first.Header.Get("Last-Modified")
			if etag == "" || modified == "" {
				t.Fatalf("%s: header %v", path, first.Header)
			}
			past := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
			for _, c := range []struct {
				name, value string
				status      int
				body        string
				rangeField  string // Content-Range
			}{
				{"Range", "bytes=0-3", 206, content[:4], fmt.Sprintf("bytes 0-3/%d", size)},
				{"Range", "bytes=7-", 206, content[7:], fmt.Sprintf("bytes 7-%d/%d", size-1, size)},
				{"Range", "bytes=-5", 206, content[size-5:], fmt.Sprintf("bytes %d-%d/%d", size-5, size-1, size)},
				{"Range", "bytes=3-999999999", 206, content[3:], fmt.Sprintf("bytes 3-%d/%d", size-1, size)},
				{"Range", "bytes=999999999-", 416, "invalid range: failed to overlap\n", fmt.Sprintf("bytes */%d", size)},
				{"Range", "bytes=5-3", 416, "invalid range\n", ""},
				{"Range", "bytes=0-1,3-4", 200, content, ""}, // may be ignored
				{"If-None-Match", etag, 304, "", ""},
				{"If-None-Match", `"other", ` + etag, 304, "", ""},
				{"If-None-Match", "*", 304, "", ""},
				{"If-None-Match", `"other"`, 200, content, ""},
				{"If-Match", etag, 200, content, ""},
				{"If-Match", `"other"`, 412, "", ""},
				{"If-Modified-Since", modified, 304, "", ""},
				{"If-Modified-Since", past, 200, content, ""},
				{"If-Modified-Since", "nonsense", 200, content, ""},
				{"If-Unmodified-Since", past, 412, "", ""},
				{"If-Range", etag, 206, content[2:5], fmt.Sprintf("bytes 2-4/%d", size)},
				{"If-Range", modified, 206, content[2:5], fmt.Sprintf("bytes 2-4/%d", size)},
				{"If-Range", `"other"`, 200, content, ""},
			} {
				header := map[string]string{c.name: c.value}
				if c.name == "If-Range" {
					header["Range"] = "bytes=2-4"
				}
				response, body := get(t, client, "GET", "http://"+s.addr+path, header)
				if response.StatusCode != c.status || body != c.body || response.Header.Get("Content-Range") != c.rangeField {
					t.Errorf("%s, %s: %s: %s, %d bytes %.30q, range %q; want %d, %d bytes %.30q, range %q", path, c.name, c.value,
						response.Status, len(body), body, response.Header.Get("Content-Range"), c.status, len(c.body), c.body, c.rangeField)
				}
				response, body = get(t, client, "HEAD", "http://"+s.addr+path, header)
				if response.StatusCode != c.status || body != "" {
					t.Errorf("HEAD %s, %s: %s: %s, %q; want %d", path, c.name, c.value, response.Status, body, c.status)
				}
			}
		}
	})
}

// TestFiles has the paths of directories, types of content, and files that are not
// served.
func TestFiles(t *testing.T) {
	s := startHere(t, "", nil, nil)
	for name, data := range map[string]string{
		"page":             "<!DOCTYPE html><p>",
		"with/index.html":  "index",
		"style.css":        "p {}",
		"a?b#c%d":          "odd name",
		"unreadable":       "secret",
		"limit":            strings.Repeat("x", maxSmallFile),
		"above limit":      strings.Repeat("x", maxSmallFile+1),
		"large":            strings.Repeat("<html>\n", 20000),
		"index.html/x.txt": "not an index", // a directory
	} {
		path := filepath.Join(s.dir, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(filepath.Join(s.dir, "unreadable"), 0)
	os.Mkdir(filepath.Join(s.dir, "empty dir"), 0o755)
	os.Symlink("hello.txt", filepath.Join(s.dir, "inside"))
	os.Symlink("loop", filepath.Join(s.dir, "loop"))
	os.Symlink("/", filepath.Join(s.dir, "slash"))
	os.Symlink("../../../../../../etc/passwd", filepath.Join(s.dir, "up"))
	client := newHTTPClient(t)
	for _, c := range []struct {
		path        string
		status      int
		contentType string
		body        string // the beginning
		location    string
	}{
		{"/with/", 200, "text/html; charset=utf-8", "index", ""},
		{"/with/index.html", 200, "text/html; charset=utf-8", "index", ""},
		{"/with?x=y", 301, "text/html; charset=utf-8", "<a href", "/with/?x=y"},
		{"/with/.", 301, "text/html; charset=utf-8", "<a href", "/with/"},
		{"//with", 301, "text/html; charset=utf-8", "<a href", "/with/"},
		{"/empty%20dir", 301, "text/html; charset=utf-8", "<a href", "/empty%20dir/"},
		{"/empty%20dir/", 200, "text/plain; charset=utf-8", "", ""},
		{"/index.html/", 200, "text/plain; charset=utf-8", "x.txt\n", ""},
		{"/page", 200, "text/html; charset=utf-8", "<!DOCTYPE", ""},
		{"/large", 200, "text/html; charset=utf-8", "<html>", ""},
		{"/style.css", 200, "text/css; charset=utf-8", "p {}", ""},
		{"/limit", 200, "text/plain; charset=utf-8", "xxx", ""},
		{"/above%20limit", 200, "text/plain; charset=utf-8", "xxx", ""},
		{"/a%3Fb%23c%25d", 200, "text/plain; charset=utf-8", "odd name", ""},
		{"/inside", 200, "text/plain; charset=utf-8", "hello", ""},
		{"/hello.txt/", 404, "text/plain; charset=utf-8", "Not Found\n", ""},
		{"/hello.txt/x", 404, "text/plain; charset=utf-8", "Not Found\n", ""},
		{"/loop", 403, "text/plain; charset=utf-8", "Forbidden\n", ""},
		{"/slash/etc/passwd", 403, "text/plain; charset=utf-8", "Forbidden\n", ""},
		{"/up", 403, "text/plain; charset=utf-8", "Forbidden\n", ""},
	} {
		for range 2 { // from the disk and from the cache
			response, body := get(t, client, "GET", "http://"+s.addr+c.path, nil)
			h := response.Header
			if response.StatusCode != c.status || h.Get("Content-Type") != c.contentType || !strings.HasPrefix(body, c.body) || h.Get("Location") != c.location {
				t.Errorf("%s: %s, %s, %.20q, location %q; want %d, %s, %.20q, %q", c.path, response.Status, h.Get("Content-Type"), body, h.Get("Location"), c.status, c.contentType, c.body, c.location)
			}
		}
	}
	if os.Getuid() != 0 { // root may read all files
		if response, _ := get(t, client, "GET", "http://"+s.addr+"/unreadable", nil); response.StatusCode != 403 {
			t.Errorf("unreadable: %s; want 403", response.Status)
		}
	}
	// A root directory that has no file index.html.
	if _, body := get(t, client, "GET", "http://"+s.addr+"/sub/", nil); body != "a b.html\n" {
		t.Errorf("list: %q", body)
	}
}

// TestSpecialFiles requests files that are neither regular nor directories, many
// times. Each is refused, and no goroutine waits for it.
func TestSpecialFiles(t *testing.T) {
	servertest.EachBackend(t, func(t *testing.T, backend string) {
		s := startHere(t, backend, nil, nil)
		os.Mkdir(filepath.Join(s.dir, "special"), 0o755)
		os.Mkdir(filepath.Join(s.dir, "indexed"), 0o755)
		in := func(name string) string { return filepath.Join(s.dir, "special", name) }
		if err := unix.Mkfifo(in("fifo"), 0o644); err != nil {
			t.Fatal(err)
		}
		unix.Mkfifo(filepath.Join(s.dir, "indexed", "index.html"), 0o644)
		os.Symlink("fifo", in("link"))
		os.Chdir(s.dir) // a path of a Unix socket has a limit
		l, err := net.Listen("unix", "special/socket")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		paths := []string{"/special/fifo", "/special/link", "/special/socket", "/indexed/"}
		if exec.Command("mknod", in("null"), "c", "1", "3").Run() == nil { // needs root
			paths = append(paths, "/special/null")
		}
		client := newHTTPClient(t)
		get(t, client, "GET", "http://"+s.addr+"/hello.txt", nil)
		before := runtime.NumGoroutine()
		for range 10 {
			for _, path := range paths {
				if response, _ := get(t, client, "GET", "http://"+s.addr+path, nil); response.StatusCode != http.StatusForbidden {
					t.Errorf("%s: %s; want 403", path, response.Status)
				}
			}
		}
		for deadline := time.Now().Add(servertest.Timeout); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d goroutines, before %d", runtime.NumGoroutine(), before)
			}
		}
	})
}

// TestOpenDoesNotWait opens a FIFO with the flags that openFile uses, as if it had
// taken the name of a regular file after the check.
func TestOpenDoesNotWait(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	opened := make(chan error, 1)
	go func() {
		f, err := root.OpenFile("fifo", os.O_RDONLY|openFlags, 0)
		if err == nil {
			f.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(servertest.Timeout):
		t.Error("open waits for the other end of the FIFO")
		os.OpenFile(filepath.Join(dir, "fifo"), os.O_RDWR, 0)
	}
}

// TestTruncatedFile shortens a file while it is sent. The connection ends before
// the announced length, so the client sees that the response is not complete.
func TestTruncatedFile(t *testing.T) {
	s := startHere(t, "", nil, nil)
	path := filepath.Join(s.dir, "shrinking")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	os.Truncate(path, 256<<20) // more than the kernel's buffers hold
	client := newHTTPClient(t)
	response, err := client.Get("http://" + s.addr + "/shrinking")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	os.Truncate(path, 1000)
	if n, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Errorf("%d bytes without an error", n)
	}
}

// TestCacheSize fills the cache of one loop.
func TestCacheSize(t *testing.T) {
	cache := fileCache{files: make(map[string]*file)}
	for i := range 2000 {
		f := &file{body: make([]byte, i%2*maxSmallFile)}
		cache.add(fmt.Sprint(i%1500), f, time.Duration(i))
		size := 0
		for _, f := range cache.files {
			size += len(f.body)
		}
		if size != cache.size || size > maxCacheSize {
			t.Fatalf("after %d files: %d bytes, counted %d", i+1, size, cache.size)
		}
		if cache.get(fmt.Sprint(i%1500), time.Duration(i)) != f {
			t.Fatalf("file %d is not in the cache", i)
		}
	}
	if cache.get("1", time.Hour) != nil {
		t.Error("an old file is still used")
	}
	cache.add("large", &file{large: os.Stdin}, 0)
	cache.add("redirect", &file{redirect: "/"}, 0)
	cache.add("list", &file{body: make([]byte, maxSmallFile+1)}, 0)
	for _, name := range []string{"large", "redirect", "list"} {
		if cache.get(name, 0) != nil {
			t.Errorf("%s is in the cache", name)
		}
	}
}
