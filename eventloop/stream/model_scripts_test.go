//go:build linux

package stream_test

// connScripts are sequences that reach the rows of the contract, and those that once
// failed. TestConnModel runs them, and FuzzConn starts from them.
var connScripts = []string{
	// The start.
	"unix wrap early; pause; peer-write 5000; run; resume",
	"tcp listen early; peer-write 5000; peer-finish; run",
	"unix dial early; write 5000; close-write; run; peer-drain; peer-finish",
	"tcp dial early; write 100; close",
	"tcp dial early; detach; abort",
	"unix wrap early; write 100; detach; run; detach-fd",
	"tcp wrap early; close-write; run; peer-write 100; peer-finish",
	"unix refused-dial; write 100",
	"tcp refused-dial panic-handler; in ConnectionLost 0 panic",
	"unix wrap early; in ConnectionMade 0 close; run",
	"tcp wrap early; in ConnectionMade 0 detach; peer-write 100; run",

	// Data and its end.
	"tcp wrap; peer-write 70000; peer-write 70000; write 100; peer-drain; peer-close",
	"unix wrap keep-open; peer-finish; write 5000; peer-drain; close-write; peer-drain",
	"unix wrap keep-open; close-write; peer-write 5000; peer-finish",
	"unix wrap keep-open; write 70000; close-write; peer-finish; peer-drain",
	"tcp wrap keep-open; write 70000; close-write; peer-finish; peer-drain",
	"tcp wrap keep-open; peer-finish; peer-close; write 100; write 100",
	"unix wrap keep-open hangup-handler; peer-finish; peer-close",
	"unix wrap; write 100; peer-write 100; peer-close",
	"tcp wrap; peer-write 100; peer-reset",
	"unix wrap hangup-handler; pause; peer-write 5000; peer-close; resume",
	"tcp wrap hangup-handler; pause; peer-write 5000; peer-reset; resume",
	"unix wrap hangup-handler; pause; peer-finish; close-write; resume",
	"unix wrap hangup-handler panic-handler; pause; in HangupReceived 0 panic; peer-close",

	"unix wrap; detach-without-descriptor; peer-write 100; peer-close; detach-without-descriptor",
	"unix dial early; write 1; peer-drain; peer-close; write 5000; loop-stop; write 70000",
	"unix wrap hangup-handler; pause; peer-close; hold; resume; pause; run",

	// The queue.
	"unix wrap; write 70000; write 70000; peer-read 70000; peer-read 70000; in ResumeWriting 0 close; hold; peer-write 100; peer-read 70000; run",
	"unix wrap marks=1; writev 70000; peer-drain; write 70000; close; peer-drain",
	"tcp wrap marks=2; write 70000; peer-read 5000; peer-read 5000; peer-drain; close-write; peer-drain",
	"unix wrap marks=1; write 70000; close; peer-close",
	"unix wrap marks=1; in PauseWriting 0 close; write 70000; write 1; peer-drain",
	"unix wrap marks=1; in PauseWriting 0 write 5000; in ResumeWriting 0 write 70000; write 70000; peer-drain",
	"tcp wrap marks=1 max-unsent=6000; write 70000",
	"unix wrap marks=1 max-unsent=6000; write 5000; write 5000; write 5000; write 5000; write 70000",
	"write-pipe wrap marks=1 max-unsent=6000; write 5000; write 5000; write 5000",
	"write-pipe wrap marks=2; write 5000; water-marks 0; writev 5000; peer-drain",
	"unix wrap marks=1; write 70000; water-marks 0; peer-drain; water-marks 2; write 5000",
	"unix wrap marks=1; write 70000; abort",
	"unix wrap marks=1; write 70000; close; abort; write 1",
	"unix wrap marks=1; write 70000; detach; detach-fd; write 1",

	// A write that fails. The end does not overtake data.
	"unix wrap; hold; peer-write 5000; peer-close; write 100; write 100; close-write; detach; run",
	"tcp wrap; hold; peer-write 5000; peer-close; write 100; write 100; run",
	"unix wrap; in DataReceived 0 write 100; hold; peer-write 70000; peer-write 5000; peer-close; run",
	"tcp wrap; in DataReceived 0 write 100; in DataReceived 0 write 100; hold; peer-write 5000; peer-finish; peer-close; run",
	"unix wrap; pause; peer-write 5000; peer-close; write 100; write 100; resume",
	"unix wrap; pause; peer-write 5000; peer-close; write 100; close",
	"unix wrap; pause; peer-write 5000; peer-close; write 100; abort",
	"unix wrap; pause; peer-write 5000; peer-close; write 100; close-write; detach-fd; abort",
	"unix wrap marks=1; pause; write 70000; peer-write 5000; peer-close; resume",
	"unix wrap; pause; peer-write 5000; peer-close; write 100; idle-timeout 100; advance 40",
	"unix wrap keep-open panic-handler; hold; peer-write 100; peer-close; write 100; in EOFReceived 0 panic; run",
	"tcp wrap early; peer-write 1; write 5000; close-write; peer-close; run",
	"unix wrap early marks=1; peer-close; writev 100; close; loop-stop; abort",

	// Pipes.
	"read-pipe wrap keep-open; write 100; peer-write 5000; close-write; peer-close",
	"read-pipe wrap; detach; peer-write 5000; pause; peer-write 100; detach-fd",
	"write-pipe wrap; write 100; peer-drain; peer-close",
	"write-pipe wrap; write 5000; peer-close",
	"write-pipe wrap; write 5000; close-write; peer-drain",
	"write-pipe wrap; hold; peer-close; write 100; run",
	"write-pipe wrap; detach; write 100; detach-fd",
	"write-pipe wrap marks=2; write 5000; close-write; peer-drain",
	"write-pipe wrap early marks=2; peer-reset; write 5000; close-write",

	// Timeouts.
	"unix wrap; idle-timeout 100; advance 5; peer-write 100; advance 5; write 100; peer-drain; advance 40",
	"tcp wrap; read-timeout 100; write 100; advance 5; peer-write 100; advance 5; advance 12",
	"unix wrap; pause; read-timeout 100; advance 40; resume; advance 5; advance 40",
	"unix wrap; write-timeout 100; advance 40; write 70000; advance 5; peer-drain; advance 40",
	"unix wrap marks=1; write 70000; peer-read 100; write-timeout 100; advance 40",
	"write-pipe wrap marks=1; write-timeout 200; writev 5000; advance 40",
	"tcp wrap marks=1; write 70000; close; write-timeout 200; advance 40",
	"write-pipe wrap early; write-timeout 100; write 5000; advance 40",
	"tcp listen first-byte; advance 12; advance 40",
	"tcp listen first-byte; advance 5; peer-write 1; advance 40",
	"unix wrap first-byte; pause; advance 40; resume; advance 40",

	// Panics.
	"tcp wrap early panic-handler; in ConnectionMade 0 panic; run",
	"tcp wrap early; in ConnectionMade 0 panic; run",
	"unix wrap panic-handler; in DataReceived 0 panic; peer-write 70000; peer-write 100",
	"tcp wrap; in DataReceived 1 panic; peer-write 70000; peer-write 5000",
	"unix wrap panic-handler; in EOFReceived 0 panic; peer-write 100; peer-finish",
	"unix wrap panic-handler marks=1; in PauseWriting 0 panic; write 70000",
	"unix wrap panic-handler marks=1; in DataReceived 0 write 70000; in PauseWriting 0 panic; peer-write 100",
	"unix wrap panic-handler marks=1; in ResumeWriting 0 panic; write 70000; peer-drain",
	"tcp listen panic-handler; in ConnectionLost 0 panic; close",
	"unix listen; in ConnectionLost 0 panic; peer-close",

	// The loop.
	"unix wrap; in DataReceived 0 loop-stop; peer-write 70000; loop-stop; peer-write 100",
	"unix wrap; hold; loop-stop; peer-write 100; loop-stop; peer-close; loop-stop; run",
	"unix wrap; loop-close; peer-write 100; write 100; close",
	"write-pipe wrap; peer-drain; loop-close; writev 70000",
	"write-pipe wrap marks=2 max-unsent=6000; peer-drain; loop-close; close-write",
	"tcp wrap; hold; close; loop-close; abort",
	"tcp dial early; loop-close; close",
	"unix wrap early; loop-close; abort",
	"unix wrap marks=1; in ConnectionLost 0 abort; write 70000; close; loop-close; close",
	"unix wrap marks=1; in ResumeWriting 0 loop-close; hold; write 70000; peer-write 100; run; peer-drain",
	"unix wrap keep-open; in EOFReceived 0 loop-close; peer-finish",
	"unix wrap; in DataReceived 0 loop-close; hold; peer-write 100; peer-close; write 100; run",
	"tcp wrap marks=2; hold; peer-reset; loop-close; writev 70000",
	"unix listen marks=1 max-unsent=6000; loop-close; write 70000",
	"unix wrap panic-handler; in DataReceived 0 loop-close; in DataReceived 0 panic; peer-write 100",
}
