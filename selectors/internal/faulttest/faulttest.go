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
// limit is 512; the descriptors of package fdtest have higher numbers and stay
// usable.
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
