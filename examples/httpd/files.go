package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A file is a small file or the list of a directory in memory, a large file that is
// open, or a redirect.
type file struct {
	contentType string
	etag        string    // identifies the content; empty if there is none
	modTime     time.Time // zero if not known
	size        int64
	body        []byte        // nil for a large file
	large       *os.File      // a large file; otherwise nil
	redirect    string        // the right path; empty for a file
	loadedAt    time.Duration // loop time
}

const (
	maxSmallFile  = 64 << 10 // bytes; larger files are not kept in memory
	maxCacheSize  = 16 << 20 // bytes of all files in a cache
	cacheDuration = time.Second
	maxListed     = 10000 // names in the list of a directory
	sniffSize     = 512   // bytes that http.DetectContentType looks at
)

// A fileCache holds small files, by their cleaned path, so that most requests are
// answered at once. A file is used for cacheDuration.
type fileCache struct {
	files map[string]*file
	size  int // bytes of all files
}

// get returns a file, or nil if it is not in the cache or too old.
func (s *fileCache) get(name string, now time.Duration) *file {
	if f := s.files[name]; f != nil && now-f.loadedAt < cacheDuration {
		return f
	}
	return nil
}

// add adds a file if it is small.
func (s *fileCache) add(name string, f *file, now time.Duration) {
	if f.large != nil || f.redirect != "" || len(f.body) > maxSmallFile {
		return
	}
	if old := s.files[name]; old != nil {
		s.size -= len(old.body)
	}
	const overhead = 1 << 10 // of an entry, roughly
	if s.size+len(f.body)+overhead*len(s.files) > maxCacheSize {
		clear(s.files)
		s.size = 0
	}
	f.loadedAt = now
	s.files[name] = f
	s.size += len(f.body)
}

// serveFile responds with a file or the list of a directory. Calls that access the
// disk may block, and a disk file has no readiness events. So these calls run on
// another goroutine.
func (c *client) serveFile(r *http.Request) {
	name := path.Clean(r.URL.Path)
	if strings.HasSuffix(r.URL.Path, "/") && name != "/" {
		name += "/" // a directory is meant
	}
	if f := c.cache.get(name, c.loop.Now()); f != nil {
		c.respondFile(r, f)
		return
	}
	c.responding = true
	c.flush() // earlier responses
	var f *file
	var err error
	c.loop.Do(
		func() { f, err = loadFile(c.root, name) },
		func() {
			if c.conn.Closed() {
				f.close()
				return
			}
			c.response.reset()
			if err != nil {
				status := statusOf(err)
				c.respondText(r, status, http.StatusText(status))
			} else {
				c.cache.add(name, f, c.loop.Now())
				c.respondFile(r, f)
			}
			if !c.sendingFile {
				c.finishResponse()
			}
		})
}

// respondFile responds with a file that is loaded. Package http decides what is
// sent: all of the file, a range, only the header, or that the client has it
// already.
func (c *client) respondFile(r *http.Request, f *file) {
	w := &c.response
	if f.redirect != "" {
		target := url.URL{Path: f.redirect, RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, target.String(), http.StatusMovedPermanently)
		c.sendResponse(r)
		return
	}
	w.header["Content-Type"] = []string{f.contentType}
	if f.etag != "" {
		w.header["Etag"] = []string{f.etag}
	}
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range") // a server may ignore it (RFC 9110 14.2), and parts are not contiguous
	}
	http.ServeContent(w, r, "", f.modTime, &fileContent{io.NewSectionReader(f, 0, f.size), f})
	c.sendResponse(r)
	f.close() // unless it is being sent
}

// sendFile sends a part of a large file as the body of a response. The kernel
// copies it to the socket as fast as the client reads.
func (c *client) sendFile(f *file, offset, size int64) {
	c.flush() // the header
	c.responding, c.sendingFile = true, true
	err := c.conn.SendFile(f.large, offset, size, func(err error) {
		if err != nil { // of the connection, or the file was truncated
			c.conn.Close()
			return
		}
		c.sendingFile = false
		c.finishResponse()
	})
	if err == nil {
		f.large = nil // the connection closes it
	}
}

// ReadAt reads from the file. It may block.
func (f *file) ReadAt(p []byte, offset int64) (int, error) {
	if f.large != nil {
		return f.large.ReadAt(p, offset)
	}
	return 0, errors.ErrUnsupported
}

// close closes a large file. f may be nil.
func (f *file) close() {
	if f != nil && f.large != nil {
		f.large.Close()
		f.large = nil
	}
}

// statusOf returns the status of a response for an error of loadFile.
func statusOf(err error) int {
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case is(fs.ErrNotExist), is(syscall.ENOTDIR), is(syscall.ENAMETOOLONG):
		return http.StatusNotFound
	case isShortage(err):
		return http.StatusServiceUnavailable
	default:
		return http.StatusForbidden // no permission, or not inside of the root
	}
}

// loadFile opens a file or directory and reads it, unless it is a large file. The
// name begins with a slash, and ends with one if a directory is meant. It may
// block, but not for longer than the disk needs.
func loadFile(root *os.Root, name string) (*file, error) {
	inRoot := cmp.Or(strings.Trim(name, "/"), ".")
	f, info, err := openFile(root, inRoot)
	if err != nil {
		return nil, err
	}
	asDir := strings.HasSuffix(name, "/")
	switch {
	case info.IsDir() && asDir:
		defer f.Close()
		index := path.Join(inRoot, "index.html")
		if _, err := root.Lstat(index); err == nil {
			return loadFile(root, "/"+index)
		}
		return listDir(f)
	case info.IsDir():
		f.Close()
		return &file{redirect: name + "/"}, nil
	case asDir:
		f.Close()
		return nil, fs.ErrNotExist
	}
	result := &file{
		contentType: mime.TypeByExtension(path.Ext(name)),
		etag:        fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()),
		modTime:     info.ModTime(),
		size:        info.Size(),
	}
	var start []byte
	if result.size > maxSmallFile {
		start = make([]byte, sniffSize)
		var n int
		n, err = f.ReadAt(start, 0)
		start, result.large = start[:n], f
	} else {
		result.body, err = io.ReadAll(io.LimitReader(f, maxSmallFile))
		start, result.size = result.body, int64(len(result.body))
		f.Close()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if result.contentType == "" {
		result.contentType = http.DetectContentType(start)
	}
	return result, nil
}

// openFile opens a regular file or a directory. To open a FIFO waits until another
// process opens its other end, which may be never, and to open a device may have
// an effect. So the type is checked first. It is checked again afterwards, because
// the name may stand for another file then. With openFlags the call does not wait
// even in that case.
func openFile(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if !isServed(info) {
		return nil, nil, fs.ErrPermission
	}
	f, err := root.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil && !isServed(info) {
		err = fs.ErrPermission
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func isServed(info fs.FileInfo) bool { return info.Mode().IsRegular() || info.IsDir() }

// listDir returns the list of a directory, one name in each line.
func listDir(dir *os.File) (*file, error) {
	entries, err := dir.ReadDir(maxListed)
	if err != nil && err != io.EOF { // io.EOF: the directory is empty
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name+"\n")
	}
	slices.Sort(names)
	body := []byte(strings.Join(names, ""))
	return &file{contentType: "text/plain; charset=utf-8", size: int64(len(body)), body: body}, nil
}
