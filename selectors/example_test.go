//go:build unix

package selectors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"goselectors/selectors"
)

// Wait until a pipe has something to read.
func Example() {
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	defer w.Close()

	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		log.Fatal(err)
	}
	defer sel.Close()
	if _, err := sel.Register(r, selectors.EventRead, "the pipe"); err != nil {
		log.Fatal(err)
	}

	fmt.Fprint(w, "hello")
	ready, err := sel.Select(time.Second)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range ready {
		buf := make([]byte, 64)
		n, err := selectors.TryRead(r.Key.FileObj, buf)
		fmt.Printf("%v is ready for %v: %q, %v\n", r.Key.Data, r.Events, buf[:n], err)
	}
	// Output:
	// the pipe is ready for Read: "hello", <nil>
}

// The best backend of the platform, unless SELECTORS_BACKEND names another.
func ExampleNewDefaultSelector() {
	os.Setenv(selectors.BackendEnv, "poll")
	defer os.Unsetenv(selectors.BackendEnv)
	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		log.Fatal(err)
	}
	defer sel.Close()
	fmt.Printf("%T\n", sel)

	os.Setenv(selectors.BackendEnv, "unknown")
	_, err = selectors.NewDefaultSelector()
	fmt.Println(errors.Is(err, errors.ErrUnsupported))
	// Output:
	// *selectors.PollSelector
	// true
}

// All backends of the platform, side by side.
func ExampleBackends() {
	for _, backend := range selectors.Backends() {
		sel, err := backend.New()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(backend.Name, "can wait for urgent data:", sel.Features()&selectors.FeaturePriority != 0)
		sel.Close()
	}
	// On Linux, for example:
	//	epoll can wait for urgent data: true
	//	poll can wait for urgent data: true
	//	select can wait for urgent data: true
}

// A small event loop, with callbacks in the data of the keys. The callback of the
// listener accepts a connection. The callback of a connection echoes one message
// and closes it.
func ExampleSelector_Register() {
	type callback func(fileobj any, events selectors.Event)

	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		log.Fatal(err)
	}
	defer sel.Close()

	echo := func(fileobj any, _ selectors.Event) {
		conn := fileobj.(net.Conn)
		buf := make([]byte, 1024)
		n, err := selectors.TryRead(conn, buf)
		if err == selectors.ErrWouldBlock {
			return // readiness is a hint
		}
		if n > 0 {
			fmt.Printf("echoing %q\n", buf[:n])
			selectors.TryWrite(conn, buf[:n])
		}
		sel.Unregister(conn)
		conn.Close()
	}
	accept := func(fileobj any, _ selectors.Event) {
		conn, err := selectors.TryAccept(fileobj)
		if err != nil {
			return
		}
		sel.Register(conn, selectors.EventRead, callback(echo))
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	sel.Register(listener, selectors.EventRead, callback(accept))

	go func() { // a client
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "hello")
		io.Copy(io.Discard, conn)
		sel.Wake() // ends the loop below
	}()

	for {
		ready, err := sel.Select(-1)
		if err != nil {
			log.Fatal(err)
		}
		if len(ready) == 0 {
			break // woken
		}
		for _, r := range ready {
			r.Key.Data.(callback)(r.Key.FileObj, r.Events)
		}
	}
	// Output:
	// echoing "hello"
}

// The same slice is used for all batches, so that the loop does not allocate.
func ExampleSelector_SelectInto() {
	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		log.Fatal(err)
	}
	defer sel.Close()
	for _, word := range []string{"one", "two", "three"} {
		r, w, err := os.Pipe()
		if err != nil {
			log.Fatal(err)
		}
		defer r.Close()
		fmt.Fprint(w, word)
		w.Close()
		sel.Register(r, selectors.EventRead, nil)
	}

	total := 0
	buf := make([]byte, 64)
	batch := make([]selectors.Ready, 0, 16)
	for sel.Len() > 0 {
		batch, err = sel.SelectInto(batch[:0], time.Second)
		if err != nil {
			log.Fatal(err)
		}
		for _, r := range batch {
			n, err := selectors.TryRead(r.Key.FileObj, buf)
			total += n
			if err == io.EOF {
				sel.Unregister(r.Key.FileObj)
			}
		}
	}
	fmt.Println(total, "bytes")
	// Output:
	// 11 bytes
}

// Modify changes the events and the data of a key, and re-arms a one-shot key.
func ExampleSelector_Modify() {
	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		log.Fatal(err)
	}
	defer sel.Close()
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	sel.Register(w, selectors.EventWrite, nil)
	key, err := sel.Modify(w, selectors.EventWrite|selectors.OneShot, "once")
	fmt.Println(key.Events, key.Data, err)
	for range 2 {
		ready, err := sel.Select(0)
		fmt.Println(len(ready), err)
	}
	sel.Modify(w, key.Events, key.Data)
	ready, err := sel.Select(0)
	fmt.Println(len(ready), err)
	// Output:
	// Write|OneShot once <nil>
	// 1 <nil>
	// 0 <nil>
	// 1 <nil>
}

// Wake ends a Select from another goroutine.
func ExampleSelector_Wake() {
	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		log.Fatal(err)
	}
	defer sel.Close()
	go sel.Wake()
	ready, err := sel.Select(-1)
	fmt.Println(len(ready), err)
	// Output:
	// 0 <nil>
}

// Keys are sorted by descriptor.
func ExampleSelector_Keys() {
	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		log.Fatal(err)
	}
	defer sel.Close()
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	sel.Register(w, selectors.EventWrite, "writing end")
	sel.Register(r, selectors.EventRead, "reading end")
	for key := range sel.Keys() {
		fmt.Println(key.Data, key.Events)
	}
	// Output:
	// reading end Read
	// writing end Write
}

// Wait with a context instead of a timeout.
func ExampleSelectContext() {
	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		log.Fatal(err)
	}
	defer sel.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	batch, err := selectors.SelectContext(ctx, sel, nil)
	fmt.Println(len(batch), err)
	// Output:
	// 0 context deadline exceeded
}

// TryRead returns data, ErrWouldBlock if there is none, or io.EOF at the end.
func ExampleTryRead() {
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, 64)

	n, err := selectors.TryRead(r, buf)
	fmt.Println(n, err)
	fmt.Fprint(w, "hello")
	n, err = selectors.TryRead(r, buf)
	fmt.Println(n, err)
	w.Close()
	n, err = selectors.TryRead(r, buf)
	fmt.Println(n, err)
	// Output:
	// 0 operation would block
	// 5 <nil>
	// 0 EOF
}

// TryWrite writes as much as fits.
func ExampleTryWrite() {
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	chunk := make([]byte, 4096)
	for {
		if _, err := selectors.TryWrite(w, chunk); err != nil {
			fmt.Println("full:", err)
			break
		}
	}
	// Output:
	// full: operation would block
}

// TryAccept accepts a connection if there is one, and does not wait.
func ExampleTryAccept() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	_, err = selectors.TryAccept(listener)
	fmt.Println(err)
	// Output:
	// operation would block
}

// The counters of a selector tell whether it had to do without something.
func ExampleStats() {
	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		log.Fatal(err)
	}
	defer sel.Close()
	stats := sel.(interface{ Stats() selectors.Stats }).Stats()
	fmt.Println("calls repeated:", stats.Shortages, "repair pending:", stats.RepairPending)
	// Output:
	// calls repeated: 0 repair pending: false
}
