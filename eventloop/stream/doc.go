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
//	loop.create_datagram_endpoint     ListenPacket
//	loop.connect_accepted_socket      Wrap
//	transport.write, writelines       Conn.Write, Conn.Writev
//	transport.write_eof               Conn.CloseWrite
//	transport.close, abort            Conn.Close, Conn.Abort
//	transport.is_closing              Conn.Closed
//	transport.pause_reading           Conn.PauseReading
//	transport.resume_reading          Conn.ResumeReading
//	transport.set_write_buffer_limits WithWaterMarks
//	transport.get_write_buffer_size   Conn.Unsent
//	transport.get_extra_info          Conn.LocalAddr, RemoteAddr, FD
//	protocol.connection_made          Handler.ConnectionMade
//	protocol.data_received            Handler.DataReceived
//	protocol.eof_received             Handler.EOFReceived
//	protocol.connection_lost          Handler.ConnectionLost
//	protocol.pause_writing            Handler.PauseWriting
//	protocol.resume_writing           Handler.ResumeWriting
//	protocol.datagram_received        PacketHandler.DatagramReceived
//	protocol.error_received           PacketHandler.ErrorReceived
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
// 280 bytes of heap, including its share of the selector's memory, and 524 bytes
// with a handler and an idle timer. Its resident memory is about 520 bytes. The
// figures were measured with 9000 connections.
//
// # Sockets and platforms
//
// Nagle's algorithm is off on TCP connections of Listen and Dial, as in package
// net. Unlike package net, this package does not turn TCP keep-alive on. Use
// [Conn.SetIdleTimeout], or set SO_KEEPALIVE on [Conn.FD].
//
// The package works with every selector of a Unix system. On other systems
// Listen, Dial, Wrap and ListenPacket return [errors.ErrUnsupported].
package stream
