package recipes

import (
	"time"

	"golang.org/x/sys/unix"

	"goselectors/selectors"
)

// A Handler is the data of a key. It is called when its file is ready.
type Handler = func(selectors.Ready)

// Serve calls Select once, and the handler of every file that is ready.
func Serve(sel selectors.Selector, timeout time.Duration) error {
	batch, err := sel.Select(timeout)
	for _, ready := range batch {
		// An earlier handler may have unregistered this key.
		if key, err := sel.Key(ready.Key.FD); err == nil && key == ready.Key {
			ready.Key.Data.(Handler)(ready)
		}
	}
	return err
}

// Close unregisters a descriptor and then closes it.
func Close(sel selectors.Selector, fd int) {
	sel.Unregister(fd)
	unix.Close(fd)
}

// register registers a descriptor, or closes it on error.
func register(sel selectors.Selector, fd int, events selectors.Event, handler Handler) error {
	_, err := sel.Register(fd, events, handler)
	if err != nil {
		unix.Close(fd)
	}
	return err
}

// ReadFromStart reads a file of /proc, /sys or a cgroup from its start. The kernel
// generates the text when offset 0 is read. A second read there, instead of a new
// open, keeps the state that poll(2) compares with.
func ReadFromStart(fd int) ([]byte, error) {
	var text []byte
	buf := make([]byte, 4096)
	for {
		n, err := unix.Pread(fd, buf, int64(len(text)))
		if err != nil || n == 0 {
			return text, err
		}
		text = append(text, buf[:n]...)
	}
}
