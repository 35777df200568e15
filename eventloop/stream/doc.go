// Package stream is TCP, Unix and UDP sockets on an event loop: what asyncio's
// transports and protocols are to Python.
//
// A [Conn] is the transport. It owns a non-blocking socket, reads from it when
// the loop says so and hands what came to its [Handler], the protocol:
//
//	type echo struct{ stream.BaseHandler }
//
//	func (echo) DataReceived(c *stream.Conn, p []byte) { c.Write(p) }
//
//	l, err := stream.Listen(loop, "tcp", "127.0.0.1:7", func() stream.Handler { return echo{} })
//
// Python's names are found again:
//
//	loop.create_server                Listen
//	loop.create_unix_server           Listen with "unix"
//	loop.create_connection            Dial
//	loop.create_datagram_endpoint     ListenPacket
//	loop.connect_accepted_socket      Wrap
//	transport.write, writelines       Conn.Write, Conn.Writev
//	transport.write_eof               Conn.CloseWrite
//	transport.close, abort            Conn.Close, Conn.Abort
//	transport.pause_reading           Conn.PauseReading
//	transport.set_write_buffer_limits WithWaterMarks
//	transport.get_extra_info          Conn.LocalAddr, RemoteAddr, FD
//	protocol.connection_made          Handler.ConnectionMade
//	protocol.data_received            Handler.DataReceived
//	protocol.eof_received             Handler.EOFReceived
//	protocol.connection_lost          Handler.ConnectionLost
//	protocol.pause_writing            Handler.PauseWriting
//
// Everything here belongs to the loop's goroutine, as a Loop does: other
// goroutines get there with [eventloop.Loop.Post]. Only a [Group], which runs
// several loops, may be used from anywhere.
//
// A loop must not be closed with connections on it: they would never be told.
// Close the listeners, abort the connections and let the loop turn once more;
// Group's Shutdown does all that.
//
// An idle connection costs no buffer, no goroutine and no thread, but some 280
// bytes of heap, the selector's share included, and whatever the handler is.
//
// TCP connections have Nagle's algorithm turned off, as in package net. Unlike
// there, nothing probes whether an idle peer is still there: see
// [Conn.SetIdleTimeout], or set SO_KEEPALIVE on [Conn.FD].
//
// It works on every backend that a Unix has. Elsewhere the functions that make
// something are [errors.ErrUnsupported].
package stream
