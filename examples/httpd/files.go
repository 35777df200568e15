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

// A server is what the clients on one loop share.
type server struct {
	loop  *eventloop.Loop
	root  *os.Root
	files map[string]*file // small ones, by what was asked for
	out   []byte           // the answers that are being made

	day     string // the Date header
	dayTime time.Duration
}

// date is made once a second.
func (s *server) date() string {
	if now := s.loop.Now(); s.day == "" || now-s.dayTime > time.Second/2 {
		s.day, s.dayTime = time.Now().UTC().Format(http.TimeFormat), now
	}
	return s.day
}

// A file is one that was read, or began to be.
type file struct {
	kind, modified string
	size           int64
	body           []byte   // of a small one
	names          []string // of a directory
	open           *os.File // of a big one
	read           time.Duration
}

const (
	small    = 64 << 10
	maxFiles = 1000
	fresh    = time.Second // for so long a small file is not looked at again
)

// file answers with the contents of a file. Disks are slow, and there is no
// readiness to wait for; so everything that may touch one is done off the loop.
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
	h.flush() // what is before it
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
				if f.read = h.loop.Now(); f.body != nil {
					if len(h.files) >= maxFiles {
						clear(h.files)
					}
					h.files[target] = f
				}
				h.send(f, minor, head)
			}
			if h.sending == nil {
				h.next()
			}
		})
}

// load may block.
func load(root *os.Root, name string) (*file, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
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
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	result := &file{kind: kind, size: info.Size(), modified: "Last-Modified: " + info.ModTime().UTC().Format(http.TimeFormat) + "\r\n"}
	if result.size > small {
		keep = true
		result.open = f
		return result, nil
	}
	result.body, err = io.ReadAll(io.LimitReader(f, small))
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
	h.header(http.StatusOK, f.kind, f.size, f.modified)
	switch {
	case f.open == nil && !head:
		h.out = append(h.out, f.body...)
	case f.open != nil && head:
		f.open.Close()
	case f.open != nil:
		h.flush()
		h.sending = &sending{file: f.open, left: f.size, buf: make([]byte, small)}
		h.sending.more(h)
	}
}

// A sending is a big file on its way: a piece is read off the loop and written,
// and then the next, as fast as the client takes them.
type sending struct {
	file    *os.File
	left    int64
	buf     []byte
	reading bool // off the loop
	gone    bool
}

func (s *sending) more(h *client) {
	if s.reading || h.full {
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
			case s.gone:
				s.file.Close()
				return
			case err != nil: // it was shortened: the promised length cannot be kept
				h.conn.Abort()
				return
			}
			h.conn.Write(s.buf[:n])
			if s.left -= int64(n); s.left > 0 {
				s.more(h)
				return
			}
			s.file.Close()
			h.sending = nil
			h.next()
		})
}

// lost: there is nobody to send it to any more.
func (s *sending) lost() {
	s.gone = true
	if !s.reading {
		s.file.Close()
	}
}
