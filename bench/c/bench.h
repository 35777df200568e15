/* What the C contenders share: arguments, clocks, the ring of pipes, the echo
 * server's sockets, posts from other threads, and the line of figures. */
#ifndef BENCH_H
#define BENCH_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline void die(const char *what) {
	perror(what);
	exit(1);
}

/* Arguments are name=value, after the workload. */

static int bench_argc;
static char **bench_argv;

static inline const char *text(const char *name, const char *otherwise) {
	size_t len = strlen(name);
	for (int i = 2; i < bench_argc; i++)
		if (!strncmp(bench_argv[i], name, len) && bench_argv[i][len] == '=')
			return bench_argv[i] + len + 1;
	return otherwise;
}

static inline double number(const char *name, double otherwise) {
	const char *v = text(name, NULL);
	return v ? atof(v) : otherwise;
}

static inline double now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* A span is the part of a run that counts. */
struct span {
	double wall, user, sys;
};

static inline struct span used(void) {
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	struct span s = {now(), u.ru_utime.tv_sec + u.ru_utime.tv_usec * 1e-6, u.ru_stime.tv_sec + u.ru_stime.tv_usec * 1e-6};
	return s;
}

static inline struct span since(struct span begin) {
	struct span s = used();
	s.wall -= begin.wall, s.user -= begin.user, s.sys -= begin.sys;
	return s;
}

/* figures prints the one line that the runner reads. */
static inline void figures(const char *format, ...) {
	va_list args;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	puts("");
	fflush(stdout);
}

static void *idle_thread(void *unused) {
	(void)unused;
	for (;;)
		pause();
	return NULL;
}

/* A process of more than one thread pays more for every descriptor that the
 * kernel looks up; a Go program always is one. */
static inline void bench_main(int argc, char **argv) {
	bench_argc = argc, bench_argv = argv;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN); /* the load generator's question about the heap */
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	pthread_t t;
	if (number("threaded", 0) && pthread_create(&t, NULL, idle_thread, NULL))
		die("pthread_create");
}

/* The ring: n pipes, a byte in some of them. Each byte that is read is written
 * on into the next pipe. One event is a read and a write. */

static struct {
	int n, active, *r, *w;
	long events;   /* since the start, or since the warm-up ended */
	int warm, over;
	double until, seconds;
	struct span began, took;
	long counted;
} ring;

static inline void ring_open(void) {
	ring.n = number("n", 100), ring.active = number("active", 1), ring.seconds = number("seconds", 1);
	ring.r = calloc(ring.n, sizeof(int)), ring.w = calloc(ring.n, sizeof(int));
	for (int i = 0; i < ring.n; i++) {
		int p[2];
		if (pipe2(p, O_NONBLOCK | O_CLOEXEC))
			die("pipe2");
		ring.r[i] = p[0], ring.w[i] = p[1];
	}
	for (long i = 0; i < ring.active; i++)
		if (write(ring.w[i * ring.n / ring.active], "x", 1) != 1)
			die("write");
	ring.until = now() + ring.seconds / 5;
}

static inline void ring_clock(void) {
	double t = now();
	if (t < ring.until || ring.over)
		return;
	if (!ring.warm) {
		ring.warm = 1, ring.events = 0;
		ring.began = used(), ring.until = t + ring.seconds;
		return;
	}
	ring.over = 1, ring.counted = ring.events;
	ring.took = since(ring.began);
}

static inline void ring_event(int i) {
	char b;
	if (read(ring.r[i], &b, 1) != 1)
		die("read");
	if (++i == ring.n)
		i = 0;
	if (write(ring.w[i], &b, 1) != 1)
		die("write");
	if ((++ring.events & 31) == 0)
		ring_clock();
}

/* No byte may have been lost or found on the way. */
static inline void ring_close(void) {
	long tokens = 0;
	char b[16];
	for (int i = 0; i < ring.n; i++)
		for (ssize_t got; (got = read(ring.r[i], b, sizeof b)) > 0;)
			tokens += got;
	figures("{\"events\":%ld,\"seconds\":%.9f,\"user\":%.6f,\"sys\":%.6f,\"tokens\":%ld}",
		ring.counted, ring.took.wall, ring.took.user, ring.took.sys, tokens);
}

/* The echo server: the runner reads the port, and kills. */

static inline int listen_anywhere(void) {
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) || listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&at, &len))
		die("listen");
	figures("{\"port\":%d}", ntohs(at.sin_port));
	return fd;
}

static inline int accept_one(int listener) {
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

static char echo_buffer[64 << 10];

/* echo_once returns 0 when the connection has ended. What does not fit into the
 * socket buffer would have to be queued; the load generator never has so much
 * under way. */
static inline int echo_once(int fd) {
	ssize_t n = read(fd, echo_buffer, sizeof echo_buffer);
	if (n < 0 && errno == EAGAIN)
		return 1;
	if (n <= 0)
		return 0;
	return write(fd, echo_buffer, n) == n;
}

/* Posts from other threads: a queue under a mutex, and one wake-up for as many
 * as come before the loop looks, which is what one has to write around
 * uv_async_send, ev_async_send and eventfd to hand something over. */

typedef void (*post_fn)(void *);
struct post {
	post_fn fn;
	void *arg;
};
struct posts {
	struct post *items;
	size_t len, cap;
};
static struct posts posts_in, posts_out;
static pthread_mutex_t posts_mutex = PTHREAD_MUTEX_INITIALIZER;
static void (*posts_wake)(void);

static inline void post(post_fn fn, void *arg) {
	pthread_mutex_lock(&posts_mutex);
	if (posts_in.len == posts_in.cap)
		posts_in.items = realloc(posts_in.items, (posts_in.cap = 2 * posts_in.cap + 64) * sizeof(struct post));
	posts_in.items[posts_in.len++] = (struct post){fn, arg};
	int first = posts_in.len == 1;
	pthread_mutex_unlock(&posts_mutex);
	if (first)
		posts_wake();
}

static inline void posts_run(void) {
	pthread_mutex_lock(&posts_mutex);
	struct posts batch = posts_in;
	posts_in = posts_out, posts_in.len = 0;
	pthread_mutex_unlock(&posts_mutex);
	for (size_t i = 0; i < batch.len; i++)
		batch.items[i].fn(batch.items[i].arg);
	posts_out = batch;
}

/* The wake workload. Rate: producers post a batch, wait until all of it has
 * run, and so on. Latency: one post at a time, to a loop that sleeps. */

#define WAKE_BATCH 10000
#define WAKE_SAMPLES 200000

static struct {
	long ran, target;     /* by the loop */
	int producers, over;
	sem_t done;           /* a batch has run */
	pthread_barrier_t all;
	double latency[WAKE_SAMPLES], posted;
	long samples;
} wake;

static inline int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void wake_count(void *unused) {
	(void)unused;
	if (++wake.ran == wake.target)
		sem_post(&wake.done);
}

static void wake_stamp(void *unused) {
	(void)unused;
	wake.latency[wake.samples++] = now() - wake.posted;
	wake.ran++;
	sem_post(&wake.done);
}

static void wake_stop(void *unused) {
	(void)unused;
	wake.over = 1; /* the loop's own flag; the library's loop is left by it */
}

static void *wake_producer(void *first) {
	double until = now() + number("seconds", 1);
	struct span began = used();
	long posts = 0;
	static int last;
	for (;;) {
		if (first) {
			last = now() >= until;
			wake.target = wake.ran + WAKE_BATCH / wake.producers * wake.producers;
		}
		pthread_barrier_wait(&wake.all);
		if (last)
			break;
		for (int i = 0; i < WAKE_BATCH / wake.producers; i++)
			post(wake_count, NULL);
		if (first) {
			sem_wait(&wake.done);
			posts = wake.ran;
		}
		pthread_barrier_wait(&wake.all);
	}
	if (first) {
		struct span s = since(began);
		figures("{\"events\":%ld,\"seconds\":%.9f,\"user\":%.6f,\"sys\":%.6f,\"ran\":%ld}", posts, s.wall, s.user, s.sys, wake.ran);
		post(wake_stop, NULL);
	}
	return NULL;
}

static void *wake_sleeper(void *unused) {
	(void)unused;
	prctl(PR_SET_TIMERSLACK, 1);
	struct timespec rest = {0, number("pause", 100) * 1e3};
	double until = now() + number("seconds", 1);
	struct span began = used();
	long posts = 0;
	while (now() < until && wake.samples < WAKE_SAMPLES) {
		nanosleep(&rest, NULL);
		wake.posted = now();
		post(wake_stamp, NULL);
		posts++;
		sem_wait(&wake.done);
	}
	struct span s = since(began);
	qsort(wake.latency, wake.samples, sizeof(double), by_value);
	figures("{\"events\":%ld,\"seconds\":%.9f,\"user\":%.6f,\"sys\":%.6f,\"ran\":%ld,\"p50\":%.9f,\"p99\":%.9f}", posts, s.wall, s.user, s.sys,
		wake.ran, wake.latency[wake.samples / 2], wake.latency[wake.samples * 99 / 100]);
	post(wake_stop, NULL);
	return NULL;
}

/* wake_begin starts the threads; the caller runs its loop until wake.over. */
static inline void wake_begin(void (*by)(void)) {
	posts_wake = by;
	sem_init(&wake.done, 0, 0);
	pthread_t t;
	if (strcmp(text("mode", "rate"), "latency") == 0) {
		pthread_create(&t, NULL, wake_sleeper, NULL);
		return;
	}
	wake.producers = number("producers", 1);
	pthread_barrier_init(&wake.all, NULL, wake.producers);
	for (int i = 0; i < wake.producers; i++)
		pthread_create(&t, NULL, wake_producer, i == 0 ? &wake : NULL);
}

/* The timers workload: schedule n over a second, let them all become due, fire
 * them; then with some standing, schedule and cancel, and re-arm, n times. */

static inline unsigned long random_below(unsigned long n) {
	static unsigned long x = 88172645463325252UL;
	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x % n;
}

/* resident is what the process has in memory, in bytes. */
static inline double resident(void) {
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		die("statm");
	fclose(f);
	return pages * (double)sysconf(_SC_PAGESIZE);
}

struct timers {
	void (*schedule)(long i, double in); /* timer i, seconds from now */
	void (*fire)(void);                  /* one turn without waiting */
	void (*cancel)(long i);
	void (*rearm)(long i, double in);
};

static long timers_fired;

static inline void timers_run(struct timers t, long n) {
	const long standing = 10000;
	double memory = resident();
	struct span began = used();
	for (long i = 0; i < n; i++)
		t.schedule(i, random_below(1000000) * 1e-6);
	struct span schedule = since(began);
	memory = resident() - memory;
	usleep(1010000);
	began = used();
	while (timers_fired < n)
		t.fire();
	struct span fire = since(began);
	for (long i = 0; i < standing; i++)
		t.schedule(i, 3600 + random_below(1000000) * 1e-6);
	began = used();
	for (long i = 0; i < n; i++) {
		t.schedule(standing, 3601);
		t.cancel(standing);
	}
	struct span pair = since(began);
	t.schedule(standing, 3601);
	began = used();
	for (long i = 0; i < n; i++)
		t.rearm(standing, 3601);
	struct span rearm = since(began);
	figures("{\"events\":%ld,\"fired\":%ld,\"schedule\":%.9f,\"fire\":%.9f,\"pair\":%.9f,\"rearm\":%.9f,"
		"\"schedule_cpu\":%.6f,\"fire_cpu\":%.6f,\"pair_cpu\":%.6f,\"rearm_cpu\":%.6f,\"bytes\":%.0f}",
		n, timers_fired, schedule.wall, fire.wall, pair.wall, rearm.wall, schedule.user + schedule.sys, fire.user + fire.sys,
		pair.user + pair.sys, rearm.user + rearm.sys, memory);
}

#endif
