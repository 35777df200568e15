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

// A site is the state that the clients on one loop share.
type site struct {
	loop  *eventloop.Loop
	root  *os.Root
	files map[string]*file // cache of small files, by request target
	out   []byte           // responses not yet written

	dateHeader string        // value of the Date header
	dateMade   time.Duration // loop time of dateHeader
}

// date returns the value of the Date header, which is at most half a second old.
func (s *site) date() string {
	if now := s.loop.Now(); s.dateHeader == "" || now-s.dateMade > time.Second/2 {
		s.dateHeader, s.dateMade = time.Now().UTC().Format(http.TimeFormat), now
	}
	return s.dateHeader
}

// A file is a small file that was read, a directory, or an open large file.
type file struct {
	contentType string
	modified    string // complete Last-Modified header line
	size        int64
	body        []byte        // of a small file
	names       []string      // of a directory
	open        *os.File      // a large file
	loaded      time.Duration // loop time
}

const (
	maxCachedSize  = 64 << 10 // bytes; also the read size for large files
	maxCachedFiles = 1000
	cacheTime      = time.Second // a cached file is not read again for this time
)

// file answers with the contents of a file. A disk is slow and has no readiness
// to wait for. So all calls that may access it run on another goroutine.
func (h *client) file(target string, minor byte, head bool) {
	name, err := url.PathUnescape(target)
	if err != nil || !strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) {
		h.status(http.StatusBadRequest, head)
		return
	}
	name = strings.TrimPrefix(path.Clean(name), "/")
	if name == "" {
		name = "."
	}
	h.busy = true
	h.flush() // earlier responses
	var f *file
	h.loop.Do(
		func() { f, err = load(h.root, name) },
		func() {
			if h.conn.Closed() {
				if f != nil && f.open != nil {
					f.open.Close()
				}
				return
			}
			switch {
			case errors.Is(err, fs.ErrNotExist):
				h.status(http.StatusNotFound, head)
			case err != nil:
				h.status(http.StatusForbidden, head)
			default:
				if f.loaded = h.loop.Now(); f.body != nil {
					if len(h.files) >= maxCachedFiles {
						clear(h.files)
					}
					h.files[target] = f
				}
				h.send(f, minor, head)
			}
			if h.sending == nil {
				h.finishResponse()
			}
		})
}

// load opens a file or directory and reads it unless it is a large file. It may
// block.
func load(root *os.Root, name string) (*file, error) {
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
		entries, err := f.ReadDir(-1)
		names := []string{}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return &file{names: names}, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrPermission
	}
	contentType := mime.TypeByExtension(path.Ext(name))
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	result := &file{contentType: contentType, size: info.Size(), modified: "Last-Modified: " + info.ModTime().UTC().Format(http.TimeFormat) + "\r\n"}
	if result.size > maxCachedSize {
		keepOpen = true
		result.open = f
		return result, nil
	}
	result.body, err = io.ReadAll(io.LimitReader(f, maxCachedSize))
	result.size = int64(len(result.body))
	return result, err
}

func (h *client) send(f *file, minor byte, head bool) {
	if f.names != nil {
		chunked := h.beginChunks(minor)
		if head {
			return
		}
		for _, name := range f.names {
			h.chunk(name+"\n", chunked)
		}
		if chunked {
			h.chunk("", true)
		}
		return
	}
	h.header(http.StatusOK, f.contentType, f.size, f.modified)
	switch {
	case f.open == nil && !head:
		h.out = append(h.out, f.body...)
	case f.open != nil && head:
		f.open.Close()
	case f.open != nil:
		h.flush()
		h.sending = &sending{file: f.open, left: f.size, buf: make([]byte, maxCachedSize)}
		h.sending.readNext(h)
	}
}

// A sending is a large file in progress. One piece at a time is read on another
// goroutine and written on the loop, as fast as the client reads.
type sending struct {
	file    *os.File
	left    int64
	buf     []byte
	reading bool // on another goroutine
	lost    bool // the connection is lost
}

// readNext reads the next piece, unless a read is in progress or writing is paused.
func (s *sending) readNext(h *client) {
	if s.reading || h.writePaused {
		return
	}
	s.reading = true
	var n int
	var err error
	h.loop.Do(
		func() { n, err = io.ReadFull(s.file, s.buf[:min(s.left, int64(len(s.buf)))]) },
		func() {
			s.reading = false
			switch {
			case s.lost:
				s.file.Close()
				return
			case err != nil: // the file was truncated: Content-Length is wrong
				h.conn.Abort()
				return
			}
			h.conn.Write(s.buf[:n])
			if s.left -= int64(n); s.left > 0 {
				s.readNext(h)
				return
			}
			s.file.Close()
			h.sending = nil
			h.finishResponse()
		})
}

// connectionLost closes the file, after the read in progress if there is one.
func (s *sending) connectionLost() {
	s.lost = true
	if !s.reading {
		s.file.Close()
	}
}
