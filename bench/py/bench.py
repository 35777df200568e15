"""What Python's own selectors and asyncio make of the workloads.

python3 bench.py CONTENDER WORKLOAD name=value ...
"""

import asyncio
import json
import os
import random
import resource
import selectors
import signal
import socket
import sys
import threading
import time

contender, workload = sys.argv[1:3]
args = dict(a.split("=", 1) for a in sys.argv[3:])
seconds = float(args.get("seconds", 1))


def used():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), u.ru_utime, u.ru_stime


def since(began):
    wall, user, sys_ = (b - a for a, b in zip(began, used()))
    return {"seconds": wall, "user": user, "sys": sys_}


def figures(**f):
    print(json.dumps(f), flush=True)


class Ring:
    """n pipes, a byte in some of them; each that is read is written on."""

    def __init__(self):
        self.n, active = int(args["n"]), int(args["active"])
        pipes = [os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) for _ in range(self.n)]
        self.readers = [r for r, w in pipes]
        self.writers = [w for r, w in pipes]
        self.next = {r: pipes[(i + 1) % self.n][1] for i, (r, w) in enumerate(pipes)}
        for i in range(active):
            os.write(self.writers[i * self.n // active], b"x")
        self.events, self.warm, self.over = 0, False, False
        self.until = time.monotonic() + seconds / 5

    def event(self, fd):
        os.write(self.next[fd], os.read(fd, 1))
        self.events += 1
        if self.events & 31 == 0:
            self.clock()

    def clock(self):
        now = time.monotonic()
        if now < self.until or self.over:
            return
        if not self.warm:
            self.warm, self.events = True, 0
            self.began, self.until = used(), now + seconds
            return
        self.over, self.counted, self.took = True, self.events, since(self.began)

    def close(self):
        tokens = 0
        for r in self.readers:
            try:
                tokens += len(os.read(r, 16))
            except BlockingIOError:
                pass
        figures(events=self.counted, tokens=tokens, **self.took)


def ring_selectors():
    ring = Ring()
    name = args.get("backend", "epoll").capitalize() + "Selector"
    sel = getattr(selectors, name)()
    for r in ring.readers:
        sel.register(r, selectors.EVENT_READ, ring.event)
    while not ring.over:
        for key, mask in sel.select():
            key.data(key.fd)
    ring.close()


def ring_asyncio():
    ring = Ring()
    loop = asyncio.new_event_loop()

    def ready(fd):
        ring.event(fd)
        if ring.over:
            loop.stop()

    for r in ring.readers:
        loop.add_reader(r, ready, r)
    loop.run_forever()
    ring.close()


def listen():
    s = socket.create_server(("127.0.0.1", 0), backlog=4096)
    s.setblocking(False)
    return s


def echo_selectors():
    sel, listener = selectors.DefaultSelector(), listen()

    def accept(sock):
        try:
            while True:
                conn, _ = sock.accept()
                conn.setblocking(False)
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sel.register(conn, selectors.EVENT_READ, echo)
        except BlockingIOError:
            pass

    def echo(conn):
        try:
            data = conn.recv(65536)
            if data and conn.send(data) == len(data):
                return
        except OSError:
            pass
        sel.unregister(conn)
        conn.close()

    sel.register(listener, selectors.EVENT_READ, accept)
    figures(port=listener.getsockname()[1])
    while True:
        for key, mask in sel.select():
            key.data(key.fileobj)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def echo_asyncio():
    server = await asyncio.get_running_loop().create_server(Echo, sock=listen(), backlog=4096)
    figures(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


BATCH = 10_000


def wake_asyncio():
    loop = asyncio.new_event_loop()
    done = threading.Semaphore(0)
    ran = target = posted = 0
    latency = []

    def count():
        nonlocal ran
        ran += 1
        if ran == target:
            done.release()

    def stamp():
        nonlocal ran
        latency.append(time.monotonic() - posted)
        ran += 1
        done.release()

    def sleeper():
        nonlocal posted
        began, until, posts = used(), time.monotonic() + seconds, 0
        pause = float(args.get("pause", 100)) / 1e6
        while time.monotonic() < until:
            time.sleep(pause)
            posted = time.monotonic()
            loop.call_soon_threadsafe(stamp)
            posts += 1
            done.acquire()
        took = since(began)
        latency.sort()
        figures(events=posts, ran=ran, p50=latency[len(latency) // 2], p99=latency[len(latency) * 99 // 100], **took)
        loop.call_soon_threadsafe(loop.stop)

    producers = int(args.get("producers", 1))
    barrier = threading.Barrier(producers)
    last = False

    def producer(first):
        nonlocal target, last
        began, until = used(), time.monotonic() + seconds
        while True:
            if first:
                last = time.monotonic() >= until
                target = ran + BATCH // producers * producers
            barrier.wait()
            if last:
                break
            for _ in range(BATCH // producers):
                loop.call_soon_threadsafe(count)
            if first:
                done.acquire()
            barrier.wait()
        if first:
            figures(events=target - BATCH // producers * producers, ran=ran, **since(began))
            loop.call_soon_threadsafe(loop.stop)

    if args.get("mode") == "latency":
        threading.Thread(target=sleeper, daemon=True).start()
    else:
        for i in range(producers):
            threading.Thread(target=producer, args=(i == 0,), daemon=True).start()
    loop.run_forever()


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def timers_asyncio():
    n, standing = int(args["n"]), 10_000
    fired = 0

    def fire():
        nonlocal fired
        fired += 1

    async def run():
        loop = asyncio.get_running_loop()
        f = {}

        def span(name, began):
            took = since(began)
            f[name], f[name + "_cpu"] = took["seconds"], took["user"] + took["sys"]

        memory, began = resident(), used()
        handles = [loop.call_later(random.random(), fire) for _ in range(n)]
        span("schedule", began)
        f["bytes"] = resident() - memory
        time.sleep(1.01)
        began = used()
        while fired < n:
            await asyncio.sleep(0)
        span("fire", began)
        handles = [loop.call_later(3600 + random.random(), fire) for _ in range(standing)]
        began = used()
        for i in range(n):
            loop.call_later(3601, fire).cancel()
            if i % 5000 == 0:  # the loop clears up once a turn
                await asyncio.sleep(0)
        span("pair", began)
        # There is no re-arming: it is a cancel and a new timer.
        began, handle = used(), loop.call_later(3601, fire)
        for i in range(n):
            handle.cancel()
            handle = loop.call_later(3601, fire)
            if i % 5000 == 0:
                await asyncio.sleep(0)
        span("rearm", began)
        figures(events=n, fired=fired, **f)

    asyncio.run(run())


signal.signal(signal.SIGUSR1, signal.SIG_IGN)
work = {
    ("selectors", "ring"): ring_selectors,
    ("asyncio", "ring"): ring_asyncio,
    ("selectors", "echo"): echo_selectors,
    ("asyncio", "echo"): lambda: asyncio.run(echo_asyncio()),
    ("asyncio", "wake"): wake_asyncio,
    ("asyncio", "timers"): timers_asyncio,
}[contender, workload]
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
work()
