// Package stream provides TCP, Unix and UDP sockets on an event loop. It is the
// Go form of asyncio's transports and protocols.
//
// A [Conn] is the transport. It owns a non-blocking socket, reads from it when
// the loop reports it readable, and passes the data to its [Handler], the
// protocol:
//
//	type echo struct{ stream.BaseHandler }
//
//	func (echo) DataReceived(c *stream.Conn, p []byte) { c.Write(p) }
//
//	l, err := stream.Listen(loop, "tcp", "127.0.0.1:7", func() stream.Handler { return echo{} })
//
// # From asyncio
//
//	asyncio                           here
//	loop.create_server                Listen
//	loop.create_unix_server           Listen with "unix"
//	loop.create_connection            Dial
//	loop.create_unix_connection       Dial with "unix"
//	loop.create_datagram_endpoint     ListenPacket, DialPacket
//	loop.connect_accepted_socket      Wrap
//	transport.write, writelines       Conn.Write, Conn.Writev
//	transport.write_eof               Conn.CloseWrite
//	transport.close, abort            Conn.Close, Conn.Abort
//	transport.is_closing              Conn.Closed
//	transport.pause_reading           Conn.PauseReading
//	transport.resume_reading          Conn.ResumeReading
//	transport.set_write_buffer_limits WithWaterMarks, Conn.SetWaterMarks
//	transport.get_write_buffer_size   Conn.Unsent
//	transport.get_extra_info          Conn.LocalAddr, RemoteAddr, FD
//	loop.sendfile                     Conn.SendFile
//	protocol.connection_made          Handler.ConnectionMade
//	protocol.data_received            Handler.DataReceived
//	protocol.eof_received             Handler.EOFReceived
//	protocol.connection_lost          Handler.ConnectionLost
//	protocol.pause_writing            Handler.PauseWriting
//	protocol.resume_writing           Handler.ResumeWriting
//	protocol.datagram_received        PacketHandler.DatagramReceived
//	protocol.error_received           PacketHandler.ErrorReceived
//	connection_made, connection_lost  PacketOpenHandler, PacketCloseHandler
//	of a DatagramProtocol
//
// # What a connection promises
//
// The calls of a handler follow this grammar:
//
//	ConnectionMade (DataReceived | PauseWriting | ResumeWriting | HangupReceived)*
//	    [EOFReceived (PauseWriting | ResumeWriting)*] ConnectionLost
//
// PauseWriting and ResumeWriting alternate. ConnectionLost is called exactly once,
// last, and never inside another method, except on a closed loop. It comes without
// ConnectionMade if the connection ends before. After Detach, and once the loop is
// closed, nothing is called; on a closed loop Close and Abort then call
// ConnectionLost themselves.
//
// Data arrives in order and once. An end does not overtake data: what the kernel has
// received before the peer closed, or before a write failed, is delivered before
// ConnectionLost. (If the peer resets a TCP connection, its kernel may discard data
// that was on the way.) No readiness is left unhandled that would make the loop
// turn without pause, and ConnectionLost gives back all resources.
//
// The state of a connection is its life and two sides. Reading is open or ended,
// writing is open, finishing or finished. Reading is also paused or not, in every
// state.
//
//	life        meaning                                      accepts writes
//	starting    before ConnectionMade                        yes, queued
//	connected                                                yes, while writing is open
//	closing     Close was called, the queue is being sent    no
//	failing     a write has failed, the rest is being read   no
//	ended       ConnectionLost is scheduled                  no
//	lost        ConnectionLost was called                    no
//	detached                                                 no
//
// An end by cause X means: life becomes ended, the queue is discarded, and the next
// turn calls ConnectionLost(X). The first cause counts.
//
//	event                     in                              what happens
//	connected, or next turn   starting                        connected; ConnectionMade; then PauseWriting if needed
//	cannot connect            starting                        end by the error
//	readable                  connected, reading open         DataReceived, at most 64 KiB a turn
//	end of data               connected, reading open         reading ended; EOFReceived; if it returns false, Close;
//	                                                          if writing is finished, end by nil
//	read error                connected, reading open         end by the error
//	writable                  connected, closing              the queue is sent; ResumeWriting at the low water mark
//	queue empty               closing                         end by nil
//	queue empty               connected, writing finishing    writing finished; if reading is ended, end by nil
//	write error               connected, reading open         failing by the error; the queue is discarded
//	write error               connected, reading ended        end by the error
//	write error               closing                         end by the error
//	next turn                 failing, not paused             DataReceived; if nothing is left, EOFReceived if the
//	                                                          peer had closed its write side, and end
//	next turn                 failing, paused                 if nothing is left to read, end; otherwise wait for
//	                                                          ResumeReading, up to 10 s, and call ResumeWriting if
//	                                                          PauseWriting was called
//	peer gone                 connected, reading ended,       end by EPIPE or the socket's error; by nil for the
//	                          nothing to send                 write end of a pipe
//	peer gone                 connected, paused,              HangupReceived
//	                          nothing to send
//	Write, Writev, SendFile   starting, connected             sent or queued; PauseWriting above the high water mark
//	CloseWrite                starting, connected             writing finishing
//	Close                     starting, connected             closing; end by nil if nothing is queued or Dial has
//	                                                          not connected
//	Close                     failing                         end
//	Abort                     starting to failing             end by nil, with a reset on TCP
//	timeout                   starting to failing             end by ErrIdle, ErrReadTimeout, …
//	too much unsent data      starting, connected             end by ErrTooMuchUnsent, with a reset on TCP
//	panic in a method         starting to failing             end by *HandlerPanic, with a reset on TCP; the panic
//	                                                          goes on to the loop
//	panic in ConnectionLost   ended                           lost; everything was given back
//	closed by other code      connected, closing              end by EBADF; the number is not closed
//	Detach, DetachFD          starting, connected             detached; an error changes nothing
//	loop closed               any                             nothing until Close or Abort
//
// Everything else is ignored, or returns an error that wraps [net.ErrClosed].
//
// # Goroutines
//
// All functions and methods must be called on the loop's goroutine. Other
// goroutines use [eventloop.Loop.Post]. The exception is [Group], which runs
// several loops and may be used from any goroutine except those of its own
// loops.
//
// Do not close a loop that has connections, because closing a loop does not call
// ConnectionLost. Close the listeners, abort the connections and let the loop
// run one more turn first. [Listener.Shutdown] and [Group.Shutdown] do this for the
// connections of listeners.
//
// # Cost of an idle connection
//
// An idle connection has no buffer, no goroutine and no thread. It takes about
// 280 bytes of heap, including its share of the selector's memory, and 540 bytes
// with a handler and an idle timer. Its resident memory is about 520 bytes. The
// figures were measured with 9000 connections.
//
// # Sockets and platforms
//
// Nagle's algorithm is off on TCP connections of Listen and Dial, as in package
// net. Unlike package net, this package does not turn TCP keep-alive on: see
// [Conn.SetIdleTimeout], [Conn.SetReadTimeout] and [WithKeepAlive].
//
// The package works with every selector of a Unix system. On other systems
// Listen, Dial, Wrap and ListenPacket return [errors.ErrUnsupported].
package stream
