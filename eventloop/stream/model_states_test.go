//go:build linux

package stream_test

import (
	"strings"
)

// A modelConfig is what does not change during a sequence.
type modelConfig struct {
	network      modelNetwork
	origin       modelOrigin
	hangup       bool // the handler is a HangupHandler
	panicHandler bool // the loop has one
	keepOpen     bool // the result of EOFReceived
	hints        bool // the selector reports that the peer has gone, without being asked
	high, low    int
	maxUnsent    int
	hasFirstByte bool // WithFirstByteTimeout(modelFirstByte)
}

type modelNetwork int

const (
	tcpNet modelNetwork = iota
	unixNet
	readPipe  // the connection has the read end
	writePipe // the connection has the write end
	modelNetworks
)

type modelOrigin int

const (
	byWrap modelOrigin = iota
	byListen
	byDial
	byRefusedDial // nothing listens
	modelOrigins
)

type modelLife int

const (
	inStart modelLife = iota
	inConnected
	inClosing
	inFailing
	inEnded
	inLost
	inDetached
)

var modelLives = []string{"starting", "connected", "closing", "failing", "ended", "lost", "detached"}

func (l modelLife) String() string { return modelLives[l] }

type modelWriting int

const (
	writeIsOpen modelWriting = iota
	writeIsFinishing
	writeIsFinished
)

type modelMethod int

const (
	connectionMade modelMethod = iota
	dataReceived
	eofReceived
	pauseWriting
	resumeWriting
	hangupReceived
	connectionLost
	modelMethods
)

var modelMethodNames = []string{"ConnectionMade", "DataReceived", "EOFReceived", "PauseWriting", "ResumeWriting", "HangupReceived", "ConnectionLost"}

func (m modelMethod) String() string { return modelMethodNames[m] }

// A modelCause is why a connection has ended.
type modelCause struct {
	known  bool
	err    error       // nil, or what errors.Is has to find
	panics modelMethod // if isPanic
	isPanic,
	isSystem, // any error of the system that says that the peer has gone
	orNil bool // or none
}

// A view is what the connection reports of itself, and its kernel.
type view struct {
	unsent   int
	closed   bool
	fd       int
	writable bool // the kernel takes more data
	finished bool // the peer has been told that this side writes no more
}

// state names the state for the table of what was reached, as in
// "connected/ended/finishing/paused": the life, reading, writing.
func (m *connModel) state() string {
	if m.life != inConnected {
		return m.life.String()
	}
	s := []string{"connected", "open", modelWritings[m.writing]}
	if m.readEnd {
		s[1] = "ended"
	}
	if m.paused {
		s = append(s, "paused")
	}
	return strings.Join(s, "/")
}

var modelWritings = []string{"open", "finishing", "finished"}

// modelRows are the rows of the contract, as patterns of what the model covers. The
// default run of TestConnModel reaches each of them.
var modelRows = []string{
	`^starting ConnectionMade`,
	`^starting ConnectionLost`,
	`^connected/open/\w+ DataReceived`,
	`^connected/open/open EOFReceived`,
	`^connected/open/finishing EOFReceived`,
	`^connected/open/finished EOFReceived`,
	`^connected/open/open read error`,
	`^connected\S* PauseWriting`,
	`^connected\S* ResumeWriting`,
	`^closing queue empty`,
	`^closing write error`,
	`^connected queue empty, reading ended`,
	`^connected/open\S* write error in a call`,
	`^connected/ended\S* write error in a call`,
	`^connected\S* write error from the queue`,
	`^failing DataReceived`,
	`^failing EOFReceived`,
	`^failing ResumeWriting`,
	`^failing nothing left to read`,
	`^failing Write refused`,
	`^failing Close`,
	`^failing CloseWrite`,
	`^failing Abort`,
	`^failing Detach`,
	`^connected/ended\S* write error$`,
	`^connected pipe reader gone`,
	`^connected\S*paused HangupReceived`,
	`^starting Write`,
	`^starting CloseWrite`,
	`^starting Close`,
	`^starting Abort`,
	`^starting Detach`,
	`^connected\S* Write$`,
	`^connected\S* CloseWrite`,
	`^connected\S* Close$`,
	`^connected\S* Abort`,
	`^connected\S* Detach`,
	`^connected\S* Write refused`,
	`^closing Write refused`,
	`^closing Abort`,
	`^ended Write refused`,
	`^lost Write refused`,
	`^detached Write refused`,
	`timeout stream: idle`,
	`timeout stream: read`,
	`timeout stream: write`,
	`timeout stream: first byte`,
	`^Detach without descriptor`,
	`too much unsent`,
	`panic in ConnectionMade`,
	`panic in DataReceived`,
	`panic in EOFReceived`,
	`panic in PauseWriting`,
	`panic in ResumeWriting`,
	`panic in HangupReceived`,
	`panic in ConnectionLost`,
	`^ended on a closed loop`,
}

// rowsWithHints are those of modelRows that need a selector that reports hints.
var rowsWithHints = []string{`^connected\S*paused HangupReceived`, `panic in HangupReceived`}
