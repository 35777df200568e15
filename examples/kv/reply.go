package main

import "strconv"

// The append functions append a reply in the Redis protocol to out.

func appendError(out []byte, text string) []byte {
	return append(append(append(out, '-'), text...), "\r\n"...)
}

func appendStatus(out []byte, text string) []byte {
	return append(append(append(out, '+'), text...), "\r\n"...)
}

func appendInt(out []byte, n int64) []byte {
	return append(strconv.AppendInt(append(out, ':'), n, 10), "\r\n"...)
}

func appendBulk[T string | []byte](out []byte, text T) []byte {
	return append(append(appendHeader(out, '$', len(text)), text...), "\r\n"...)
}

func appendArray(out []byte, n int) []byte { return appendHeader(out, '*', n) }

func appendHeader(out []byte, kind byte, n int) []byte {
	return append(strconv.AppendInt(append(out, kind), int64(n), 10), "\r\n"...)
}

// The types that follow exist in version 3 of the protocol only.

// appendNil appends the reply for a value that does not exist.
func (c *client) appendNil(out []byte) []byte {
	if c.protocol == 3 {
		return append(out, "_\r\n"...)
	}
	return append(out, "$-1\r\n"...)
}

// appendMap begins a map of n pairs. In version 2 it is an array of keys and
// values.
func (c *client) appendMap(out []byte, n int) []byte {
	if c.protocol == 3 {
		return appendHeader(out, '%', n)
	}
	return appendArray(out, 2*n)
}

// appendSet begins a set of n elements. In version 2 it is an array.
func (c *client) appendSet(out []byte, n int) []byte {
	if c.protocol == 3 {
		return appendHeader(out, '~', n)
	}
	return appendArray(out, n)
}

// appendText appends a text for people. In version 2 it is a bulk string.
func (c *client) appendText(out []byte, text string) []byte {
	if c.protocol == 3 {
		out = appendHeader(out, '=', len("txt:")+len(text))
		return append(append(append(out, "txt:"...), text...), "\r\n"...)
	}
	return appendBulk(out, text)
}
