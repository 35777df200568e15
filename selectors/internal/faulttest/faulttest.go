//go:build linux

// Package faulttest makes the kernel refuse what a test wants it to refuse:
// system calls, descriptors and registrations.
package faulttest

import (
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Fault is a system call that fails with Errno. If Args is not empty, only calls
// whose arguments have these values fail, in their low 32 bits.
type Fault struct {
	Call  uint32
	Errno unix.Errno
	Args  map[int]uint32 // by index, from 0
}

// WithFailingCall is WithFault for a call with any arguments.
func WithFailingCall(t *testing.T, call uint32, errno unix.Errno, f func()) {
	t.Helper()
	WithFault(t, Fault{Call: call, Errno: errno}, f)
}

// WithFault runs f in a thread in which a system call fails. The thread ends with
// f. Calls by other threads, also of goroutines that f starts, are not affected. f
// must not call t.Fatal. Where seccomp filters cannot be installed the test is
// skipped.
func WithFault(t *testing.T, fault Fault, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the filter cannot be removed
		filter := fault.filter()
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

// filter returns the program for the kernel: each comparison that fails jumps to
// the last instruction, which allows the call (seccomp(2), struct seccomp_data).
func (fault Fault) filter() (program []unix.SockFilter) {
	const load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	const jumpEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	const ret = unix.BPF_RET | unix.BPF_K
	compare := func(offset, value uint32) {
		program = append(program, unix.SockFilter{Code: load, K: offset}, unix.SockFilter{Code: jumpEqual, K: value})
	}
	compare(0, fault.Call) // seccomp_data.nr
	for index, value := range fault.Args {
		const args, size = 16, 8 // seccomp_data.args, 64 bits each
		low := uint32(0)
		if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
			low = 4
		}
		compare(args+uint32(index)*size+low, value)
	}
	program = append(program,
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(fault.Errno)},
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
	last := len(program) - 1
	for i := range program {
		if program[i].Code == jumpEqual {
			program[i].Jf = uint8(last - i - 1)
		}
	}
	return program
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

	WithOpenLimit(t, 512, func() {
		var used []int
		defer func() {
			for _, fd := range used {
				unix.Close(fd)
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
	})
}

// WithOpenLimit runs f with this RLIMIT_NOFILE. Open descriptors stay usable.
func WithOpenLimit(t *testing.T, limit uint64, f func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &old, nil); err != nil {
			t.Fatal(err)
		}
	}()
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	f()
}

// WithEpollWatches runs f as a user who may have so many registrations in epoll
// sets: fs.epoll.max_user_watches, which counts those of one user. The limit is
// lowered for every user of the system, so it should be far more than other
// processes need, and f should be short. f runs in a thread that ends with it and
// must not call t.Fatal. The test is skipped if it may not do that.
func WithEpollWatches(t *testing.T, limit int, f func()) {
	t.Helper()
	const file = "/proc/sys/fs/epoll/max_user_watches"
	const nobodyElse = 54321 // a user who has no processes
	old, err := os.ReadFile(file)
	if err != nil {
		t.Skip("needs fs.epoll.max_user_watches: ", err)
	}
	if err := os.WriteFile(file, strconv.AppendInt(nil, int64(limit), 10), 0); err != nil {
		t.Skip("needs to write fs.epoll.max_user_watches: ", err)
	}
	defer func() {
		if err := os.WriteFile(file, old, 0); err != nil {
			t.Fatal(err)
		}
	}()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is another user's
		// The system call, unlike syscall.Setresuid, changes this thread only.
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobodyElse, nobodyElse, nobodyElse)
		if errno == 0 {
			f()
			done <- nil
			return
		}
		done <- errno
	}()
	if err := <-done; err != nil {
		t.Skip("needs to become another user: ", err)
	}
}
