package stream

// life is the state of a connection as a whole. The order matters: the states from
// starting to failing are those of a connection that has not ended.
type life uint8

const (
	noConn    life = iota // a zero Conn
	starting              // ConnectionMade was not called; nothing is read, data to send is queued
	connected             // data is read, and writes are accepted
	closing               // Close was called; the queue is sent, nothing is read
	failing               // the write side has failed; what the kernel has to read is delivered
	ended                 // ConnectionLost is scheduled
	lost                  // ConnectionLost was called
	detached              // by Detach or DetachFD; no more calls
)

// reading is the state of the side that reads. Whether reading is paused is
// independent of it.
type reading uint8

const (
	readOpen  reading = iota
	readEnded         // EOFReceived was called, or the file cannot be read
)

// writing is the state of the side that writes.
type writing uint8

const (
	writeOpen      writing = iota
	writeFinishing         // CloseWrite was called; the write side ends when the queue is empty
	writeFinished          // the write side has ended, or the file cannot be written
)

// fileKind is what a connection has to know of its file.
type fileKind uint8

const (
	streamSocket  fileKind = iota
	otherSocket            // sequenced packets
	twoWayFile             // a terminal, a device
	readOnlyFile           // the read end of a pipe, a file opened with O_RDONLY
	pipeWriteEnd           // the write end of a pipe
	writeOnlyFile          // another file opened with O_WRONLY
)

// canShutDown reports whether the write side can be ended without the read side.
func (k fileKind) canShutDown() bool { return k == streamSocket || k == otherSocket }

// setKind sets the states of a connection to those that a file of kind k has at
// first.
func (c *Conn) setKind(k fileKind) {
	c.kind = k
	switch k {
	case readOnlyFile:
		c.writing = writeFinished
	case pipeWriteEnd, writeOnlyFile:
		c.reading = readEnded
	}
}
