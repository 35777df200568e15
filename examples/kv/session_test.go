//go:build unix

package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"goselectors/examples/internal/servertest"
)

// TestSession executes commands one after another on one connection.
func TestSession(t *testing.T) {
	s, _ := newIdleStore(t)
	c := &client{db: s, session: newSession(7)}
	const (
		hello2 = "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:7\r\n" +
			"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
		nameErrorReply = "-" + nameError + "\r\n"
	)
	hello3 := strings.NewReplacer("*14", "%7", ":2", ":3").Replace(hello2)
	for _, step := range []struct{ command, reply string }{
		{"HELLO", hello2},
		{"HELLO x", "-ERR Protocol version is not an integer or out of range\r\n"},
		{"HELLO 4", "-NOPROTO unsupported protocol version\r\n"},
		{"HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'\r\n"},
		{"HELLO 3 AUTH somebody secret", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
		{"HELLO 3 SETNAME \x01", nameErrorReply},
		{"HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'\r\n"},
		{"CLIENT GETNAME", "$-1\r\n"}, // a HELLO with an error changes nothing
		{"hello 3 auth default secret setname me", hello3},
		{"CLIENT GETNAME", "$2\r\nme\r\n"},
		{"HELLO", hello3},
		{"PING", "+PONG\r\n"},
		{"GET none", "_\r\n"},
		{"CONFIG GET save", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n"},
		{"INFO persistence", "=30\r\ntxt:# Persistence\r\nloading:0\r\n\r\n"},
		{"COMMAND INFO get nosuch", "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n~0\r\n:1\r\n:1\r\n:1\r\n~0\r\n*0\r\n*0\r\n*0\r\n_\r\n"},
		{"COMMAND DOCS del", "%1\r\n$3\r\ndel\r\n%2\r\n$7\r\nsummary\r\n$12\r\nDeletes keys\r\n$5\r\ngroup\r\n$7\r\ngeneric\r\n"},
		{"RESET", "+RESET\r\n"},
		{"CLIENT GETNAME", "$-1\r\n"},
		{"CLIENT ID", ":7\r\n"},
		{"CLIENT SETNAME a b", "-ERR wrong number of arguments for 'client|setname' command\r\n"},
		{"CLIENT SETNAME " + strings.Repeat("x", 300), nameErrorReply},
		{"CLIENT SETNAME you", "+OK\r\n"},
		{"CLIENT SETINFO LIB-NAME lib", "+OK\r\n"},
		{"CLIENT SETINFO lib-ver 1.0", "+OK\r\n"},
		{"CLIENT SETINFO LIB-VER \x01", "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n"},
		{"CLIENT SETINFO LIB-X 1", "-ERR Unrecognized option 'LIB-X'\r\n"},
		{"CLIENT KILL", "-ERR unknown subcommand 'KILL'. Try CLIENT HELP.\r\n"},
		{"AUTH secret", "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n"},
		{"AUTH default secret", "+OK\r\n"},
		{"AUTH somebody secret", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
		{"AUTH a b c", "-ERR syntax error\r\n"},
		{"SELECT 0", "+OK\r\n"},
		{"SELECT 1", "-ERR DB index is out of range\r\n"},
		{"SELECT x", "-ERR value is not an integer or out of range\r\n"},
		{"CONFIG GET a* save nosuch", "*4\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$4\r\nsave\r\n$0\r\n\r\n"},
		{"CONFIG GET", "-ERR wrong number of arguments for 'config|get' command\r\n"},
		{"CONFIG SET save x", "-ERR unknown subcommand 'SET'. Try CONFIG HELP.\r\n"},
		{"INFO nosuch", "$0\r\n\r\n"},
		{"INFO keyspace", "$12\r\n# Keyspace\r\n\r\n"},
		{"SET k 1 EX 10", "+OK\r\n"},
		{"INFO keyspace", "$44\r\n# Keyspace\r\ndb0:keys=1,expires=1,avg_ttl=0\r\n\r\n"},
		{"COMMAND COUNT", ":20\r\n"},
		{"COMMAND DOCS nosuch", "*0\r\n"},
		{"COMMAND NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP.\r\n"},
		{"COMMAND INFO" + strings.Repeat(" get", 1000), "-ERR wrong number of arguments for 'command' command\r\n"},
		{"QUIT", "+OK\r\n"},
	} {
		var args [][]byte
		for _, word := range strings.Fields(step.command) {
			args = append(args, []byte(word))
		}
		if got := string(c.execute(nil, args)); got != step.reply {
			t.Errorf("%.60s: %q, want %q", step.command, got, step.reply)
		}
	}
	if !c.ended {
		t.Error("QUIT did not end the connection")
	}
}

// TestClientInfo checks the reply of CLIENT INFO over a connection.
func TestClientInfo(t *testing.T) {
	eachStore(t, func(s *testServer) {
		conn := servertest.Dial(s.T, s.addr)
		want := "id=1 addr=" + conn.LocalAddr().String() + " laddr=" + s.addr + " fd="
		io.WriteString(conn, resp("CLIENT", "INFO"))
		reply := bufio.NewReader(conn)
		reply.ReadString('\n') // the length
		if got, err := reply.ReadString('\n'); err != nil || !strings.HasPrefix(got, want) {
			s.Errorf("%q, %v; want %q", got, err, want)
		}
	})
}

// The versions of the client libraries for Node.js that TestNode installs.
var nodeLibraries = []string{"redis@6.3.1", "ioredis@6.0.0"}

// nodeProgram uses each library with its default settings, then version 3 of the
// protocol, then a pipeline of commands.
const nodeProgram = `
const assert = require('assert');
const [host, port] = ['127.0.0.1', Number(process.argv[2])];

async function nodeRedis(options) {
  const { createClient } = require('redis');
  const client = createClient({ socket: { host, port }, ...options });
  client.on('error', (err) => { console.error(err); process.exit(1); });
  await client.connect();
  assert.equal(await client.ping(), 'PONG');
  assert.equal(await client.set('key', 'value', { expiration: { type: 'EX', value: 100 } }), 'OK');
  assert.equal(await client.get('key'), 'value');
  assert.equal(await client.get('none'), null);
  assert.equal(await client.ttl('key'), 100);
  assert.equal(await client.expire('key', 50), 1);
  assert.equal(await client.del(['key', 'none']), 1);
  assert.equal(await client.exists('key'), 0);
  const numbers = await Promise.all(Array.from({ length: 1000 }, () => client.incr('n')));
  assert.deepEqual(numbers, Array.from({ length: 1000 }, (_, i) => i + 1));
  const big = 'x'.repeat(3 << 20);
  await client.set('big', big);
  assert.equal(await client.get('big'), big);
  await assert.rejects(client.incr('big'), /not an integer/);
  assert.match(await client.info(), /redis_version/);
  await client.del(['n', 'big']);
  await client.close();
}

async function ioredis(options) {
  const Redis = require('ioredis');
  const client = new Redis({ host, port, ...options });
  client.on('error', (err) => { console.error(err); process.exit(1); });
  assert.equal(await client.set('key', 'value', 'EX', 100), 'OK');
  assert.equal(await client.get('key'), 'value');
  assert.equal(await client.get('none'), null);
  assert.equal(await client.ttl('key'), 100);
  assert.equal(await client.del('key', 'none'), 1);
  const replies = await client.pipeline().incr('n').incr('n').get('n').del('n').exec();
  assert.deepEqual(replies, [[null, 1], [null, 2], [null, '2'], [null, 1]]);
  await assert.rejects(client.call('nosuch'), /unknown command/);
  assert.equal(await client.quit(), 'OK');
}

async function main() {
  await nodeRedis({});
  await nodeRedis({ RESP: 2 });
  await nodeRedis({ RESP: 3, name: 'me', username: 'default', password: 'secret', database: 0 });
  await ioredis({});
  await ioredis({ connectionName: 'me', db: 0, username: 'default', password: 'secret' });
  console.log('done');
}
main().catch((err) => { console.error(err); process.exit(1); });
`

// TestNode uses the server with the client libraries for Node.js that are used
// most. It installs them from the npm registry into a temporary directory.
func TestNode(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (Debian packages nodejs and npm)", program)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.js"), []byte(nodeProgram), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", append([]string{"install", "--no-audit", "--no-fund", "--no-update-notifier",
		"--ignore-scripts", "--cache", filepath.Join(dir, "cache"), "--fetch-timeout=10000", "--fetch-retries=1"}, nodeLibraries...)...)
	install.Dir = dir
	install.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // npm runs programs of its own
	install.Cancel = func() error { return syscall.Kill(-install.Process.Pid, syscall.SIGKILL) }
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm install %q: %v: %.500s", nodeLibraries, err, out)
	}
	eachBackend(t, func(t *testing.T, addr string) {
		if out := servertest.RunTool(t, "node", filepath.Join(dir, "main.js"), port(addr)); strings.TrimSpace(out) != "done" {
			t.Errorf("output: %q", out)
		}
	})
}
