/* libev 4. */
#include "bench.h"
#include <ev.h>

static struct ev_loop *loop;

static void ring_ready(struct ev_loop *l, ev_io *w, int what) {
	(void)what;
	ring_pass((long)w->data);
	if (ring.done)
		ev_break(l, EVBREAK_ALL);
}

static void echo_ready(struct ev_loop *l, ev_io *w, int what) {
	(void)what;
	if (!echo_once(w->fd)) {
		ev_io_stop(l, w);
		close(w->fd);
		free(w);
	}
}

static void accept_ready(struct ev_loop *l, ev_io *listener, int what) {
	(void)what;
	for (int fd; (fd = accept_one(listener->fd)) >= 0;) {
		ev_io *w = malloc(sizeof *w);
		ev_io_init(w, echo_ready, fd, EV_READ);
		ev_io_start(l, w);
	}
}

static ev_async async;

static void async_send(void) { ev_async_send(loop, &async); }

static void async_ready(struct ev_loop *l, ev_async *w, int what) {
	(void)w, (void)what;
	posts_run();
	if (wake.stopped)
		ev_break(l, EVBREAK_ALL);
}

static ev_timer **timers;

static void timer_fired(struct ev_loop *l, ev_timer *w, int what) {
	(void)l, (void)w, (void)what;
	timers_fired++;
}

static void timer_rearm(long i, double in) {
	timers[i]->repeat = in;
	ev_timer_again(loop, timers[i]);
}

static void timer_schedule(long i, double in) {
	if (!timers[i])
		timers[i] = malloc(sizeof(ev_timer));
	else
		ev_timer_stop(loop, timers[i]);
	ev_timer_init(timers[i], timer_fired, in, 0);
	ev_timer_start(loop, timers[i]);
}

static void timer_cancel(long i) {
	ev_timer_stop(loop, timers[i]);
	free(timers[i]);
	timers[i] = NULL;
}

static void timer_fire(void) { ev_run(loop, EVRUN_NOWAIT); }

int main(int argc, char **argv) {
	bench_main(argc, argv);
	const char *work = argc > 1 ? argv[1] : "", *backend = arg_text("backend", "epoll");
	if (!strcmp(work, "version")) {
		printf("libev %d.%d\n", ev_version_major(), ev_version_minor());
		return 0;
	}
	int backend_flag = !strcmp(backend, "poll") ? EVBACKEND_POLL : !strcmp(backend, "select") ? EVBACKEND_SELECT : EVBACKEND_EPOLL;
	loop = ev_default_loop(backend_flag);
	if (!loop || ev_backend(loop) != (unsigned)backend_flag) {
		fprintf(stderr, "libev has no %s\n", backend);
		return 1;
	}
	if (!strcmp(work, "ring")) {
		ring_open();
		ev_io *w = calloc(ring.n, sizeof *w);
		for (long i = 0; i < ring.n; i++) {
			ev_io_init(&w[i], ring_ready, ring.readers[i], EV_READ);
			w[i].data = (void *)i;
			ev_io_start(loop, &w[i]);
		}
		ev_run(loop, 0);
		ring_report();
	} else if (!strcmp(work, "echo")) {
		ev_io listener;
		ev_io_init(&listener, accept_ready, listen_loopback(), EV_READ);
		ev_io_start(loop, &listener);
		ev_run(loop, 0);
	} else if (!strcmp(work, "wake")) {
		ev_async_init(&async, async_ready);
		ev_async_start(loop, &async);
		wake_start(async_send);
		ev_run(loop, 0);
	} else if (!strcmp(work, "timers")) {
		timers = timers_alloc(sizeof *timers);
		timers_run((struct timers){timer_schedule, timer_fire, timer_cancel, timer_rearm});
	} else
		return 2;
	return 0;
}
