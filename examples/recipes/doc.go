// Package recipes shows how to watch descriptors that are not sockets: serial
// lines, mounts, pressure, cgroups, perf events, tun interfaces, error queues and
// routing messages. Each file is one recipe, to be copied. docs/recipes.md has a
// table for each: the interest, the report, what to read until the file is
// silent, and what is easily done wrong. All of these exist only on Linux. [Heartbeat] is
// for every platform: it spreads work on many connections over time.
//
// The functions called Watch register a descriptor with a selector. Its key's data
// is a handler, and [Serve] calls the handlers:
//
//	fd, err := recipes.WatchMounts(sel, "/proc/self/mounts", func(table []byte, err error) {
//		fmt.Printf("%s%v\n", table, err)
//	})
//	…
//	for err == nil {
//		err = recipes.Serve(sel, -1)
//	}
//
// The functions are for the goroutine that calls Serve, because they may call the
// callback too. With package eventloop the loop takes the place of Serve, and a Callback that of
// the handler: see [ReadFrames], which needs a timer.
//
// Unless a function's documentation says otherwise, a callback with an error is the
// last one: the recipe has unregistered and closed the descriptor. [Close] does that
// before. A function that returns an error has registered nothing, and has closed what
// it opened.
//
// The recipes open files with package unix and register the bare descriptor. Package
// os would add a file that it opens to the epoll set of Go's runtime too. For mounts and
// pressure triggers the kernel tells each event once, to whoever asks first, and
// that can then be the runtime.
package recipes
