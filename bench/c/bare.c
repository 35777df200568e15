/* The baseline: bare system calls without a library. */
#include "bench.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

static void ring_epoll(void) {
	int epfd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < ring.n; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
		if (epoll_ctl(epfd, EPOLL_CTL_ADD, ring.readers[i], &e))
			die("epoll_ctl");
	}
	static struct epoll_event batch[1024];
	while (!ring.done) {
		int n = epoll_wait(epfd, batch, 1024, -1);
		for (int i = 0; i < n; i++)
			ring_pass(batch[i].data.u32);
	}
}

static void ring_poll(void) {
	struct pollfd *fds = calloc(ring.n, sizeof *fds);
	for (int i = 0; i < ring.n; i++)
		fds[i] = (struct pollfd){.fd = ring.readers[i], .events = POLLIN};
	while (!ring.done) {
		int remaining = poll(fds, ring.n, -1);
		for (int i = 0; remaining > 0; i++)
			if (fds[i].revents)
				ring_pass(i), remaining--;
	}
}

/* glibc's macros support descriptors below 1024 only; the kernel has no such limit. */
static void ring_select(void) {
	int max = 0;
	for (int i = 0; i < ring.n; i++)
		max = ring.readers[i] > max ? ring.readers[i] : max;
	size_t words = max / 64 + 1;
	unsigned long *watched = calloc(words, 8), *ready = calloc(words, 8);
	int *pipe_index = calloc(max + 1, sizeof(int));
	for (int i = 0; i < ring.n; i++) {
		watched[ring.readers[i] / 64] |= 1UL << ring.readers[i] % 64;
		pipe_index[ring.readers[i]] = i;
	}
	while (!ring.done) {
		memcpy(ready, watched, words * 8);
		int remaining = select(max + 1, (fd_set *)ready, NULL, NULL, NULL);
		for (size_t i = 0; remaining > 0; i++)
			for (; ready[i]; ready[i] &= ready[i] - 1, remaining--)
				ring_pass(pipe_index[i * 64 + __builtin_ctzl(ready[i])]);
	}
}

/* The lower bound: the program computes which pipes are readable and makes no readiness
 * calls. */
static void ring_no_wait(void) {
	int *pipes = calloc(ring.active, sizeof(int));
	for (long i = 0; i < ring.active; i++)
		pipes[i] = i * ring.n / ring.active;
	while (!ring.done)
		for (int i = 0; i < ring.active; i++) {
			ring_pass(pipes[i]);
			pipes[i] = pipes[i] + 1 == ring.n ? 0 : pipes[i] + 1;
		}
}

static void echo(void) {
	int listener = listen_loopback(), epfd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
	epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e);
	static struct epoll_event batch[1024];
	for (;;) {
		int n = epoll_wait(epfd, batch, 1024, -1);
		for (int i = 0; i < n; i++) {
			int fd = batch[i].data.fd;
			if (fd == listener) {
				while ((e.data.fd = accept_one(listener)) >= 0)
					epoll_ctl(epfd, EPOLL_CTL_ADD, e.data.fd, &e);
			} else if (!echo_once(fd))
				close(fd);
		}
	}
}

static int eventfd_fd;

static void wake_eventfd(void) {
	if (eventfd_write(eventfd_fd, 1))
		die("eventfd_write");
}

static void wakes(void) {
	int epfd = epoll_create1(EPOLL_CLOEXEC);
	eventfd_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	epoll_ctl(epfd, EPOLL_CTL_ADD, eventfd_fd, &e);
	wake_start(wake_eventfd);
	while (!wake.stopped)
		if (epoll_wait(epfd, &e, 1, -1) > 0)
			posts_run();
}

int main(int argc, char **argv) {
	bench_main(argc, argv);
	const char *work = argc > 1 ? argv[1] : "", *backend = arg_text("backend", "epoll");
	if (!strcmp(work, "ring")) {
		ring_open();
		if (!strcmp(backend, "epoll"))
			ring_epoll();
		else if (!strcmp(backend, "poll"))
			ring_poll();
		else if (!strcmp(backend, "select"))
			ring_select();
		else
			ring_no_wait();
		ring_report();
	} else if (!strcmp(work, "echo"))
		echo();
	else if (!strcmp(work, "wake"))
		wakes();
	else
		return 2;
	return 0;
}
