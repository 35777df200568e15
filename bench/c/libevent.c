/* libevent 2, with plain events, as in its own benchmark. */
#include "bench.h"
#include <event2/event.h>

static struct event_base *base;

static void ring_ready(evutil_socket_t fd, short what, void *arg) {
	(void)fd, (void)what;
	ring_pass((long)arg);
	if (ring.done)
		event_base_loopbreak(base);
}

static void echo_ready(evutil_socket_t fd, short what, void *arg) {
	(void)what;
	if (!echo_once(fd)) {
		event_free(*(struct event **)arg);
		free(arg);
		close(fd);
	}
}

static void accept_ready(evutil_socket_t listener, short what, void *arg) {
	(void)what, (void)arg;
	for (int fd; (fd = accept_one(listener)) >= 0;) {
		struct event **e = malloc(sizeof *e);
		*e = event_new(base, fd, EV_READ | EV_PERSIST, echo_ready, e);
		event_add(*e, NULL);
	}
}

static struct event **timers;

static void timer_fired(evutil_socket_t fd, short what, void *arg) {
	(void)fd, (void)what, (void)arg;
	timers_fired++;
}

static void timer_rearm(long i, double in) {
	struct timeval tv = {in, (in - (long)in) * 1e6};
	event_add(timers[i], &tv);
}

static void timer_schedule(long i, double in) {
	if (!timers[i])
		timers[i] = evtimer_new(base, timer_fired, NULL);
	timer_rearm(i, in);
}

static void timer_cancel(long i) {
	event_free(timers[i]);
	timers[i] = NULL;
}

static void timer_fire(void) { event_base_loop(base, EVLOOP_NONBLOCK); }

int main(int argc, char **argv) {
	bench_main(argc, argv);
	const char *work = argc > 1 ? argv[1] : "", *backend = arg_text("backend", "epoll"), *methods[] = {"epoll", "poll", "select"};
	if (!strcmp(work, "version")) {
		printf("libevent %s\n", event_get_version());
		return 0;
	}
	struct event_config *config = event_config_new();
	for (int i = 0; i < 3; i++)
		if (strcmp(methods[i], backend))
			event_config_avoid_method(config, methods[i]);
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	base = event_base_new_with_config(config);
	if (!base || strcmp(event_base_get_method(base), backend)) {
		fprintf(stderr, "libevent has no %s\n", backend);
		return 1;
	}
	if (!strcmp(work, "ring")) {
		ring_open();
		for (long i = 0; i < ring.n; i++)
			event_add(event_new(base, ring.readers[i], EV_READ | EV_PERSIST, ring_ready, (void *)i), NULL);
		event_base_dispatch(base);
		ring_report();
	} else if (!strcmp(work, "echo")) {
		event_add(event_new(base, listen_loopback(), EV_READ | EV_PERSIST, accept_ready, NULL), NULL);
		event_base_dispatch(base);
	} else if (!strcmp(work, "timers")) {
		timers = timers_alloc(sizeof *timers);
		timers_run((struct timers){timer_schedule, timer_fire, timer_cancel, timer_rearm});
	} else
		return 2;
	return 0;
}
