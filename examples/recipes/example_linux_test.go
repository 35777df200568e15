package recipes_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"golang.org/x/sys/unix"

	"goselectors/eventloop"
	"goselectors/examples/recipes"
	"goselectors/selectors"
)

func ExampleWatchMounts() {
	sel, err := selectors.NewDefaultSelector()
	if err != nil {
		log.Fatal(err)
	}
	defer sel.Close()
	fd, err := recipes.WatchMounts(sel, "/proc/self/mounts", func(table []byte, err error) {
		fmt.Printf("%s%v\n", table, err)
	})
	if err != nil {
		log.Fatal(err)
	}
	defer recipes.Close(sel, fd)
	for err == nil {
		err = recipes.Serve(sel, -1)
	}
	log.Fatal(err)
}

func ExampleReadFrames() {
	loop, err := eventloop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	fd, err := recipes.OpenSerial("/dev/ttyUSB0", unix.B9600)
	if err != nil {
		log.Fatal(err)
	}
	const silence = 4 * time.Millisecond // 3.5 characters of 11 bits at 9600 baud
	err = recipes.ReadFrames(loop, fd, silence,
		func(frame []byte) { fmt.Printf("% x\n", frame) },
		func(err error) { log.Fatal(err) })
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(loop.Run(context.Background()))
}
