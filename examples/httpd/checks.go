package main

import (
	"net/http"
	"strings"
)

// A rawHead is a header in parts, exactly as the client has sent it. Package
// net/http repairs some errors, and what it returns does not show them.
type rawHead struct {
	method, target, version string
	names                   []string // of all fields; "" for a line without a colon
	hosts, lengths, codings []string // values of Host, Content-Length, Transfer-Encoding
}

// split sets the parts. The lines of the text end with CR LF.
func (h *rawHead) split(text string) {
	*h = rawHead{names: h.names[:0], hosts: h.hosts[:0], lengths: h.lengths[:0], codings: h.codings[:0]}
	line, rest, _ := strings.Cut(text, "\r\n")
	h.method, line, _ = strings.Cut(line, " ")
	h.target, h.version, _ = strings.Cut(line, " ")
	for {
		line, rest, _ = strings.Cut(rest, "\r\n")
		if line == "" {
			return
		}
		name, value, hasColon := strings.Cut(line, ":")
		if !hasColon {
			name = ""
		}
		h.names = append(h.names, name)
		value = strings.Trim(value, " \t")
		switch {
		case strings.EqualFold(name, "host"):
			h.hosts = append(h.hosts, value)
		case strings.EqualFold(name, "content-length"):
			h.lengths = append(h.lengths, value)
		case strings.EqualFold(name, "transfer-encoding"):
			h.codings = append(h.codings, value)
		}
	}
}

// checks are the rules that a request must not break, in the order in which they
// are tried. Most of them concern requests that two programs can understand
// differently, which is known as request smuggling. Package net/http is lenient
// in some of these cases, and right for its purpose. Here the rule is simple: what
// is not exactly right is refused, and the connection ends.
var checks = []struct {
	fault
	applies func(h *rawHead) bool
}{
	// RFC 9112 3 and RFC 9110 9.1. A line that begins with a blank has no method.
	{fault{http.StatusBadRequest, "the method is not a token"},
		func(h *rawHead) bool { return !isToken(h.method) }},
	// RFC 9112 2.3. With more than two spaces, the version has a space.
	{fault{http.StatusBadRequest, "the version is not HTTP/x.y"},
		func(h *rawHead) bool { return !isVersion(h.version) }},
	{fault{http.StatusHTTPVersionNotSupported, "the version is not HTTP/1.x"},
		func(h *rawHead) bool { return h.version[len("HTTP/")] != '1' }},
	// RFC 9112 3.2: a fragment is never sent.
	{fault{http.StatusBadRequest, "the request target has characters that are not allowed"},
		func(h *rawHead) bool { return h.target == "" || !targetBytes.hasAll(h.target) }},
	// RFC 9112 5.1 and 5.2: a blank before the colon, or at the beginning of the line,
	// as in a field that continues on the next line.
	{fault{http.StatusBadRequest, "the name of a header field is not a token"},
		func(h *rawHead) bool {
			for _, name := range h.names {
				if !isToken(name) {
					return true
				}
			}
			return false
		}},
	// RFC 9112 3.2. HTTP/1.0 had no Host.
	{fault{http.StatusBadRequest, "there is not exactly one field Host"},
		func(h *rawHead) bool { return len(h.hosts) > 1 || len(h.hosts) < 1 && h.version != "HTTP/1.0" }},
	{fault{http.StatusBadRequest, "Host is not a host and a port"},
		func(h *rawHead) bool { return len(h.hosts) > 0 && !isValidHost(h.hosts[0]) }},
	// RFC 9112 6.3 allows to accept equal lengths.
	{fault{http.StatusBadRequest, "there is more than one field Content-Length"},
		func(h *rawHead) bool { return len(h.lengths) > 1 }},
	// RFC 9110 8.6. Package strconv would accept a sign, and trimming Unicode blanks.
	{fault{http.StatusBadRequest, "Content-Length is not a decimal number"},
		func(h *rawHead) bool { return len(h.lengths) > 0 && !isNumber(h.lengths[0]) }},
	// RFC 9112 6.1 and 6.3.
	{fault{http.StatusBadRequest, "there are both Content-Length and Transfer-Encoding"},
		func(h *rawHead) bool { return len(h.codings) > 0 && len(h.lengths) > 0 }},
	{fault{http.StatusBadRequest, "Transfer-Encoding is not exactly one list of codings, or in HTTP/1.0"},
		func(h *rawHead) bool {
			return len(h.codings) > 1 || len(h.codings) == 1 && (h.version == "HTTP/1.0" || !isCodingList(h.codings[0]))
		}},
	// No resource here takes a body. To discard one with a known length is simple. A
	// chunked one would have to be decoded to find its end.
	{fault{http.StatusNotImplemented, "a body with Transfer-Encoding is not supported"},
		func(h *rawHead) bool { return len(h.codings) > 0 }},
	{fault{http.StatusRequestEntityTooLarge, "the body has more than 1 MiB"},
		func(h *rawHead) bool { return len(h.lengths) > 0 && isTooLong(h.lengths[0]) }},
}

// A byteSet has a value for each byte.
type byteSet [256]bool

func newByteSet(bytes string) *byteSet {
	var set byteSet
	for i := range len(bytes) {
		set[bytes[i]] = true
	}
	return &set
}

// hasAll reports whether all bytes of s are in the set.
func (set *byteSet) hasAll(s string) bool {
	for i := range len(s) {
		if !set[s[i]] {
			return false
		}
	}
	return true
}

const alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

var (
	digits       = newByteSet("0123456789")
	tokenBytes   = newByteSet(alphanumeric + "!#$%&'*+-.^_`|~")                   // RFC 9110 5.6.2
	targetBytes  = newByteSet(alphanumeric + "!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~") // visible ones but #
	hostBytes    = newByteSet(alphanumeric + "-._~%!$&'()*+,;=")                  // reg-name, RFC 3986 3.2.2
	addressBytes = newByteSet("0123456789abcdefABCDEF:.")                         // IPv6
)

func isToken(s string) bool  { return s != "" && tokenBytes.hasAll(s) }
func isNumber(s string) bool { return s != "" && digits.hasAll(s) }

func isVersion(s string) bool {
	return len(s) == len("HTTP/1.1") && s[:5] == "HTTP/" && digits[s[5]] && s[6] == '.' && digits[s[7]]
}

// isTooLong reports whether a number is greater than maxBodySize.
func isTooLong(number string) bool {
	n := 0
	for i := range len(number) {
		if n = 10*n + int(number[i]-'0'); n > maxBodySize {
			return true
		}
	}
	return false
}

// isCodingList: RFC 9112 6.1, without parameters, which no registered coding has.
func isCodingList(s string) bool {
	for coding := range strings.SplitSeq(s, ",") {
		if !isToken(strings.Trim(coding, " \t")) {
			return false
		}
	}
	return true
}

// isValidHost: uri-host and an optional port, RFC 9110 7.2. An empty host is
// allowed in the field Host.
func isValidHost(s string) bool {
	if address, ok := strings.CutPrefix(s, "["); ok {
		address, port, closed := strings.Cut(address, "]")
		return closed && addressBytes.hasAll(address) && (port == "" || port[0] == ':' && digits.hasAll(port[1:]))
	}
	host, port, _ := strings.Cut(s, ":")
	return hostBytes.hasAll(host) && digits.hasAll(port)
}
