// Package interestmask lets a loop wait for the sockets of a library that does not wait
// itself. Such a library calls back with a socket and a mask of what it wants to know
// of it, and the mask may be empty. libcurl's multi interface is the model
// (curl_multi_socket_action(3)); PostgreSQL's libpq and c-ares are similar. The package
// is meant to be copied, and its calls of the library to be replaced by real ones.
//
// A selector refuses an empty interest: epoll would still report errors and hang-ups,
// and a loop that cannot act on them would spin. So a socket without interest is not
// registered.
package interestmask

import (
	"errors"
	"time"

	"goselectors/eventloop"
	"goselectors/selectors"
)

// A Mask is what the library wants to know of a socket. The values are those of
// CURLMOPT_SOCKETFUNCTION(3).
type Mask int

const (
	None   Mask = 0 // CURL_POLL_NONE: nothing now, but the socket stays in use
	In     Mask = 1 // CURL_POLL_IN
	Out    Mask = 2 // CURL_POLL_OUT
	InOut  Mask = 3 // CURL_POLL_INOUT
	Remove Mask = 4 // CURL_POLL_REMOVE: the library is about to close the socket
)

// A Readiness is what the library is told of a socket. The values are those of
// curl_multi_socket_action(3).
type Readiness int

const (
	Readable Readiness = 1 // CURL_CSELECT_IN
	Writable Readiness = 2 // CURL_CSELECT_OUT
	Failed   Readiness = 4 // CURL_CSELECT_ERR
)

// A Library is what the loop calls. Its methods may call SetSocket, for any socket, and
// SetTimer.
type Library interface {
	// SocketReady is curl_multi_socket_action with a socket.
	SocketReady(fd int, ready Readiness)
	// TimerExpired is curl_multi_socket_action with CURL_SOCKET_TIMEOUT.
	TimerExpired()
}

// A Driver waits for the sockets and the timer of a library. All its methods are for
// the loop's goroutine.
type Driver struct {
	loop    *eventloop.Loop
	library Library
	timer   *eventloop.Timer
}

// NewDriver returns a Driver that has no sockets.
func NewDriver(loop *eventloop.Loop, library Library) *Driver {
	return &Driver{loop: loop, library: library}
}

// SetSocket sets what the library wants to know of a socket: the callback of
// CURLMOPT_SOCKETFUNCTION. A readiness that the loop has found already and that is not
// wanted any more is not told.
func (d *Driver) SetSocket(fd int, mask Mask) error {
	var events selectors.Event
	if mask&In != 0 {
		events |= selectors.EventRead
	}
	if mask&Out != 0 {
		events |= selectors.EventWrite
	}
	if events == 0 { // None or Remove
		_, err := d.loop.Unregister(fd)
		if errors.Is(err, selectors.ErrNotRegistered) { // the mask was empty before
			err = nil
		}
		return err
	}
	// Register first, because the library may have closed the socket without Remove and
	// got its number again. Register sees that and replaces the old registration.
	_, err := d.loop.Register(fd, events, d.ready)
	if errors.Is(err, selectors.ErrRegistered) {
		_, err = d.loop.Modify(fd, events, d.ready)
	}
	return err
}

// ready is the callback of all sockets.
func (d *Driver) ready(fileobj any, events selectors.Event) {
	var ready Readiness
	if events&selectors.EventRead != 0 {
		ready |= Readable
	}
	if events&selectors.EventWrite != 0 {
		ready |= Writable
	}
	if events&(selectors.EventError|selectors.EventInvalid) != 0 {
		ready |= Failed
	}
	if events&selectors.EventInvalid != 0 { // closed without Remove
		d.loop.Unregister(fileobj)
	}
	d.library.SocketReady(fileobj.(int), ready)
}

// SetTimer sets the only timer of the library, which replaces the one before: the
// callback of CURLMOPT_TIMERFUNCTION. A negative duration means no timer. A duration of
// 0 means soon, but never inside SetTimer, because the library has called it.
func (d *Driver) SetTimer(after time.Duration) error {
	d.timer.Stop()
	d.timer = nil
	if after < 0 {
		return nil
	}
	var err error
	d.timer, err = d.loop.CallLater(after, d.library.TimerExpired)
	return err
}
