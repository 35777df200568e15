package main

import (
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"goselectors/eventloop"
)

// A loopState holds what the clients of one loop share. Only the goroutine of that
// loop uses it, except for root, which all goroutines may use.
type loopState struct {
	loop  *eventloop.Loop
	root  *os.Root
	files map[string]*file // cache of small files, by request target
	out   []byte           // responses to be written; empty between callbacks

	dateHeader  string        // value of the Date header
	dateUpdated time.Duration // loop time of dateHeader
}

// date returns the value of the Date header. It is at most half a second old.
func (s *loopState) date() string {
	if now := s.loop.Now(); s.dateHeader == "" || now-s.dateUpdated > time.Second/2 {
		s.dateHeader, s.dateUpdated = time.Now().UTC().Format(http.TimeFormat), now
	}
	return s.dateHeader
}

// A file is the content of a small file, the list of a directory, or a large file
// that is open.
type file struct {
	contentType  string
	lastModified string // complete Last-Modified header line
	size         int64
	body         []byte        // of a small file; otherwise nil
	dirNames     []string      // of a directory; otherwise nil
	large        *os.File      // a large file; otherwise nil
	loadedAt     time.Duration // loop time
}

const (
	maxCachedSize  = 64 << 10 // bytes; larger files are read in pieces of this size
	maxCachedFiles = 1000
	cacheDuration  = time.Second // a cached file is not read again for this time
)

// serveFile loads a file or directory and responds with its contents. Calls that
// access the disk may block, and a disk file has no readiness events. So these
// calls run on another goroutine.
func (c *client) serveFile(target string, minorVersion byte, isHead bool) {
	name, err := url.PathUnescape(target)
	if err != nil || !strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) {
		c.writeStatus(http.StatusBadRequest, isHead)
		return
	}
	name = strings.TrimPrefix(path.Clean(name), "/")
	if name == "" {
		name = "."
	}
	c.responding = true
	c.flush() // earlier responses
	var f *file
	c.loop.Do(
		func() { f, err = loadFile(c.root, name) },
		func() {
			if c.conn.Closed() {
				if f != nil && f.large != nil {
					f.large.Close()
				}
				return
			}
			switch {
			case errors.Is(err, fs.ErrNotExist):
				c.writeStatus(http.StatusNotFound, isHead)
			case err != nil:
				c.writeStatus(http.StatusForbidden, isHead)
			default:
				c.cacheFile(target, f)
				c.writeFile(f, minorVersion, isHead)
			}
			if c.transfer == nil {
				c.finishResponse()
			}
		})
}

// cacheFile adds a file to the cache if it is small.
func (s *loopState) cacheFile(target string, f *file) {
	if f.body == nil {
		return
	}
	if len(s.files) >= maxCachedFiles {
		clear(s.files)
	}
	f.loadedAt = s.loop.Now()
	s.files[target] = f
}

// loadFile opens a file or directory and reads it, unless it is a large file. It
// may block.
func loadFile(root *os.Root, name string) (*file, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	keepOpen := false
	defer func() {
		if !keepOpen {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		dirNames, err := readDirNames(f)
		return &file{dirNames: dirNames}, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrPermission
	}
	contentType := mime.TypeByExtension(path.Ext(name))
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	result := &file{contentType: contentType, size: info.Size(), lastModified: "Last-Modified: " + info.ModTime().UTC().Format(http.TimeFormat) + "\r\n"}
	if result.size > maxCachedSize {
		keepOpen = true
		result.large = f
		return result, nil
	}
	result.body, err = io.ReadAll(io.LimitReader(f, maxCachedSize))
	result.size = int64(len(result.body))
	return result, err
}

// readDirNames returns the names in a directory. The result is never nil.
func readDirNames(dir *os.File) ([]string, error) {
	entries, err := dir.ReadDir(-1)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// writeFile writes the response for a file. If the file is large, it starts a
// transfer, which ends the response and closes the file.
func (c *client) writeFile(f *file, minorVersion byte, isHead bool) {
	if f.dirNames != nil {
		chunked := c.beginChunks(minorVersion)
		if isHead {
			return
		}
		for _, name := range f.dirNames {
			c.writeChunk(name+"\n", chunked)
		}
		if chunked {
			c.writeChunk("", true) // the last chunk
		}
		return
	}
	c.writeHeader(http.StatusOK, f.contentType, f.size, f.lastModified)
	switch {
	case f.large == nil && !isHead:
		c.out = append(c.out, f.body...)
	case f.large != nil && isHead:
		f.large.Close()
	case f.large != nil:
		c.flush()
		c.transfer = &transfer{file: f.large, remaining: f.size, buf: make([]byte, maxCachedSize)}
		c.transfer.readNext(c)
	}
}

// A transfer is the response for a large file. It reads one piece at a time on
// another goroutine and writes it on the loop, as fast as the client reads.
type transfer struct {
	file      *os.File
	remaining int64 // bytes not yet read
	buf       []byte
	reading   bool // on another goroutine, which uses file and buf
	connLost  bool
}

// readNext reads the next piece, unless a read is in progress or writing is paused.
func (t *transfer) readNext(c *client) {
	if t.reading || c.writePaused {
		return
	}
	t.reading = true
	var n int
	var err error
	c.loop.Do(
		func() { n, err = io.ReadFull(t.file, t.buf[:min(t.remaining, int64(len(t.buf)))]) },
		func() {
			t.reading = false
			switch {
			case t.connLost:
				t.file.Close()
				return
			case err != nil: // the file was truncated: Content-Length is wrong
				c.conn.Abort()
				return
			}
			c.conn.Write(t.buf[:n])
			if t.remaining -= int64(n); t.remaining > 0 {
				t.readNext(c)
				return
			}
			t.file.Close()
			c.transfer = nil
			c.finishResponse()
		})
}

// connectionLost closes the file, after the read in progress if there is one.
func (t *transfer) connectionLost() {
	t.connLost = true
	if !t.reading {
		t.file.Close()
	}
}
