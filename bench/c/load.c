/* The load generator for all echo servers. Each active connection has a number of
 * messages in flight and sends the next one when an echo comes back. The generator
 * takes the server's processor time from the kernel's CPU clock of the server process,
 * so the measurement is the same for all servers, and checks each echo.
 *
 * Arguments:
 * port, pid   of the server
 * conns       number of connections; each gets one reply before the measurement
 * active      number of connections that exchange messages; the others stay idle
 * depth       messages in flight on each active connection
 * pause       µs between a reply and the next request (with one active connection)
 * memory      1: request the server's heap figures (SIGUSR1) without and with connections */
#include "bench.h"
#include <sys/epoll.h>

#define SIZE 64

struct conn {
	int fd, partial_len; /* bytes in partial, the start of the next message */
	unsigned long sent, received; /* messages */
	double sent_at;               /* time of the last write */
	char partial[SIZE];
};

static struct conn *conns;
static int n, active, depth;
static pid_t pid;
static double pause_us;
static long replies, wrong_replies;

/* A histogram of latencies. The bounds of the buckets start at 100 ns and grow by 1 %. */
#define BUCKETS 2000
static long histogram[BUCKETS], samples;

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
	histogram[low]++, samples++;
}

static double percentile(double p) {
	long rank = samples * p, count = 0;
	for (int i = 0; i < BUCKETS; i++)
		if ((count += histogram[i]) > rank)
			return bounds[i];
	return 0;
}

static double server_cpu(void) {
	struct timespec ts;
	clockid_t clock;
	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
		die("CPU clock of the server");
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* server_split reads the server's user and system time in clock ticks. The resolution
 * is only good enough for the share of each. */
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

/* file_field returns the value of a field of a file in /proc, in bytes if the unit in
 * the file is kB. */
static double file_field(const char *path, const char *field) {
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
	return file_field(path, "VmRSS:");
}

static double server_threads(void) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	return file_field(path, "Threads:") / 1024;
}

static void fill_message(char *message, int conn, unsigned long number) {
	memset(message, 'x', SIZE);
	memcpy(message, &conn, sizeof conn);
	memcpy(message + 8, &number, sizeof number);
	message[SIZE - 1] = '\n';
}

static void send_more(int i, int count, double t) {
	char out[64 * SIZE];
	struct conn *c = &conns[i];
	for (int k = 0; k < count; k++)
		fill_message(out + k * SIZE, i, c->sent++);
	c->sent_at = t;
	if (write(c->fd, out, count * SIZE) != count * SIZE)
		die("write to the server");
}

static void check_message(int i, const char *message) {
	int conn;
	unsigned long number;
	memcpy(&conn, message, sizeof conn);
	memcpy(&number, message + 8, sizeof number);
	if (conn != i || number != conns[i].received++ || message[SIZE - 1] != '\n')
		wrong_replies++;
}

/* receive reads from connection i and returns the number of complete messages. */
static int receive(int i) {
	static char in[64 << 10];
	struct conn *c = &conns[i];
	memcpy(in, c->partial, c->partial_len);
	ssize_t n_read = read(c->fd, in + c->partial_len, sizeof in - SIZE);
	if (n_read <= 0)
		die("read from the server");
	int len = c->partial_len + n_read, messages = len / SIZE;
	for (int k = 0; k < messages; k++)
		check_message(i, in + k * SIZE);
	c->partial_len = len % SIZE;
	memcpy(c->partial, in + messages * SIZE, c->partial_len);
	return messages;
}

static void connect_all(int port) {
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1;
	struct linger reset = {1, 0}; /* close with a reset, so that no port stays in TIME_WAIT */
	struct timeval receive_timeout = {5, 0};
	const int batch = 32; /* fits into the accept queue of every server */
	for (int i = 0; i < n; i += batch) {
		int end = i + batch < n ? i + batch : n;
		for (int k = i; k < end; k++) {
			int fd = conns[k].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
			if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at))
				die("connect");
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &receive_timeout, sizeof receive_timeout);
			send_more(k, 1, 0);
		}
		for (int k = i; k < end; k++)
			while (conns[k].received < 1)
				receive(k);
	}
}

static void sleep_seconds(double seconds) {
	struct timespec ts = {seconds, (seconds - (long)seconds) * 1e9};
	nanosleep(&ts, NULL);
}

int main(int argc, char **argv) {
	argc++, argv--; /* bench_main expects a workload first, which this program does not have */
	bench_main(argc, argv);
	prctl(PR_SET_TIMERSLACK, 1);
	pid = arg_number("pid", 0), n = arg_number("conns", 1), active = arg_number("active", n), depth = arg_number("depth", 1);
	pause_us = arg_number("pause", 0);
	double seconds = arg_number("seconds", 1);
	int memory = arg_number("memory", 0);
	if (depth > 64 || active > n || (pause_us && active > 1))
		return 2;
	for (int i = 0; i < BUCKETS; i++)
		bounds[i] = bucket_value(i);
	conns = calloc(n, sizeof *conns);

	if (memory) {
		kill(pid, SIGUSR1);
		sleep_seconds(0.3);
	}
	double resident_before = server_resident(), slab_before = file_field("/proc/meminfo", "Slab:");
	connect_all(arg_number("port", 0));
	if (memory) {
		kill(pid, SIGUSR1);
		sleep_seconds(0.7);
	}
	double resident_after = server_resident(), slab_after = file_field("/proc/meminfo", "Slab:");

	int epfd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < active; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
		epoll_ctl(epfd, EPOLL_CTL_ADD, conns[i].fd, &e);
	}
	double t = now(), until = t + seconds / 4, user0 = 0, sys0 = 0, user1, sys1, server0 = 0, server1;
	struct usage before = current_usage();
	int measuring = 0;
	for (int i = 0; i < active; i++)
		send_more(i, depth, t);
	static struct epoll_event batch[512];
	for (;;) {
		int ready = epoll_wait(epfd, batch, 512, 5000);
		if (ready == 0) {
			fprintf(stderr, "no reply for five seconds\n");
			return 1;
		}
		for (int k = 0; k < ready; k++) {
			int i = batch[k].data.u32, messages = receive(i);
			t = now();
			if (messages && measuring)
				replies += messages, sample(t - conns[i].sent_at);
			if (messages && pause_us) {
				sleep_seconds(pause_us * 1e-6);
				t = now();
			}
			if (messages)
				send_more(i, messages, t);
		}
		if (t < until)
			continue;
		if (measuring)
			break;
		measuring = 1;
		server_split(&user0, &sys0);
		server0 = server_cpu();
		before = current_usage();
		until = now() + seconds;
	}
	server1 = server_cpu();
	struct usage own_usage = usage_since(before);
	server_split(&user1, &sys1);
	double ticks = user1 - user0 + sys1 - sys0, cpu = server1 - server0, share = ticks > 0 ? (sys1 - sys0) / ticks : 0;
	if (wrong_replies) {
		fprintf(stderr, "%ld replies differ from the requests\n", wrong_replies);
		return 1;
	}
	print_figures("{\"events\":%ld,\"seconds\":%.9f,\"user\":%.9f,\"sys\":%.9f,\"load\":%.6f,\"p50\":%.9f,\"p99\":%.9f,"
		"\"resident0\":%.0f,\"resident\":%.0f,\"slab\":%.0f,\"threads\":%.0f,\"conns\":%d}",
		replies, own_usage.wall, cpu * (1 - share), cpu * share, own_usage.user + own_usage.sys, percentile(0.5), percentile(0.99),
		resident_before, resident_after - resident_before, slab_after - slab_before, server_threads(), n);
	return 0;
}
