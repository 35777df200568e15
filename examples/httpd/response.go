package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// A response is an http.ResponseWriter that collects a response. It is sent when
// it is complete, so its length is known. The content of a file is not copied
// here: ReadFrom remembers which part of it is to be sent, as the response writer
// of net/http does for the system call sendfile.
type response struct {
	header     http.Header
	status     int // 0 before WriteHeader
	body       bytes.Buffer
	file       *file // the content, instead of body; nil if there is none
	fileOffset int64
	fileSize   int64 // bytes of the file to be sent
}

// reset makes the response empty.
func (w *response) reset() {
	clear(w.header)
	w.body.Reset()
	*w = response{header: w.header, body: w.body}
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// ReadFrom is called by http.ServeContent, through io.CopyN, with a part of a
// fileContent.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	w.WriteHeader(http.StatusOK)
	part, _ := r.(*io.LimitedReader)
	if part == nil {
		return 0, errors.ErrUnsupported
	}
	content, ok := part.R.(*fileContent)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	offset, err := content.Seek(0, io.SeekCurrent)
	w.file, w.fileOffset, w.fileSize = content.file, offset, part.N
	return part.N, err
}

// A fileContent is what http.ServeContent gets as the content of a file.
type fileContent struct {
	*io.SectionReader
	file *file
}

// sendResponse adds the collected response to the output.
func (c *client) sendResponse(r *http.Request) {
	w := &c.response
	hasContent := w.status != http.StatusNotModified && w.status != http.StatusNoContent
	if hasContent && w.file == nil && w.header["Content-Length"] == nil {
		w.header["Content-Length"] = []string{strconv.Itoa(w.body.Len())}
	}
	c.writeHead(w.status, w.header, r)
	body := w.body.Bytes()
	switch {
	case !hasContent || r.Method == http.MethodHead:
	case w.file == nil:
		c.out.Write(body)
	case w.file.large == nil:
		c.out.Write(w.file.body[w.fileOffset : w.fileOffset+w.fileSize])
	default:
		c.sendFile(w.file, w.fileOffset, w.fileSize)
	}
	w.file = nil
}

// writeHead adds a status line and header fields to the output.
func (c *client) writeHead(status int, header http.Header, r *http.Request) {
	out := &c.out
	out.WriteString("HTTP/1.1 ")
	out.WriteString(strconv.Itoa(status))
	out.WriteByte(' ')
	out.WriteString(http.StatusText(status))
	out.WriteString("\r\nDate: ")
	out.WriteString(c.date())
	out.WriteString("\r\n")
	header.Write(out)
	switch {
	case c.lastResponse:
		out.WriteString("Connection: close\r\n")
	case r.ProtoMinor == 0: // the client has asked for it; see http.Request.Close
		out.WriteString("Connection: keep-alive\r\n")
	}
	out.WriteString("\r\n")
}

// respondText responds with a status and a line of text.
func (c *client) respondText(r *http.Request, status int, text string) {
	http.Error(&c.response, text, status)
	c.sendResponse(r)
}

// refuse responds to a request that is not valid, and ends the connection, because
// it is not known where the next request starts.
func (c *client) refuse(f *fault) {
	c.lastResponse = true
	c.response.reset()
	c.respondText(&http.Request{ProtoMajor: 1, ProtoMinor: 1}, f.status, http.StatusText(f.status)+": "+f.text)
}
