package main

import (
	"net/http"
	"net/url"
	"strings"
)

const (
	maxHeadSize    = 16 << 10 // bytes of a request line and header fields
	maxRequestLine = 8 << 10  // bytes
	maxBodySize    = 1 << 20  // bytes of a request body, which is discarded
)

// A fault is the reason why a request is refused.
type fault struct {
	status int
	text   string
}

var (
	faultBytes      = &fault{http.StatusBadRequest, "bare CR or LF, or a control character"}
	faultEmptyLines = &fault{http.StatusBadRequest, "more than one empty line before the request"}
	faultLongLine   = &fault{http.StatusRequestURITooLong, "the request line has more than 8 KiB"}
	faultLongHead   = &fault{http.StatusRequestHeaderFieldsTooLarge, "the header has more than 16 KiB"}
	faultSyntax     = &fault{http.StatusBadRequest, "not a valid header"}
	faultTarget     = &fault{http.StatusBadRequest, "the request target does not fit the method"}
)

// A headFinder finds the end of a request header: an empty line. The bytes may
// arrive in any pieces. It remembers how far it has looked, so each byte is looked
// at once. The zero value is at the beginning of a request.
type headFinder struct {
	searched  int // bytes that were looked at
	lineStart int // offset of the line that is not complete yet
	headStart int // offset of the request line: 2 after an empty line
}

// find looks at p, all that was received of a request so far. It returns the size
// of the header with its empty line, or 0 if p has no complete header.
//
// A server that takes other bytes than CR LF for the end of a line can be made to
// see other requests than the proxy in front of it. So these bytes are refused as
// soon as they arrive.
func (h *headFinder) find(p []byte) (size int, f *fault) {
	end := min(len(p), maxHeadSize)
	for i := h.searched; i < end; i++ {
		b := p[i]
		afterCR := i > 0 && p[i-1] == '\r'
		switch {
		case afterCR != (b == '\n'), b < ' ' && b != '\t' && b != '\r' && b != '\n', b == 0x7f:
			return 0, faultBytes
		case b != '\n':
			continue
		}
		lineSize := i - 1 - h.lineStart
		inRequestLine := h.lineStart == h.headStart
		h.lineStart = i + 1
		switch {
		case inRequestLine && lineSize > maxRequestLine:
			return 0, faultLongLine
		case lineSize > 0:
		case !inRequestLine:
			return i + 1, nil
		case h.headStart > 0:
			return 0, faultEmptyLines
		default: // RFC 9112 2.2: an empty line before a request is ignored
			h.headStart = i + 1
		}
	}
	h.searched = end
	switch {
	case h.lineStart == h.headStart && end-h.headStart > maxRequestLine:
		return 0, faultLongLine
	case len(p) > maxHeadSize:
		return 0, faultLongHead
	}
	return 0, nil
}

// parseHead parses a complete header. Its body is not read.
func (s *loopState) parseHead(head []byte) (*http.Request, *fault) {
	text := strings.TrimPrefix(string(head), "\r\n")
	raw := &s.raw
	raw.split(text)
	for i := range checks {
		if checks[i].applies(raw) {
			return nil, &checks[i].fault
		}
	}
	s.text.Reset(text)
	s.textReader.Reset(&s.text)
	r, err := http.ReadRequest(s.textReader)
	if err != nil {
		return nil, faultSyntax
	}
	if !isValidTarget(r) {
		return nil, faultTarget
	}
	if r.URL.Path == "" {
		r.URL.Path = "/" // of http://host
	}
	return r, nil
}

// isValidTarget reports whether the target has one of the four forms of RFC 9112
// 3.2, and the one that the method needs. In the absolute form, the target names
// the host; the field Host is checked but does not matter otherwise.
func isValidTarget(r *http.Request) bool {
	u := r.URL
	switch {
	case r.Method == http.MethodConnect:
		return u.Path == "" && u.RawQuery == "" && u.Port() != "" && isValidAuthority(u)
	case r.RequestURI == "*":
		return r.Method == http.MethodOptions
	case strings.HasPrefix(r.RequestURI, "/"):
		return strings.IndexByte(u.Path, 0) < 0
	default:
		return u.Scheme == "http" && isValidAuthority(u) && strings.IndexByte(u.Path, 0) < 0
	}
}

func isValidAuthority(u *url.URL) bool {
	return u.User == nil && u.Hostname() != "" && isValidHost(u.Host)
}
