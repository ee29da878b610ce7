// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ipamload: asks a plugin for addresses and pools as fast as it answers, for figures.
 * One thread; each client has one connection and one request at a time.
 *
 *   ipamload wait SOCKET                 until the plugin answers; prints the time (us)
 *   ipamload address SOCKET CLIENTS COUNT POOL
 *   ipamload given SOCKET CLIENTS COUNT POOL FIRST STEP
 *                                        the addresses FIRST, FIRST + STEP, ...
 *   ipamload pool SOCKET CLIENTS COUNT   RequestPool without a subnet
 *   ipamload veths SOCKET CLIENTS SECONDS NETWORK FIRST
 *                                        endpoints that come and go, each client with
 *                                        an address of its own from FIRST; ends also
 *                                        with its input, if that is a pipe
 *
 * Prints "rate PER-SECOND p50 US p99 US max US first US last US errors COUNT cpu US":
 * first and last are the time that the first and the last 1000 answers took, cpu is
 * the time that this client used for one request. Status 1 if there were errors; the
 * first of them goes to standard error.
 */
#define _GNU_SOURCE
#include "plugincall.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum {
	CLIENTS_MAX = 1024,
	BLOCK = 1000, /* answers at either end that are timed on their own */
	WAIT_MS = 60000,
	STEPS = 4, /* of an endpoint's life */
};

struct load;

struct client {
	struct plugin_conn conn;
	unsigned int number;
	unsigned int step;
	uint64_t since_us;
};

struct load {
	const char *method; /* where all requests have the same */
	/* Writes the next request and sets its method. */
	void (*next)(struct load *l, struct client *c, char *json, size_t size);
	char *const *args; /* of the kind */
	uint64_t count;	   /* of requests wanted */
	uint64_t end_us;   /* or the time when it ends; 0: none */
	uint64_t sent;
	uint64_t answered;
	uint64_t errors;
	uint32_t *took_us;
	uint64_t block_us[3]; /* start, end of the first block, begin of the last */
	uint32_t first_addr;
	uint32_t step;
};

static struct client clients[CLIENTS_MAX];

static _Noreturn void fail(const char *what)
{
	(void)fprintf(stderr, "ipamload: %s: %s\n", what, strerror(errno));
	exit(2);
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text) {
		errno = EINVAL;
		fail(text);
	}
	return n;
}

static uint32_t address(const char *text)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1) {
		errno = EINVAL;
		fail(text);
	}
	return ntohl(a.s_addr);
}

static const char *address_text(uint32_t n, char buf[INET_ADDRSTRLEN])
{
	const struct in_addr a = {htonl(n)};

	return inet_ntop(AF_INET, &a, buf, INET_ADDRSTRLEN);
}

/* ---- requests ---------------------------------------------------------------- */

static void next_address(struct load *l, struct client *c, char *json, size_t size)
{
	(void)c;
	(void)snprintf(json, size,
		       "{\"PoolID\":\"%s\",\"Address\":\"\",\"Options\":null}",
		       l->args[0]);
}

static void next_given(struct load *l, struct client *c, char *json, size_t size)
{
	char text[INET_ADDRSTRLEN];

	(void)c;
	(void)snprintf(json, size,
		       "{\"PoolID\":\"%s\",\"Address\":\"%s\",\"Options\":null}",
		       l->args[0],
		       address_text(l->first_addr + (uint32_t)l->sent * l->step, text));
}

static void next_pool(struct load *l, struct client *c, char *json, size_t size)
{
	(void)l;
	(void)c;
	(void)snprintf(json, size,
		       "{\"AddressSpace\":\"fairlead-local\",\"Pool\":\"\","
		       "\"SubPool\":\"\",\"Options\":{},\"V6\":false}");
}

/* An endpoint's life: CreateEndpoint, Join (makes the veth), Leave, DeleteEndpoint. */
static void next_veth(struct load *l, struct client *c, char *json, size_t size)
{
	static const char *const methods[STEPS] = {
		"NetworkDriver.CreateEndpoint", "NetworkDriver.Join",
		"NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"};
	char text[INET_ADDRSTRLEN];
	char ids[200];
	unsigned int step = c->step++ % STEPS;

	l->method = methods[step];
	(void)snprintf(ids, sizeof(ids), "\"NetworkID\":\"%s\",\"EndpointID\":\"%064x\"",
		       l->args[0], c->number + 1);
	if (step == 0)
		(void)snprintf(
			json, size,
			"{%s,\"Interface\":{\"Address\":\"%s/16\",\"AddressIPv6\":\"\","
			"\"MacAddress\":\"\"},\"Options\":{}}",
			ids, address_text(l->first_addr + c->number, text));
	else if (step == 1)
		(void)snprintf(json, size,
			       "{%s,\"SandboxKey\":\"/var/run/docker/netns/load%08x\","
			       "\"Options\":{}}",
			       ids, c->number);
	else
		(void)snprintf(json, size, "{%s}", ids);
}

/* ---- the load ------------------------------------------------------------------ */

static bool wants_more(const struct load *l, const struct client *c)
{
	if (l->end_us) /* no endpoint is left half-way */
		return now_us() < l->end_us || c->step % STEPS;
	return l->sent < l->count;
}

static void send_next(struct load *l, struct client *c)
{
	char json[PLUGIN_REQUEST_MAX / 2];

	if (!wants_more(l, c)) {
		plugin_hang_up(&c->conn);
		return;
	}
	l->next(l, c, json, sizeof(json));
	l->sent++;
	c->since_us = now_us();
	if (!plugin_post(&c->conn, l->method, json))
		fail("send");
}

static void note_answer(struct load *l, const struct client *c)
{
	uint64_t now = now_us();

	if (strstr(c->conn.body, "\"Err\"") && l->errors++ == 0)
		(void)fprintf(stderr, "ipamload: %s: %s\n", l->method, c->conn.body);
	if (l->took_us)
		l->took_us[l->answered] = (uint32_t)(now - c->since_us);
	l->answered++;
	if (l->answered == BLOCK)
		l->block_us[1] = now;
	if (l->answered + BLOCK == l->count)
		l->block_us[2] = now;
}

static void on_readable(struct load *l, struct client *c)
{
	switch (plugin_read(&c->conn)) {
	case PLUGIN_PART:
		break;
	case PLUGIN_WHOLE:
		note_answer(l, c);
		send_next(l, c);
		break;
	case PLUGIN_GONE:
		errno = ECONNRESET;
		fail("answer");
	}
}

/* What a file is cannot be waited for: then only the time ends it. */
static void watch_input(int ep)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = NULL};

	(void)epoll_ctl(ep, EPOLL_CTL_ADD, STDIN_FILENO, &ev);
}

static void run(struct load *l, const char *path, unsigned int count)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[CLIENTS_MAX];

	if (ep < 0)
		fail("epoll");
	if (l->end_us)
		watch_input(ep);
	for (unsigned int i = 0; i < count; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &clients[i]};

		clients[i].number = i;
		if (!plugin_dial(&clients[i].conn, path))
			fail(path);
		if (epoll_ctl(ep, EPOLL_CTL_ADD, clients[i].conn.fd, &ev) < 0)
			fail("epoll");
	}
	l->block_us[0] = now_us();
	for (unsigned int i = 0; i < count; i++)
		send_next(l, &clients[i]);
	while (l->answered < l->sent) {
		int n = epoll_wait(ep, events, CLIENTS_MAX, WAIT_MS);

		if (n == 0) {
			errno = ETIMEDOUT;
			fail("answer");
		}
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_readable(l, events[i].data.ptr);
			else
				l->end_us = now_us();
		}
	}
	(void)close(ep);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void report(struct load *l)
{
	uint64_t end = now_us();
	uint64_t n = l->answered;
	struct rusage used;
	uint64_t cpu;

	(void)getrusage(RUSAGE_SELF, &used);
	cpu = (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
	      (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
	printf("rate %.0f", (double)n * 1e6 / (double)(end - l->block_us[0]));
	if (l->took_us) {
		qsort(l->took_us, n, sizeof(*l->took_us), compare);
		printf(" p50 %u p99 %u max %u", l->took_us[n / 2],
		       l->took_us[n * 99 / 100], l->took_us[n - 1]);
	}
	if (n > BLOCK && l->block_us[2])
		printf(" first %llu last %llu",
		       (unsigned long long)(l->block_us[1] - l->block_us[0]),
		       (unsigned long long)(end - l->block_us[2]));
	printf(" errors %llu cpu %.2f\n", (unsigned long long)l->errors,
	       (double)cpu / (double)n);
}

static const struct kind {
	const char *name;
	const char *method;
	void (*next)(struct load *l, struct client *c, char *json, size_t size);
	int args;
} kinds[] = {
	{"address", "IpamDriver.RequestAddress", next_address, 1},
	{"given", "IpamDriver.RequestAddress", next_given, 3},
	{"pool", "IpamDriver.RequestPool", next_pool, 0},
	{"veths", NULL, next_veth, 2},
};

static int wait_for(const char *path)
{
	struct plugin_conn c;
	uint64_t since = now_us();

	if (!plugin_wait(&c, path, WAIT_MS)) {
		errno = ETIMEDOUT;
		fail(path);
	}
	printf("%llu\n", (unsigned long long)(now_us() - since));
	return 0;
}

static const struct kind *find_kind(int argc, char **argv)
{
	for (size_t i = 0; argc > 4 && i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i].name, argv[1]) && argc == 5 + kinds[i].args)
			return &kinds[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const struct kind *kind = find_kind(argc, argv);
	struct load l = {0};
	unsigned long count;

	if (argc == 3 && !strcmp(argv[1], "wait"))
		return wait_for(argv[2]);
	if (!kind) {
		(void)fprintf(stderr, "ipamload: bad usage, see its source\n");
		return 2;
	}
	l.method = kind->method;
	l.next = kind->next;
	l.args = argv + 5;
	count = number(argv[3]);
	l.count = number(argv[4]);
	if (!count || count > CLIENTS_MAX || !l.count) {
		errno = ERANGE;
		fail("clients or count");
	}
	if (kind->args > 1)
		l.first_addr = address(l.args[1]);
	if (kind->args > 2)
		l.step = (uint32_t)number(l.args[2]);
	if (kind->method) {
		l.took_us = calloc(l.count, sizeof(*l.took_us));
		if (!l.took_us)
			fail("memory");
	} else {
		l.end_us = now_us() + l.count * 1000000;
	}
	run(&l, argv[2], (unsigned int)count);
	report(&l);
	free(l.took_us);
	return l.errors ? 1 : 0;
}
