package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A session is what a connection has agreed with its client. Client libraries
// begin with commands on it, and do not work without replies.
type session struct {
	id                   int64
	protocol             int // version of the Redis protocol: 2 or 3
	name                 string
	library, libraryVers string
}

func newSession(id int64) session { return session{id: id, protocol: 2} }

// version is that of the Redis server whose replies these are.
const version = "7.0.0"

const nameError = "ERR Client names cannot contain spaces, newlines or special characters."

// sessionCommands are the commands on connections and on the server. There are no
// passwords and there is one database.
var sessionCommands = map[string]command{
	"AUTH":   {-2, 0, 0, "connection", "Refuses a password, because there are none", (*client).auth},
	"CLIENT": {-2, 0, 0, "connection", "Names or describes the connection", (*client).clientCommand},
	"ECHO":   {2, 0, 0, "connection", "Returns its argument", (*client).echo},
	"HELLO":  {-1, 0, 0, "connection", "Selects the version of the protocol", (*client).hello},
	"PING":   {-1, 0, 0, "connection", "Returns PONG or its argument", (*client).ping},
	"QUIT":   {-1, 0, 0, "connection", "Closes the connection", (*client).quit},
	"POST":   {-1, 0, 0, "connection", "Closes the connection, because the client speaks HTTP", (*client).http},
	"HOST:":  {-1, 0, 0, "connection", "Closes the connection, because the client speaks HTTP", (*client).http},
	"RESET":  {1, 0, 0, "connection", "Resets the connection to its first state", (*client).reset},
	"SELECT": {2, 0, 0, "connection", "Selects database 0", (*client).selectDB},
	"CONFIG": {-2, 0, 0, "server", "Returns settings", (*client).config},
	"INFO":   {-1, 0, 0, "server", "Describes the server", (*client).info},
}

func (c *client) ping(out []byte, args [][]byte) []byte {
	switch len(args) {
	case 1:
		return appendStatus(out, "PONG")
	case 2:
		return c.echo(out, args)
	}
	return appendArityError(out, "ping")
}

// echo may append a slice of the parser's buffer as a value: a parser does not use
// a buffer again that can hold a long one.
func (c *client) echo(out []byte, args [][]byte) []byte { return c.appendValue(out, args[1]) }

// hello is HELLO [version [AUTH user password] [SETNAME name]].
func (c *client) hello(out []byte, args [][]byte) []byte {
	protocol, name := c.protocol, c.name
	if len(args) > 1 {
		n, ok := parseInt(args[1])
		if !ok {
			return appendError(out, "ERR Protocol version is not an integer or out of range")
		}
		if n != 2 && n != 3 {
			return appendError(out, "NOPROTO unsupported protocol version")
		}
		protocol = int(n)
		args = args[2:]
	} else {
		args = nil
	}
	for len(args) > 0 {
		switch option := strings.ToUpper(printable(args[0])); {
		case option == "AUTH" && len(args) > 2:
			if err := checkPassword(args[1]); err != "" {
				return appendError(out, err)
			}
			args = args[3:]
		case option == "SETNAME" && len(args) > 1:
			if !validName(args[1]) {
				return appendError(out, nameError)
			}
			name, args = string(args[1]), args[2:]
		default:
			return appendError(out, "ERR Syntax error in HELLO option '"+printable(args[0])+"'")
		}
	}
	c.protocol, c.name = protocol, name
	out = c.appendMap(out, 7)
	out = appendBulk(appendBulk(out, "server"), "redis")
	out = appendBulk(appendBulk(out, "version"), version)
	out = appendInt(appendBulk(out, "proto"), int64(c.protocol))
	out = appendInt(appendBulk(out, "id"), c.id)
	out = appendBulk(appendBulk(out, "mode"), "standalone")
	out = appendBulk(appendBulk(out, "role"), "master")
	return appendArray(appendBulk(out, "modules"), 0)
}

// checkPassword returns the error for a user. The user "default" has no password,
// and any password is right.
func checkPassword(user []byte) (err string) {
	if string(user) != "default" {
		return "WRONGPASS invalid username-password pair or user is disabled."
	}
	return ""
}

// maxName is the length of a name in bytes. Without a limit idle clients could hold
// much memory.
const maxName = 256

// validName reports whether a name is printable ASCII without spaces.
func validName(name []byte) bool {
	return len(name) <= maxName && !slices.ContainsFunc(name, func(b byte) bool { return b < '!' || b > '~' })
}

// auth is AUTH [user] password.
func (c *client) auth(out []byte, args [][]byte) []byte {
	switch len(args) {
	case 2:
		return appendError(out, "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	case 3:
		if err := checkPassword(args[1]); err != "" {
			return appendError(out, err)
		}
		return appendStatus(out, "OK")
	}
	return appendError(out, syntaxError)
}

// clientCommand is CLIENT ID, GETNAME, INFO, SETNAME name, and SETINFO LIB-NAME|LIB-VER text.
func (c *client) clientCommand(out []byte, args [][]byte) []byte {
	subcommand := strings.ToUpper(printable(args[1]))
	arity, ok := map[string]int{"ID": 2, "GETNAME": 2, "INFO": 2, "SETNAME": 3, "SETINFO": 4}[subcommand]
	if !ok {
		return appendSubcommandError(out, args)
	}
	if len(args) != arity {
		return appendArityError(out, "client|"+subcommand)
	}
	switch subcommand {
	case "ID":
		return appendInt(out, c.id)
	case "GETNAME":
		if c.name == "" {
			return c.appendNil(out)
		}
		return appendBulk(out, c.name)
	case "INFO":
		return c.appendText(out, fmt.Sprintf("id=%d addr=%v laddr=%v fd=%d name=%s db=0 resp=%d lib-name=%s lib-ver=%s\n",
			c.id, c.conn.RemoteAddr(), c.conn.LocalAddr(), c.conn.FD(), c.name, c.protocol, c.library, c.libraryVers))
	case "SETNAME":
		if !validName(args[2]) {
			return appendError(out, nameError)
		}
		c.name = string(args[2])
		return appendStatus(out, "OK")
	}
	return c.setInfo(out, args)
}

// setInfo is CLIENT SETINFO: client libraries tell their names.
func (c *client) setInfo(out []byte, args [][]byte) []byte {
	var field *string
	switch option := strings.ToUpper(printable(args[2])); option {
	case "LIB-NAME":
		field = &c.library
	case "LIB-VER":
		field = &c.libraryVers
	default:
		return appendError(out, "ERR Unrecognized option '"+printable(args[2])+"'")
	}
	if !validName(args[3]) {
		return appendError(out, "ERR "+strings.ToLower(printable(args[2]))+" cannot contain spaces, newlines or special characters.")
	}
	*field = string(args[3])
	return appendStatus(out, "OK")
}

// quit closes the connection after the reply. Commands that follow are not
// executed.
func (c *client) quit(out []byte, _ [][]byte) []byte {
	c.ended = true
	return appendStatus(out, "OK")
}

// http closes the connection without a reply. A web page can make a browser send an
// HTTP request to this server, with a body that contains commands. POST or the line
// "Host:" comes before the body.
func (c *client) http(out []byte, _ [][]byte) []byte {
	c.ended = true
	return out
}

func (c *client) reset(out []byte, _ [][]byte) []byte {
	c.session = newSession(c.id)
	return appendStatus(out, "RESET")
}

func (c *client) selectDB(out []byte, args [][]byte) []byte {
	switch n, ok := parseInt(args[1]); {
	case !ok:
		return appendError(out, notAnInteger)
	case n != 0:
		return appendError(out, "ERR DB index is out of range")
	}
	return appendStatus(out, "OK")
}

// settings are those that redis-benchmark and client libraries ask for.
var settings = [][2]string{{"appendonly", "no"}, {"databases", "1"}, {"maxmemory", "0"}, {"save", ""}, {"timeout", "0"}}

// config is CONFIG GET pattern...
func (c *client) config(out []byte, args [][]byte) []byte {
	if !strings.EqualFold(string(args[1]), "GET") {
		return appendSubcommandError(out, args)
	}
	if len(args) == 2 {
		return appendArityError(out, "config|get")
	}
	var found [][2]string
	for _, s := range settings {
		if slices.ContainsFunc(args[2:], func(pattern []byte) bool {
			matched, _ := path.Match(strings.ToLower(string(pattern)), s[0])
			return matched
		}) {
			found = append(found, s)
		}
	}
	out = c.appendMap(out, len(found))
	for _, s := range found {
		out = appendBulk(appendBulk(out, s[0]), s[1])
	}
	return out
}

// info is INFO [section...].
func (c *client) info(out []byte, args [][]byte) []byte {
	sections := []struct{ name, text string }{
		{"Server", "redis_version:" + version + "\r\nredis_mode:standalone\r\n"},
		{"Clients", fmt.Sprintf("connected_clients:%d\r\n", c.db.clients)},
		{"Persistence", "loading:0\r\n"},
		{"Replication", "role:master\r\nconnected_slaves:0\r\n"},
		{"Keyspace", ""},
	}
	if n := len(c.db.keys); n > 0 {
		sections[4].text = fmt.Sprintf("db0:keys=%d,expires=%d,avg_ttl=0\r\n", n, c.db.expires)
	}
	var texts []string
	for _, s := range sections {
		if len(args) == 1 || slices.ContainsFunc(args[1:], func(arg []byte) bool {
			name := strings.ToLower(string(arg))
			return name == "default" || name == "all" || name == "everything" || name == strings.ToLower(s.name)
		}) {
			texts = append(texts, "# "+s.name+"\r\n"+s.text)
		}
	}
	return c.appendText(out, strings.Join(texts, "\r\n"))
}
