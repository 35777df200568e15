// Package child runs a child process whose standard input and output are connections of
// a loop. It is meant to be copied.
//
// Three things happen to a child in any order, so each has its own report: it closes its
// output, it closes its input, and it exits. Its output can end long after its exit, if
// a child of its own has inherited it.
package child

import (
	"errors"
	"os"
	"os/exec"

	"goselectors/eventloop"
	"goselectors/eventloop/stream"
)

// A Process is a running child.
type Process struct {
	// Stdin is the write end of the pipe that the child reads. Close sends what is
	// queued and then lets the child read the end. While the child reads slower than
	// the program writes, PauseWriting and ResumeWriting of the handler tell so.
	Stdin *stream.Conn

	// Stdout is the read end of the pipe that the child writes. PauseReading makes the
	// child wait when the pipe is full.
	Stdout *stream.Conn

	cmd *exec.Cmd
}

// Start starts a command with pipes as its standard input and output. The handlers get
// the events of our ends of the pipes. The end of the output is EOFReceived of stdout,
// after all of the data. A child that does not read its input any more ends Stdin.
//
// exited gets the result of cmd.Wait, on the loop. Standard error of the command should
// be nil or an *os.File: for anything else Wait also waits until it is closed.
//
// Start is for the loop's goroutine. If it returns an error, no child runs.
func Start(loop *eventloop.Loop, cmd *exec.Cmd, stdin, stdout stream.Handler, exited func(error)) (*Process, error) {
	childIn, ourOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// The child has its own copies of these ends. While the program has copies too, it
	// does not see that the child has closed an end.
	defer childIn.Close()
	ourIn, childOut, err := os.Pipe()
	if err != nil {
		ourOut.Close()
		return nil, err
	}
	defer childOut.Close()
	cmd.Stdin, cmd.Stdout = childIn, childOut
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, ourOut.Close(), ourIn.Close())
	}
	p := &Process{cmd: cmd}
	if p.Stdin, err = stream.Wrap(loop, ourOut, stdin); err == nil {
		if p.Stdout, err = stream.Wrap(loop, ourIn, stdout); err == nil {
			err = eventloop.DoResult(loop, func() (struct{}, error) { return struct{}{}, cmd.Wait() },
				func(_ struct{}, err error) { exited(err) })
		}
	}
	if err == nil {
		return p, nil
	}
	for _, c := range []*stream.Conn{p.Stdin, p.Stdout} {
		if c != nil {
			c.Abort()
		}
	}
	ourOut.Close() // does nothing if Wrap has closed it
	ourIn.Close()
	cmd.Process.Kill()
	cmd.Wait()
	return nil, err
}

// Signal sends a signal to the child. After the exit the error is os.ErrProcessDone.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }
