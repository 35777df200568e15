/* libuv 1. The echo server writes with uv_try_write, the fastest call for this. */
#include "bench.h"
#include <uv.h>

static uv_loop_t *loop;

static void ring_ready(uv_poll_t *w, int status, int what) {
	(void)status, (void)what;
	ring_pass((long)w->data);
	if (ring.done)
		uv_stop(loop);
}

static void allocate(uv_handle_t *h, size_t size, uv_buf_t *buf) {
	(void)h, (void)size;
	*buf = uv_buf_init(echo_buffer, sizeof echo_buffer);
}

static void handle_closed(uv_handle_t *h) { free(h); }

static void echo_read(uv_stream_t *c, ssize_t n, const uv_buf_t *buf) {
	uv_buf_t out = uv_buf_init(buf->base, n);
	if (n < 0 || (n > 0 && uv_try_write(c, &out, 1) != n))
		uv_close((uv_handle_t *)c, handle_closed);
}

static void connected(uv_stream_t *listener, int status) {
	if (status < 0)
		return;
	uv_tcp_t *c = malloc(sizeof *c);
	uv_tcp_init(loop, c);
	if (uv_accept(listener, (uv_stream_t *)c)) {
		uv_close((uv_handle_t *)c, handle_closed);
		return;
	}
	uv_tcp_nodelay(c, 1);
	uv_read_start((uv_stream_t *)c, allocate, echo_read);
}

static uv_async_t async;

static void async_send(void) { uv_async_send(&async); }

static void async_ready(uv_async_t *w) {
	(void)w;
	posts_run();
	if (wake.stopped)
		uv_stop(loop);
}

static uv_timer_t **timers;

static void timer_fired(uv_timer_t *w) {
	(void)w;
	timers_fired++;
}

static void timer_rearm(long i, double in) { uv_timer_start(timers[i], timer_fired, in * 1e3, 0); }

static void timer_schedule(long i, double in) {
	if (!timers[i]) {
		timers[i] = malloc(sizeof(uv_timer_t));
		uv_timer_init(loop, timers[i]);
	}
	timer_rearm(i, in);
}

/* The handle is stopped and not closed: closing needs a turn of the loop, so programs
 * that need speed reuse handles. */
static void timer_cancel(long i) { uv_timer_stop(timers[i]); }

static void timer_fire(void) { uv_run(loop, UV_RUN_NOWAIT); }

int main(int argc, char **argv) {
	bench_main(argc, argv);
	const char *work = argc > 1 ? argv[1] : "";
	if (!strcmp(work, "version")) {
		printf("libuv %s\n", uv_version_string());
		return 0;
	}
	loop = uv_default_loop();
	if (!strcmp(work, "ring")) {
		ring_open();
		uv_poll_t *w = calloc(ring.n, sizeof *w);
		for (long i = 0; i < ring.n; i++) {
			uv_poll_init(loop, &w[i], ring.readers[i]);
			w[i].data = (void *)i;
			uv_poll_start(&w[i], UV_READABLE, ring_ready);
		}
		uv_run(loop, UV_RUN_DEFAULT);
		ring_report();
	} else if (!strcmp(work, "echo")) {
		static uv_tcp_t listener;
		struct sockaddr_in at;
		uv_tcp_init(loop, &listener);
		uv_ip4_addr("127.0.0.1", 0, &at);
		int len = sizeof at;
		if (uv_tcp_bind(&listener, (struct sockaddr *)&at, 0) || uv_listen((uv_stream_t *)&listener, 4096, connected) ||
			uv_tcp_getsockname(&listener, (struct sockaddr *)&at, &len))
			return 1;
		print_figures("{\"port\":%d}", ntohs(at.sin_port));
		uv_run(loop, UV_RUN_DEFAULT);
	} else if (!strcmp(work, "wake")) {
		uv_async_init(loop, &async, async_ready);
		wake_start(async_send);
		uv_run(loop, UV_RUN_DEFAULT);
	} else if (!strcmp(work, "timers")) {
		timers = timers_alloc(sizeof *timers);
		timers_run((struct timers){timer_schedule, timer_fire, timer_cancel, timer_rearm});
	} else
		return 2;
	return 0;
}
