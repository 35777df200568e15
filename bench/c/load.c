/* The load generator of all echo servers: connections that each have a number
 * of messages under way, and send the next when one has come back. It takes the
 * server's processor time from the kernel's clock of that process, so that all
 * are measured in the same way, and checks what comes back.
 *
 * port, pid   of the server
 * conns       connections, each of which is answered once before it counts
 * active      so many of them exchange messages; the others stay idle
 * depth       messages under way on each
 * pause       µs between an answer and the next request (one active connection)
 * memory      1: ask the server for its heap (SIGUSR1), without and with connections */
#include "bench.h"
#include <sys/epoll.h>

#define SIZE 64

struct conn {
	int fd, got;
	unsigned long sent, back; /* messages */
	double at;
	char part[SIZE];
};

static struct conn *conns;
static int n, active, depth;
static pid_t pid;
static double pause_us;
static long answers, wrong;

/* Latencies in buckets 1 % apart, from 100 ns. */
#define BUCKETS 2000
static long histogram[BUCKETS], sampled;

static double bucket_value(int i) {
	double v = 100e-9;
	while (i-- > 0)
		v *= 1.01;
	return v;
}

static double bounds[BUCKETS];

static void sample(double latency) {
	int low = 0, high = BUCKETS - 1;
	while (low < high) {
		int mid = (low + high) / 2;
		if (bounds[mid] < latency)
			low = mid + 1;
		else
			high = mid;
	}
	histogram[low]++, sampled++;
}

static double percentile(double p) {
	long want = sampled * p, seen = 0;
	for (int i = 0; i < BUCKETS; i++)
		if ((seen += histogram[i]) > want)
			return bounds[i];
	return 0;
}

static double server_cpu(void) {
	struct timespec ts;
	clockid_t clock;
	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
		die("the server has gone");
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* server_split is user and system time in ticks: good for shares only. */
static void server_split(double *user, double *sys) {
	char path[64], line[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	FILE *f = fopen(path, "r");
	if (!f || !fgets(line, sizeof line, f))
		die(path);
	fclose(f);
	unsigned long u = 0, s = 0;
	sscanf(strrchr(line, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s);
	*user = u, *sys = s;
}

static double of_file(const char *path, const char *field) {
	char line[256];
	double kib = 0;
	FILE *f = fopen(path, "r");
	if (!f)
		return 0;
	while (fgets(line, sizeof line, f))
		if (!strncmp(line, field, strlen(field)))
			kib = atof(line + strlen(field));
	fclose(f);
	return kib * 1024;
}

static double server_resident(void) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	return of_file(path, "VmRSS:");
}

static double server_threads(void) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	return of_file(path, "Threads:") / 1024;
}

static void stamp(char *message, int conn, unsigned long number) {
	memset(message, 'x', SIZE);
	memcpy(message, &conn, sizeof conn);
	memcpy(message + 8, &number, sizeof number);
	message[SIZE - 1] = '\n';
}

static void send_more(int i, int count, double t) {
	char out[64 * SIZE];
	struct conn *c = &conns[i];
	for (int k = 0; k < count; k++)
		stamp(out + k * SIZE, i, c->sent++);
	c->at = t;
	if (write(c->fd, out, count * SIZE) != count * SIZE)
		die("write to the server");
}

static void check(int i, const char *message) {
	int conn;
	unsigned long number;
	memcpy(&conn, message, sizeof conn);
	memcpy(&number, message + 8, sizeof number);
	if (conn != i || number != conns[i].back++ || message[SIZE - 1] != '\n')
		wrong++;
}

/* receive takes what has come on a connection, and returns how many whole
 * messages that were. */
static int receive(int i) {
	static char in[64 << 10];
	struct conn *c = &conns[i];
	memcpy(in, c->part, c->got);
	ssize_t got = read(c->fd, in + c->got, sizeof in - SIZE);
	if (got <= 0)
		die("read from the server");
	int all = c->got + got, whole = all / SIZE;
	for (int k = 0; k < whole; k++)
		check(i, in + k * SIZE);
	c->got = all % SIZE;
	memcpy(c->part, in + whole * SIZE, c->got);
	return whole;
}

static void connect_all(int port) {
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1;
	struct linger reset = {1, 0}; /* or thousands of ports stay taken for a minute */
	struct timeval patience = {5, 0};
	const int together = 32; /* not more than any server's queue takes */
	for (int i = 0; i < n; i += together) {
		int end = i + together < n ? i + together : n;
		for (int k = i; k < end; k++) {
			int fd = conns[k].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
			if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at))
				die("connect");
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
			send_more(k, 1, 0);
		}
		for (int k = i; k < end; k++)
			while (conns[k].back < 1)
				receive(k);
	}
}

static void rest(double seconds) {
	struct timespec ts = {seconds, (seconds - (long)seconds) * 1e9};
	nanosleep(&ts, NULL);
}

int main(int argc, char **argv) {
	argc++, argv--; /* this one has no workload */
	bench_main(argc, argv);
	prctl(PR_SET_TIMERSLACK, 1);
	pid = number("pid", 0), n = number("conns", 1), active = number("active", n), depth = number("depth", 1);
	pause_us = number("pause", 0);
	double seconds = number("seconds", 1);
	int memory = number("memory", 0);
	if (depth > 64 || active > n || (pause_us && active > 1))
		return 2;
	for (int i = 0; i < BUCKETS; i++)
		bounds[i] = bucket_value(i);
	conns = calloc(n, sizeof *conns);

	if (memory) {
		kill(pid, SIGUSR1);
		rest(0.3);
	}
	double resident0 = server_resident(), slab0 = of_file("/proc/meminfo", "Slab:");
	connect_all(number("port", 0));
	if (memory) {
		kill(pid, SIGUSR1);
		rest(0.7);
	}
	double resident1 = server_resident(), slab1 = of_file("/proc/meminfo", "Slab:");

	int set = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < active; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
		epoll_ctl(set, EPOLL_CTL_ADD, conns[i].fd, &e);
	}
	double t = now(), until = t + seconds / 4, user0 = 0, sys0 = 0, user1, sys1, server0 = 0, server1;
	struct span began = used();
	int counting = 0;
	for (int i = 0; i < active; i++)
		send_more(i, depth, t);
	static struct epoll_event batch[512];
	for (;;) {
		int got = epoll_wait(set, batch, 512, 5000);
		if (got == 0) {
			fprintf(stderr, "no answer for five seconds\n");
			return 1;
		}
		for (int k = 0; k < got; k++) {
			int i = batch[k].data.u32, whole = receive(i);
			t = now();
			if (whole && counting)
				answers += whole, sample(t - conns[i].at);
			if (whole && pause_us) {
				rest(pause_us * 1e-6);
				t = now();
			}
			if (whole)
				send_more(i, whole, t);
		}
		if (t < until)
			continue;
		if (counting)
			break;
		counting = 1;
		server_split(&user0, &sys0);
		server0 = server_cpu();
		began = used();
		until = now() + seconds;
	}
	server1 = server_cpu();
	struct span own = since(began);
	server_split(&user1, &sys1);
	double ticks = user1 - user0 + sys1 - sys0, cpu = server1 - server0, share = ticks > 0 ? (sys1 - sys0) / ticks : 0;
	if (wrong) {
		fprintf(stderr, "%ld answers were not what was sent\n", wrong);
		return 1;
	}
	figures("{\"events\":%ld,\"seconds\":%.9f,\"user\":%.9f,\"sys\":%.9f,\"load\":%.6f,\"p50\":%.9f,\"p99\":%.9f,"
		"\"resident0\":%.0f,\"resident\":%.0f,\"slab\":%.0f,\"threads\":%.0f,\"conns\":%d}",
		answers, own.wall, cpu * (1 - share), cpu * share, own.user + own.sys, percentile(0.5), percentile(0.99),
		resident0, resident1 - resident0, slab1 - slab0, server_threads(), n);
	return 0;
}
