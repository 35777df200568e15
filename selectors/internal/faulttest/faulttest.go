//go:build linux

// Package faulttest makes the kernel refuse what a test wants it to refuse:
// system calls, and descriptors.
package faulttest

import (
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WithFailingCall runs f in a thread in which a system call fails with errno. The
// thread ends with f. Calls by other threads, also of goroutines that f starts,
// are not affected. f must not call t.Fatal. Where seccomp filters cannot be
// installed the test is skipped.
func WithFailingCall(t *testing.T, call uint32, errno unix.Errno, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the filter cannot be removed
		const loadNumber = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		const jumpEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		const ret = unix.BPF_RET | unix.BPF_K
		filter := []unix.SockFilter{
			{Code: loadNumber, K: 0}, // seccomp_data.nr
			{Code: jumpEqual, K: call, Jt: 0, Jf: 1},
			{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
			{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		}
		program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Skip("needs seccomp filters: ", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still running after 30 s")
	}
}

// WithFreeDescriptors runs f while only so many descriptors can be opened. The
// limit is 512; descriptors above it stay usable.
func WithFreeDescriptors(t *testing.T, free int, f func()) {
	t.Helper()
	// The runtime's poller needs descriptors of its own when it is first used.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()

	var old unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	low := unix.Rlimit{Cur: 512, Max: old.Max}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &low, nil); err != nil {
		t.Fatal(err)
	}
	var used []int
	defer func() {
		for _, fd := range used {
			unix.Close(fd)
		}
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &old, nil); err != nil {
			t.Fatal(err)
		}
	}()
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err == unix.EMFILE {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		used = append(used, fd)
	}
	for range free {
		unix.Close(used[len(used)-1])
		used = used[:len(used)-1]
	}
	f()
}

// OpenDescriptors lists the descriptors of this process, each with the file that
// it refers to.
func OpenDescriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	var all []string
	for _, e := range entries {
		if file, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			all = append(all, e.Name()+" "+file)
		}
	}
	return all
}

// firstHighFD is the first of the numbers that HighDup uses.
const firstHighFD = 700

// nextHighFD rotates, so that a number that was closed does not come back at once
// with another file.
var nextHighFD = firstHighFD

// HighDup returns a duplicate of fd with a number above the limit of
// WithFreeDescriptors. It is closed when the test ends.
func HighDup(t testing.TB, fd int) int {
	t.Helper()
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, nextHighFD)
	if err != nil {
		t.Fatal(err)
	}
	if nextHighFD = high + 1; nextHighFD > 900 {
		nextHighFD = firstHighFD
	}
	t.Cleanup(func() { unix.Close(high) })
	return high
}

// HighPipe returns a non-blocking pipe with numbers above the limit of
// WithFreeDescriptors.
func HighPipe(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for i, fd := range p {
		p[i] = HighDup(t, fd)
		unix.Close(fd)
	}
	return p[0], p[1]
}

// HighSocketPair is HighPipe for a pair of Unix stream sockets.
func HighSocketPair(t testing.TB) (a, b int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, fd := range p {
		p[i] = HighDup(t, fd)
		unix.Close(fd)
	}
	return p[0], p[1]
}

// WriteByte writes one byte.
func WriteByte(t testing.TB, fd int) {
	t.Helper()
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Fatal(err)
	}
}

// ReadByte reads one byte.
func ReadByte(t testing.TB, fd int) {
	t.Helper()
	if _, err := unix.Read(fd, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// CountLowDescriptors counts the open descriptors below those of HighDup.
func CountLowDescriptors() (n int) {
	for fd := range firstHighFD {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}
