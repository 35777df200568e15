package main

import (
	"maps"
	"slices"
	"strings"
)

// A command is an entry of the table of commands. Arity is the number of its
// arguments, including the name. A negative arity -n means n or more. The keys
// among the arguments are numbers firstKey to lastKey; -1 is the last argument,
// and 0 means that there are none.
type command struct {
	arity             int
	firstKey, lastKey int
	group, summary    string
	run               func(c *client, out []byte, args [][]byte) []byte
}

// commands is the table of commands, by name in upper case.
var commands = make(map[string]command)

func init() { // in a literal the table would contain a function that uses it
	maps.Copy(commands, dataCommands)
	maps.Copy(commands, sessionCommands)
	commands["COMMAND"] = command{-1, 0, 0, "server", "Describes the commands", (*client).describe}
}

// execute runs a command and appends its reply to out.
func (c *client) execute(out []byte, args [][]byte) []byte {
	var buf [16]byte // upper case, without allocating
	name := buf[:copy(buf[:], args[0])]
	for i, b := range name {
		if b >= 'a' && b <= 'z' {
			name[i] = b - 'a' + 'A'
		}
	}
	cmd, ok := commands[string(name)]
	switch {
	case !ok || len(args[0]) > len(name):
		return appendError(out, "ERR unknown command '"+printable(args[0])+"'")
	case cmd.arity >= 0 && len(args) != cmd.arity || len(args) < -cmd.arity:
		return appendArityError(out, string(name))
	}
	return cmd.run(c, out, args)
}

func appendArityError(out []byte, name string) []byte {
	return appendError(out, "ERR wrong number of arguments for '"+strings.ToLower(name)+"' command")
}

func appendSubcommandError(out []byte, args [][]byte) []byte {
	return appendError(out, "ERR unknown subcommand '"+printable(args[1])+"'. Try "+strings.ToUpper(printable(args[0]))+" HELP.")
}

// printable returns the beginning of p with control characters as spaces, for an
// error reply.
func printable(p []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, string(p[:min(len(p), 128)]))
}

// maxNames limits the names in the arguments of COMMAND, and so its reply.
const maxNames = 256

// describe is COMMAND, COMMAND COUNT, COMMAND LIST, COMMAND INFO [name...] and
// COMMAND DOCS [name...]. redis-cli asks for the last one, for its help and hints.
func (c *client) describe(out []byte, args [][]byte) []byte {
	if len(args) > 2+maxNames {
		return appendArityError(out, "command")
	}
	names := slices.Sorted(maps.Keys(commands))
	if len(args) > 2 {
		names = names[:0]
		for _, name := range args[2:] {
			names = append(names, strings.ToUpper(string(name)))
		}
	}
	subcommand := "INFO"
	if len(args) > 1 {
		subcommand = strings.ToUpper(string(args[1]))
	}
	switch subcommand {
	case "COUNT":
		return appendInt(out, int64(len(commands)))
	case "LIST":
		out = appendArray(out, len(names))
		for _, name := range names {
			out = appendBulk(out, strings.ToLower(name))
		}
		return out
	case "INFO":
		out = appendArray(out, len(names))
		for _, name := range names {
			out = c.appendInfo(out, name)
		}
		return out
	case "DOCS":
		names = slices.DeleteFunc(names, func(name string) bool { return commands[name].run == nil })
		out = c.appendMap(out, len(names))
		for _, name := range names {
			out = appendBulk(out, strings.ToLower(name))
			out = c.appendMap(out, 2)
			out = appendBulk(appendBulk(out, "summary"), commands[name].summary)
			out = appendBulk(appendBulk(out, "group"), commands[name].group)
		}
		return out
	}
	return appendSubcommandError(out, args)
}

// appendInfo appends the description of a command for COMMAND INFO: name, arity,
// flags, first key, last key, step, and four parts that are empty here.
func (c *client) appendInfo(out []byte, name string) []byte {
	cmd, ok := commands[name]
	if !ok {
		return c.appendNil(out)
	}
	out = appendBulk(appendArray(out, 10), strings.ToLower(name))
	out = c.appendSet(appendInt(out, int64(cmd.arity)), 0)
	for _, n := range []int{cmd.firstKey, cmd.lastKey, min(cmd.firstKey, 1)} {
		out = appendInt(out, int64(n))
	}
	out = c.appendSet(out, 0)
	for range 3 {
		out = appendArray(out, 0)
	}
	return out
}
