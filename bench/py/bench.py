"""The workloads with Python's selectors and asyncio.

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


def current_usage():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), u.ru_utime, u.ru_stime


def usage_since(start):
    wall, user, sys_ = (b - a for a, b in zip(start, current_usage()))
    return {"seconds": wall, "user": user, "sys": sys_}


def print_figures(**f):
    print(json.dumps(f), flush=True)


class Ring:
    """n pipes, some of which hold one byte. A byte that is read is written to the next pipe."""

    def __init__(self):
        self.n, active = int(args["n"]), int(args["active"])
        pipes = [os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) for _ in range(self.n)]
        self.readers = [r for r, w in pipes]
        self.writers = [w for r, w in pipes]
        self.next_writer = {r: pipes[(i + 1) % self.n][1] for i, (r, w) in enumerate(pipes)}
        for i in range(active):
            os.write(self.writers[i * self.n // active], b"x")
        self.events, self.warmed_up, self.done = 0, False, False
        self.phase_end = time.monotonic() + seconds / 5

    def pass_byte(self, fd):
        os.write(self.next_writer[fd], os.read(fd, 1))
        self.events += 1
        if self.events & 31 == 0:
            self.check_time()

    def check_time(self):
        now = time.monotonic()
        if now < self.phase_end or self.done:
            return
        if not self.warmed_up:
            self.warmed_up, self.events = True, 0
            self.start_usage, self.phase_end = current_usage(), now + seconds
            return
        self.done, self.measured, self.elapsed = True, self.events, usage_since(self.start_usage)

    def report(self):
        tokens = 0
        for r in self.readers:
            try:
                tokens += len(os.read(r, 16))
            except BlockingIOError:
                pass
        print_figures(events=self.measured, tokens=tokens, **self.elapsed)


def ring_selectors():
    ring = Ring()
    name = args.get("backend", "epoll").capitalize() + "Selector"
    sel = getattr(selectors, name)()
    for r in ring.readers:
        sel.register(r, selectors.EVENT_READ, ring.pass_byte)
    while not ring.done:
        for key, mask in sel.select():
            key.data(key.fd)
    ring.report()


def ring_asyncio():
    ring = Ring()
    loop = asyncio.new_event_loop()

    def ready(fd):
        ring.pass_byte(fd)
        if ring.done:
            loop.stop()

    for r in ring.readers:
        loop.add_reader(r, ready, r)
    loop.run_forever()
    ring.report()


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
    print_figures(port=listener.getsockname()[1])
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
    print_figures(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


BATCH = 10_000


def wake_asyncio():
    loop = asyncio.new_event_loop()
    done = threading.Semaphore(0)
    ran = target = posted_at = 0
    latency = []

    def count_post():
        nonlocal ran
        ran += 1
        if ran == target:
            done.release()

    def record_latency():
        nonlocal ran
        latency.append(time.monotonic() - posted_at)
        ran += 1
        done.release()

    def latency_thread():
        nonlocal posted_at
        start, until, posts = current_usage(), time.monotonic() + seconds, 0
        pause = float(args.get("pause", 100)) / 1e6
        while time.monotonic() < until:
            time.sleep(pause)
            posted_at = time.monotonic()
            loop.call_soon_threadsafe(record_latency)
            posts += 1
            done.acquire()
        took = usage_since(start)
        latency.sort()
        print_figures(events=posts, ran=ran, p50=latency[len(latency) // 2], p99=latency[len(latency) * 99 // 100], **took)
        loop.call_soon_threadsafe(loop.stop)

    producers = int(args.get("producers", 1))
    barrier = threading.Barrier(producers)
    finished = False

    def rate_thread(leader):
        nonlocal target, finished
        start, until = current_usage(), time.monotonic() + seconds
        while True:
            if leader:
                finished = time.monotonic() >= until
                target = ran + BATCH // producers * producers
            barrier.wait()
            if finished:
                break
            for _ in range(BATCH // producers):
                loop.call_soon_threadsafe(count_post)
            if leader:
                done.acquire()
            barrier.wait()
        if leader:
            print_figures(events=target - BATCH // producers * producers, ran=ran, **usage_since(start))
            loop.call_soon_threadsafe(loop.stop)

    if args.get("mode") == "latency":
        threading.Thread(target=latency_thread, daemon=True).start()
    else:
        for i in range(producers):
            threading.Thread(target=rate_thread, args=(i == 0,), daemon=True).start()
    loop.run_forever()


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def timers_asyncio():
    n, pending = int(args["n"]), 10_000
    fired = 0

    def fire():
        nonlocal fired
        fired += 1

    async def run():
        loop = asyncio.get_running_loop()
        f = {}

        def record(name, start):
            took = usage_since(start)
            f[name], f[name + "_cpu"] = took["seconds"], took["user"] + took["sys"]

        memory, start = resident(), current_usage()
        handles = [loop.call_later(random.random(), fire) for _ in range(n)]
        record("schedule", start)
        f["bytes"] = resident() - memory
        time.sleep(1.01)
        start = current_usage()
        while fired < n:
            await asyncio.sleep(0)
        record("fire", start)
        handles = [loop.call_later(3600 + random.random(), fire) for _ in range(pending)]
        start = current_usage()
        for i in range(n):
            loop.call_later(3601, fire).cancel()
            if i % 5000 == 0:  # the loop removes cancelled timers once per turn
                await asyncio.sleep(0)
        record("cancel", start)
        # asyncio cannot re-arm a timer: cancel it and create a new one.
        start, handle = current_usage(), loop.call_later(3601, fire)
        for i in range(n):
            handle.cancel()
            handle = loop.call_later(3601, fire)
            if i % 5000 == 0:
                await asyncio.sleep(0)
        record("rearm", start)
        print_figures(events=n, fired=fired, **f)

    asyncio.run(run())


signal.signal(signal.SIGUSR1, signal.SIG_IGN)
run = {
    ("selectors", "ring"): ring_selectors,
    ("asyncio", "ring"): ring_asyncio,
    ("selectors", "echo"): echo_selectors,
    ("asyncio", "echo"): lambda: asyncio.run(echo_asyncio()),
    ("asyncio", "wake"): wake_asyncio,
    ("asyncio", "timers"): timers_asyncio,
}[contender, workload]
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
run()
