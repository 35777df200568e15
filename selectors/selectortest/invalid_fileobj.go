package selectortest

import (
	"math"
	"net"
	"os"
	"time"

	"goselectors/selectors"
)

// invalidFileObjRules check that values which are not file objects are refused.
var invalidFileObjRules = []rule{
	{"Refused", 0, func(t *T) {
		for _, c := range invalidFileObjs {
			for name, call := range fileObjCalls(t.s, c.fileobj) {
				t.wantError(call(), name+" of "+c.name, selectors.ErrInvalidFileObj)
			}
		}
		t.wantLen(0)
		t.wantTimeout(t.s, time.Millisecond)
	}},
}

// invalidFileObjs are values for which every method returns ErrInvalidFileObj.
var invalidFileObjs = []struct {
	name    string
	fileobj any
}{
	{"nil", nil},
	{"nil *os.File", (*os.File)(nil)},
	{"nil *net.TCPConn", (*net.TCPConn)(nil)},
	{"nil *net.UnixListener", (*net.UnixListener)(nil)},
	{"nil pointer with Fd", (*fdPointer)(nil)},
	{"nil map with Fd", fdMap(nil)},
	{"nil func with Fd", fdFunc(nil)},
	{"zero net.TCPConn", new(net.TCPConn)},
	{"zero os.File", new(os.File)},
	{"string", "0"},
	{"float64", 0.0},
	{"int32", int32(0)},
	{"int64", int64(0)},
	{"uint", uint(0)},
	{"bool", true},
	{"struct", struct{}{}},
	{"slice", []int{0}},
	{"map", map[int]int{}},
	{"func", func() uintptr { return 0 }},
	{"chan", make(chan int)},
	{"pointer to int", new(int)},
	{"Fd with another result", fdInt(0)},
	{"-1", -1},
	{"-10", -10},
	{"smallest int", math.MinInt},
}

// fdPointer is a file object whose Fd panics for nil.
type fdPointer struct{ fd uintptr }

func (p *fdPointer) Fd() uintptr { return p.fd }

type fdMap map[string]uintptr

func (m fdMap) Fd() uintptr { m["asked"]++; return m["fd"] }

type fdFunc func() uintptr

func (f fdFunc) Fd() uintptr { return f() }

// fdInt is not a file object: its method Fd has the wrong result type.
type fdInt int

func (i fdInt) Fd() int { return int(i) }

// fileObjCalls returns a call of each method that takes a file object, by name.
func fileObjCalls(s selectors.Selector, fileobj any) map[string]func() error {
	return map[string]func() error{
		"Register":   func() error { _, err := s.Register(fileobj, selectors.EventRead, nil); return err },
		"Modify":     func() error { _, err := s.Modify(fileobj, selectors.EventRead, nil); return err },
		"Unregister": func() error { _, err := s.Unregister(fileobj); return err },
		"Key":        func() error { _, err := s.Key(fileobj); return err },
	}
}
