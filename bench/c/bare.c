/* The floor: the system calls and nothing else. */
#include "bench.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

static void ring_epoll(void) {
	int set = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < ring.n; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
		if (epoll_ctl(set, EPOLL_CTL_ADD, ring.r[i], &e))
			die("epoll_ctl");
	}
	static struct epoll_event batch[1024];
	while (!ring.over) {
		int n = epoll_wait(set, batch, 1024, -1);
		for (int i = 0; i < n; i++)
			ring_event(batch[i].data.u32);
	}
}

static void ring_poll(void) {
	struct pollfd *set = calloc(ring.n, sizeof *set);
	for (int i = 0; i < ring.n; i++)
		set[i] = (struct pollfd){.fd = ring.r[i], .events = POLLIN};
	while (!ring.over) {
		int left = poll(set, ring.n, -1);
		for (int i = 0; left > 0; i++)
			if (set[i].revents)
				ring_event(i), left--;
	}
}

/* glibc's macros stop at 1024, the kernel does not. */
static void ring_select(void) {
	int max = 0;
	for (int i = 0; i < ring.n; i++)
		max = ring.r[i] > max ? ring.r[i] : max;
	size_t words = max / 64 + 1;
	unsigned long *want = calloc(words, 8), *got = calloc(words, 8);
	int *pipe_of = calloc(max + 1, sizeof(int));
	for (int i = 0; i < ring.n; i++) {
		want[ring.r[i] / 64] |= 1UL << ring.r[i] % 64;
		pipe_of[ring.r[i]] = i;
	}
	while (!ring.over) {
		memcpy(got, want, words * 8);
		int left = select(max + 1, (fd_set *)got, NULL, NULL, NULL);
		for (size_t i = 0; left > 0; i++)
			for (; got[i]; got[i] &= got[i] - 1, left--)
				ring_event(pipe_of[i * 64 + __builtin_ctzl(got[i])]);
	}
}

/* Who knows where the bytes are need not ask. */
static void ring_known(void) {
	int *at = calloc(ring.active, sizeof(int));
	for (long i = 0; i < ring.active; i++)
		at[i] = i * ring.n / ring.active;
	while (!ring.over)
		for (int i = 0; i < ring.active; i++) {
			ring_event(at[i]);
			at[i] = at[i] + 1 == ring.n ? 0 : at[i] + 1;
		}
}

static void echo(void) {
	int listener = listen_anywhere(), set = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
	epoll_ctl(set, EPOLL_CTL_ADD, listener, &e);
	static struct epoll_event batch[1024];
	for (;;) {
		int n = epoll_wait(set, batch, 1024, -1);
		for (int i = 0; i < n; i++) {
			int fd = batch[i].data.fd;
			if (fd == listener) {
				while ((e.data.fd = accept_one(listener)) >= 0)
					epoll_ctl(set, EPOLL_CTL_ADD, e.data.fd, &e);
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
	int set = epoll_create1(EPOLL_CLOEXEC);
	eventfd_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	epoll_ctl(set, EPOLL_CTL_ADD, eventfd_fd, &e);
	wake_begin(wake_eventfd);
	while (!wake.over)
		if (epoll_wait(set, &e, 1, -1) > 0)
			posts_run();
}

int main(int argc, char **argv) {
	bench_main(argc, argv);
	const char *work = argc > 1 ? argv[1] : "", *backend = text("backend", "epoll");
	if (!strcmp(work, "ring")) {
		ring_open();
		if (!strcmp(backend, "epoll"))
			ring_epoll();
		else if (!strcmp(backend, "poll"))
			ring_poll();
		else if (!strcmp(backend, "select"))
			ring_select();
		else
			ring_known();
		ring_close();
	} else if (!strcmp(work, "echo"))
		echo();
	else if (!strcmp(work, "wake"))
		wakes();
	else
		return 2;
	return 0;
}
