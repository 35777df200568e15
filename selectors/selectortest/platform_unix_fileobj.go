//go:build unix

package selectortest

import (
	"net"
	"os"
	"path/filepath"
	"runtime"

	"goselectors/selectors"
)

// systemFileObjRules check file objects that only Unix has.
var systemFileObjRules = []rule{
	{"UnixConn", 0, func(t *T) {
		// The address has room for some 100 bytes, so the directory has a short name.
		dir, err := os.MkdirTemp("", "sel")
		t.noError(err, "MkdirTemp")
		t.Cleanup(func() { os.RemoveAll(dir) })
		l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, "s")})
		t.noError(err, "listen")
		t.Cleanup(func() { l.Close() })
		var peer *net.UnixConn
		checkFileObj(t, l, t.fdOf(l), func() {
			peer, err = net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
			t.noError(err, "dial")
			t.Cleanup(func() { peer.Close() })
		})
		c, err := l.AcceptUnix()
		t.noError(err, "accept")
		t.Cleanup(func() { c.Close() })
		checkFileObj(t, c, t.fdOf(c), func() { peer.Write([]byte("x")) })
		wantStillNonblocking(t, c, c)
	}},

	{"NewObjectReusesNumber", 0, func(t *T) {
		a, _ := t.pair()
		a = t.moveHigh(a)
		delete(t.fds, a)
		f := os.NewFile(uintptr(a), "")
		t.Cleanup(func() { f.Close() })
		old := t.register(f, r, "old")
		t.noError(f.Close(), "close")
		c, d := t.pair()
		t.dupTo(c, a)
		obj := &fdPointer{uintptr(a)}
		key := t.register(obj, r, "new")
		t.wantLen(1)
		_, err := t.s.Key(f)
		t.wantError(err, "Key of the object that was replaced", selectors.ErrNotRegistered)
		if key == old {
			t.Error("Register returned the old key, want a new one")
		}
		t.wantStillReported(key, d)
	}},

	{"KeyKeepsObjectReachable", 0, func(t *T) {
		// The key must keep the os.File reachable, or its finalizer closes it.
		a, b := t.pair()
		delete(t.fds, a)
		key := t.register(os.NewFile(uintptr(a), ""), r, nil)
		for range 3 {
			runtime.GC()
		}
		t.write(b, "x")
		t.wantReady(report(key, r))
		t.noError(t.unregister(a).FileObj.(*os.File).Close(), "close")
	}},
}
