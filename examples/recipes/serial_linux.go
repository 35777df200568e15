package recipes

import (
	"time"

	"golang.org/x/sys/unix"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// OpenSerial opens a serial line in raw mode: no echo, no line editing, 8 bits, no
// parity. The speed is a constant such as [unix.B9600].
//
// For a terminal that outlives the program, such as standard input, keep the old
// Termios and set it again at the end.
func OpenSerial(name string, speed uint32) (int, error) {
	// O_NONBLOCK: open does not wait for a carrier, and reads do not wait.
	// O_NOCTTY: a hang-up of the line does not kill the program with SIGHUP.
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err == nil {
		mode.Iflag, mode.Oflag, mode.Lflag = 0, 0, 0
		mode.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | speed
		// VMIN 1: poll reports the first byte, and a read without data is EAGAIN. With
		// VMIN 0 it returns 0, like the end of the file, also with O_NONBLOCK. With a
		// larger VMIN poll does not report fewer bytes (n_tty_read and
		// input_available_p in drivers/tty/n_tty.c).
		mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(fd, unix.TCSETS, mode)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ReadFrames calls frame with what arrives on a serial line, split where the line is
// silent for a time, as in Modbus RTU. VTIME cannot do that: it does not apply to
// non-blocking reads.
//
// When the line hangs up, ReadFrames unregisters and closes it and calls ended:
// with io.EOF, or with EIO on the master side of a pseudo-terminal.
func ReadFrames(loop *eventloop.Loop, fd int, silence time.Duration, frame func([]byte), ended func(error)) error {
	var pending []byte
	var timer *eventloop.Timer
	flush := func() {
		timer.Stop()
		if len(pending) > 0 {
			frame(pending)
			pending = pending[:0]
		}
	}
	timer, err := loop.CallLater(silence, flush)
	if err != nil {
		return err
	}
	timer.Stop() // until there are bytes
	buf := make([]byte, 4096)
	_, err = loop.Register(fd, selectors.EventRead, func(any, selectors.Event) {
		n, err := selectors.TryRead(fd, buf)
		switch err {
		case nil:
			pending = append(pending, buf[:n]...)
			timer.Reset(silence) // this also cancels a call that is due in this turn
		case selectors.ErrWouldBlock:
		default:
			loop.Unregister(fd)
			unix.Close(fd)
			flush()
			ended(err)
		}
	})
	return err
}
