/* Code that the C contenders share: arguments, clocks, the ring of pipes, the echo
 * server's sockets, posts from other threads, timers, and the line of figures. */
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

/* Arguments of the form name=value follow the workload. */

static int bench_argc;
static char **bench_argv;

static inline const char *arg_text(const char *name, const char *fallback) {
	size_t len = strlen(name);
	for (int i = 2; i < bench_argc; i++)
		if (!strncmp(bench_argv[i], name, len) && bench_argv[i][len] == '=')
			return bench_argv[i] + len + 1;
	return fallback;
}

static inline double arg_number(const char *name, double fallback) {
	const char *v = arg_text(name, NULL);
	return v ? atof(v) : fallback;
}

static inline double now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* Wall, user and system time in seconds. */
struct usage {
	double wall, user, sys;
};

static inline struct usage current_usage(void) {
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	struct usage s = {now(), u.ru_utime.tv_sec + u.ru_utime.tv_usec * 1e-6, u.ru_stime.tv_sec + u.ru_stime.tv_usec * 1e-6};
	return s;
}

static inline struct usage usage_since(struct usage start) {
	struct usage s = current_usage();
	s.wall -= start.wall, s.user -= start.user, s.sys -= start.sys;
	return s;
}

/* print_figures prints the line of JSON that the runner reads. */
static inline void print_figures(const char *format, ...) {
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

/* bench_main initializes the process. With the argument threaded=1 it starts an idle
 * thread: in a process with several threads, as every Go process is, the kernel spends
 * more time on each descriptor lookup. */
static inline void bench_main(int argc, char **argv) {
	bench_argc = argc, bench_argv = argv;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN); /* the load generator's request for heap figures */
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	pthread_t t;
	if (arg_number("threaded", 0) && pthread_create(&t, NULL, idle_thread, NULL))
		die("pthread_create");
}

/* The ring: n pipes, some of which hold one byte. A byte that is read is written to the
 * next pipe. One event is a read and a write. */

static struct {
	int n, active;    /* pipes, and bytes in them */
	int *readers, *writers;
	long events;      /* since the start or since the end of the warm-up */
	int warmed_up, done;
	double phase_end; /* end of the warm-up or of the measurement */
	double seconds;   /* duration of the measurement */
	struct usage start_usage, elapsed;
	long measured;    /* events of the measurement */
} ring;

static inline void ring_open(void) {
	ring.n = arg_number("n", 100), ring.active = arg_number("active", 1), ring.seconds = arg_number("seconds", 1);
	ring.readers = calloc(ring.n, sizeof(int)), ring.writers = calloc(ring.n, sizeof(int));
	for (int i = 0; i < ring.n; i++) {
		int p[2];
		if (pipe2(p, O_NONBLOCK | O_CLOEXEC))
			die("pipe2");
		ring.readers[i] = p[0], ring.writers[i] = p[1];
	}
	for (long i = 0; i < ring.active; i++)
		if (write(ring.writers[i * ring.n / ring.active], "x", 1) != 1)
			die("write");
	ring.phase_end = now() + ring.seconds / 5;
}

/* ring_check_time starts the measurement at the end of the warm-up, and ends it. */
static inline void ring_check_time(void) {
	double t = now();
	if (t < ring.phase_end || ring.done)
		return;
	if (!ring.warmed_up) {
		ring.warmed_up = 1, ring.events = 0;
		ring.start_usage = current_usage(), ring.phase_end = t + ring.seconds;
		return;
	}
	ring.done = 1, ring.measured = ring.events;
	ring.elapsed = usage_since(ring.start_usage);
}

/* ring_pass passes the byte in pipe i to the next pipe. */
static inline void ring_pass(int i) {
	char b;
	if (read(ring.readers[i], &b, 1) != 1)
		die("read");
	if (++i == ring.n)
		i = 0;
	if (write(ring.writers[i], &b, 1) != 1)
		die("write");
	if ((++ring.events & 31) == 0)
		ring_check_time();
}

/* ring_report prints the figures, including the number of bytes that are still in the
 * ring. It must be equal to the number at the start. */
static inline void ring_report(void) {
	long tokens = 0;
	char b[16];
	for (int i = 0; i < ring.n; i++)
		for (ssize_t n_read; (n_read = read(ring.readers[i], b, sizeof b)) > 0;)
			tokens += n_read;
	print_figures("{\"events\":%ld,\"seconds\":%.9f,\"user\":%.6f,\"sys\":%.6f,\"tokens\":%ld}",
		ring.measured, ring.elapsed.wall, ring.elapsed.user, ring.elapsed.sys, tokens);
}

/* The echo server prints its port and runs until the runner kills it. */

static inline int listen_loopback(void) {
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) || listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&at, &len))
		die("listen");
	print_figures("{\"port\":%d}", ntohs(at.sin_port));
	return fd;
}

static inline int accept_one(int listener) {
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

static char echo_buffer[64 << 10];

/* echo_once returns 0 when the connection has ended. It does not queue data that does
 * not fit into the socket buffer; the load generator never has that much in flight. */
static inline int echo_once(int fd) {
	ssize_t n = read(fd, echo_buffer, sizeof echo_buffer);
	if (n < 0 && errno == EAGAIN)
		return 1;
	if (n <= 0)
		return 0;
	return write(fd, echo_buffer, n) == n;
}

/* Posts from other threads: a queue under a mutex, and one wake-up for all posts that
 * are queued before the loop runs. uv_async_send, ev_async_send and eventfd only wake
 * the loop, so a program that passes data needs such a queue. */

typedef void (*post_fn)(void *);
struct post {
	post_fn fn;
	void *arg;
};
struct posts {
	struct post *items;
	size_t len, cap;
};
static struct posts posts_queued, posts_spare;
static pthread_mutex_t posts_mutex = PTHREAD_MUTEX_INITIALIZER;
static void (*posts_wake)(void);

static inline void post(post_fn fn, void *arg) {
	pthread_mutex_lock(&posts_mutex);
	if (posts_queued.len == posts_queued.cap)
		posts_queued.items = realloc(posts_queued.items, (posts_queued.cap = 2 * posts_queued.cap + 64) * sizeof(struct post));
	posts_queued.items[posts_queued.len++] = (struct post){fn, arg};
	int first = posts_queued.len == 1;
	pthread_mutex_unlock(&posts_mutex);
	if (first)
		posts_wake();
}

/* posts_run runs all queued functions. */
static inline void posts_run(void) {
	pthread_mutex_lock(&posts_mutex);
	struct posts batch = posts_queued;
	posts_queued = posts_spare, posts_queued.len = 0;
	pthread_mutex_unlock(&posts_mutex);
	for (size_t i = 0; i < batch.len; i++)
		batch.items[i].fn(batch.items[i].arg);
	posts_spare = batch;
}

/* The wake workload. Rate: producers post a batch of functions, wait until all have
 * run, and repeat. Latency: one post at a time, to a sleeping loop. */

#define WAKE_BATCH 10000
#define WAKE_SAMPLES 200000

static struct {
	long ran;                  /* functions that have run */
	long target;               /* value of ran at the end of the batch */
	int producers;
	int stopped;               /* set by the loop: leave the loop */
	sem_t done;                /* a batch has run */
	pthread_barrier_t barrier; /* of all producers */
	double latency[WAKE_SAMPLES];
	double posted_at;
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

static void wake_record_latency(void *unused) {
	(void)unused;
	wake.latency[wake.samples++] = now() - wake.posted_at;
	wake.ran++;
	sem_post(&wake.done);
}

static void wake_stop(void *unused) {
	(void)unused;
	wake.stopped = 1; /* the wake-up callback then stops the library's loop */
}

/* wake_rate_thread is a producer. The one whose argument is not NULL leads: it starts
 * the batches, waits for their end and prints the figures. */
static void *wake_rate_thread(void *leader) {
	double until = now() + arg_number("seconds", 1);
	struct usage before = current_usage();
	long posts = 0;
	static int finished;
	for (;;) {
		if (leader) {
			finished = now() >= until;
			wake.target = wake.ran + WAKE_BATCH / wake.producers * wake.producers;
		}
		pthread_barrier_wait(&wake.barrier);
		if (finished)
			break;
		for (int i = 0; i < WAKE_BATCH / wake.producers; i++)
			post(wake_count, NULL);
		if (leader) {
			sem_wait(&wake.done);
			posts = wake.ran;
		}
		pthread_barrier_wait(&wake.barrier);
	}
	if (leader) {
		struct usage s = usage_since(before);
		print_figures("{\"events\":%ld,\"seconds\":%.9f,\"user\":%.6f,\"sys\":%.6f,\"ran\":%ld}", posts, s.wall, s.user, s.sys, wake.ran);
		post(wake_stop, NULL);
	}
	return NULL;
}

static void *wake_latency_thread(void *unused) {
	(void)unused;
	prctl(PR_SET_TIMERSLACK, 1);
	struct timespec pause_time = {0, arg_number("pause", 100) * 1e3};
	double until = now() + arg_number("seconds", 1);
	struct usage before = current_usage();
	long posts = 0;
	while (now() < until && wake.samples < WAKE_SAMPLES) {
		nanosleep(&pause_time, NULL);
		wake.posted_at = now();
		post(wake_record_latency, NULL);
		posts++;
		sem_wait(&wake.done);
	}
	struct usage s = usage_since(before);
	qsort(wake.latency, wake.samples, sizeof(double), by_value);
	print_figures("{\"events\":%ld,\"seconds\":%.9f,\"user\":%.6f,\"sys\":%.6f,\"ran\":%ld,\"p50\":%.9f,\"p99\":%.9f}", posts, s.wall, s.user, s.sys,
		wake.ran, wake.latency[wake.samples / 2], wake.latency[wake.samples * 99 / 100]);
	post(wake_stop, NULL);
	return NULL;
}

/* wake_start starts the producers. The caller then runs its loop until wake.stopped.
 * wake_loop wakes the loop from any thread. */
static inline void wake_start(void (*wake_loop)(void)) {
	posts_wake = wake_loop;
	sem_init(&wake.done, 0, 0);
	pthread_t t;
	if (strcmp(arg_text("mode", "rate"), "latency") == 0) {
		pthread_create(&t, NULL, wake_latency_thread, NULL);
		return;
	}
	wake.producers = arg_number("producers", 1);
	pthread_barrier_init(&wake.barrier, NULL, wake.producers);
	for (int i = 0; i < wake.producers; i++)
		pthread_create(&t, NULL, wake_rate_thread, i == 0 ? &wake : NULL);
}

/* The timers workload: schedule n timers with random delays of up to a second, wait
 * until all are due, and fire them. Then, with TIMERS_PENDING other timers pending,
 * schedule and cancel one timer n times, and re-arm one timer n times. */

#define TIMERS_PENDING 10000


static inline unsigned long random_below(unsigned long n) {
	static unsigned long x = 88172645463325252UL;
	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x % n;
}

/* resident returns the resident memory of this process in bytes. */
static inline double resident(void) {
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		die("statm");
	fclose(f);
	return pages * (double)sysconf(_SC_PAGESIZE);
}

struct timers {
	void (*schedule)(long i, double in); /* start timer i, to fire after so many seconds */
	void (*fire)(void);                  /* run the loop once without waiting */
	void (*cancel)(long i);
	void (*rearm)(long i, double in);
};

static long timers_fired;

static inline long timers_n(void) { return arg_number("n", 1000000); }

/* timers_alloc allocates the table of timers, which the contender indexes by i. */
static inline void *timers_alloc(size_t size) {
	long n = timers_n();
	return calloc(n > TIMERS_PENDING + 1 ? n : TIMERS_PENDING + 1, size);
}

static inline void timers_run(struct timers t) {
	long n = timers_n();
	double memory = resident();
	struct usage before = current_usage();
	for (long i = 0; i < n; i++)
		t.schedule(i, random_below(1000000) * 1e-6);
	struct usage schedule = usage_since(before);
	memory = resident() - memory;
	usleep(1010000);
	before = current_usage();
	while (timers_fired < n)
		t.fire();
	struct usage fire = usage_since(before);
	for (long i = 0; i < TIMERS_PENDING; i++)
		t.schedule(i, 3600 + random_below(1000000) * 1e-6);
	before = current_usage();
	for (long i = 0; i < n; i++) {
		t.schedule(TIMERS_PENDING, 3601);
		t.cancel(TIMERS_PENDING);
	}
	struct usage cancel = usage_since(before);
	t.schedule(TIMERS_PENDING, 3601);
	before = current_usage();
	for (long i = 0; i < n; i++)
		t.rearm(TIMERS_PENDING, 3601);
	struct usage rearm = usage_since(before);
	print_figures("{\"events\":%ld,\"fired\":%ld,\"schedule\":%.9f,\"fire\":%.9f,\"cancel\":%.9f,\"rearm\":%.9f,"
		"\"schedule_cpu\":%.6f,\"fire_cpu\":%.6f,\"cancel_cpu\":%.6f,\"rearm_cpu\":%.6f,\"bytes\":%.0f}",
		n, timers_fired, schedule.wall, fire.wall, cancel.wall, rearm.wall, schedule.user + schedule.sys, fire.user + fire.sys,
		cancel.user + cancel.sys, rearm.user + rearm.sys, memory);
}

#endif
