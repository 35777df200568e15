//go:build unix

package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
)

// A madeHandler tells of the connection.
type madeHandler struct {
	stream.BaseHandler
	made chan<- struct{}
}

func (h madeHandler) ConnectionMade(*stream.Conn) { h.made <- struct{}{} }

// What WithDebug reports at Close names the place where the user called Listen, not
// a line of package stream. A connection that the listener has accepted was
// registered by no call of the user's.
func TestCallSites(t *testing.T) {
	var log bytes.Buffer
	loop, err := eventloop.New(eventloop.WithDebug(), eventloop.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	made := make(chan struct{}, 1)
	_, file, line, _ := runtime.Caller(0)
	ln, err := stream.Listen(loop, "tcp", "127.0.0.1:0", func() stream.Handler { return madeHandler{made: made} })
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(context.Background()) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-made
	loop.Close()
	<-ended
	found := map[string]bool{}
	for _, text := range strings.Split(log.String(), "\n") {
		if !strings.Contains(text, "still registered") {
			continue
		}
		_, from, _ := strings.Cut(text, "from=")
		from, _, _ = strings.Cut(from, " ")
		switch {
		case from == fmt.Sprintf("%s:%d", file, line+1):
			found["listener"] = true
		case strings.Contains(from, "/eventloop/stream/") && !strings.HasSuffix(strings.Split(from, ":")[0], "_test.go"):
			found["connection"] = true
		default:
			t.Errorf("reported from %s: %s", from, text)
		}
	}
	if !found["listener"] || !found["connection"] {
		t.Errorf("the listener or the connection is missing in\n%s", log.String())
	}
}
