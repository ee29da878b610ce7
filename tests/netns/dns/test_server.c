// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The DNS server as a container meets it: names of the zone, names of others, a
 * resolver that is slow, gone or lies, tasks that go, and the daemon's end and return.
 */
#include "tests/netns/dns/fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

static const int transports[] = {SOCK_DGRAM, SOCK_STREAM};

static void test_zone_names(void **state)
{
	struct fixture *fx = ready(state);
	struct reply rp;

	for (size_t i = 0; i < ARRAY_SIZE(transports); i++) {
		ask(fx, transports[i], "web", WIRE_TYPE_A, 0, &rp);
		assert_int_equal(rp.rcode, 0);
		assert_int_equal(rp.count, 1);
		assert_memory_equal(rp.first, "\x0a\0\0\1", 4);
		ask(fx, transports[i], "web", WIRE_TYPE_AAAA, 0, &rp);
		assert_int_equal(rp.rcode, 0);
		assert_int_equal(rp.count, 0);
		ask(fx, transports[i], "web", 16, 1232, &rp);
		assert_int_equal(rp.rcode, 0);
		assert_int_equal(rp.count, 0);
		ask(fx, transports[i], "tasks.web", WIRE_TYPE_A, 0, &rp);
		assert_int_equal(rp.count, 2);
		ask(fx, transports[i], "1.0.0.10.in-addr.arpa", WIRE_TYPE_PTR, 0, &rp);
		assert_int_equal(rp.count, 1);
	}
	ask(fx, SOCK_DGRAM, "many", WIRE_TYPE_A, 0, &rp);
	assert_true(rp.flags & WIRE_FLAG_TC);
	assert_in_range(rp.count, 20, 40);
	assert_true(rp.size <= 512);
	ask(fx, SOCK_DGRAM, "many", WIRE_TYPE_A, 4096, &rp);
	assert_false(rp.flags & WIRE_FLAG_TC);
	assert_int_equal(rp.count, 200);
	ask(fx, SOCK_STREAM, "many", WIRE_TYPE_A, 0, &rp);
	assert_int_equal(rp.count, 200);
	assert_int_equal(fx->fake.udp_seen + fx->fake.tcp_seen, 0);
}

static void test_forwarded(void **state)
{
	static const struct {
		const char *name;
		unsigned int rcode;
		unsigned int count;
	} cases[] = {
		{"ok.example.org", 0, 1}, {"nx.example.org", 3, 0},
		{"fail.example", 2, 0},	  {"refused", 5, 0},
		{"forged.example", 0, 1},
	};
	struct fixture *fx = ready(state);
	struct reply rp;

	for (size_t t = 0; t < ARRAY_SIZE(transports); t++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			ask(fx, transports[t], cases[i].name, WIRE_TYPE_A, 0, &rp);
			assert_int_equal(rp.rcode, cases[i].rcode);
			assert_int_equal(rp.count, cases[i].count);
		}
	}
	assert_int_equal(fx->fake.udp_seen, 2 * ARRAY_SIZE(cases));
	assert_int_equal(fx->fake.tcp_seen, 0);
}

/* The resolver gets the very bytes, but for the id. */
static void test_unchanged(void **state)
{
	struct fixture *fx = ready(state);
	auto_close int fd = client_open(fx, SOCK_DGRAM);
	struct reply rp;
	uint8_t msg[512];
	size_t size = question(msg, 0x1111, "Ok.eXample.ORG", 257, 1400);

	msg[size - 1] = 8; /* an EDNS option: a client's cookie */
	memcpy(msg + size, "\0\x0a\0\4abcd", 8);
	size += 8;
	assert_int_equal(send(fd, msg, size, 0), size);
	udp_recv(fx, fd, &rp);
	assert_int_equal(wire_get16(rp.data), 0x1111);
	assert_int_equal(fx->fake.last_size, size);
	assert_memory_equal(fx->fake.last + 2, msg + 2, size - 2);
}

static void test_big_answers(void **state)
{
	struct fixture *fx = ready(state);
	struct reply rp;

	/* by TCP from the resolver, as much as the client takes */
	ask(fx, SOCK_DGRAM, "big.example", WIRE_TYPE_A, 0, &rp);
	assert_true(rp.flags & WIRE_FLAG_TC);
	assert_true(rp.size <= 512);
	assert_in_range(rp.count, 25, 31);
	assert_int_equal(fx->fake.tcp_seen, 1);
	ask(fx, SOCK_STREAM, "big.example", WIRE_TYPE_A, 0, &rp);
	assert_false(rp.flags & WIRE_FLAG_TC);
	assert_int_equal(rp.count, BIG_SIZE);
	assert_int_equal(fx->fake.tcp_seen, 2);
	/* a large datagram needs no TCP */
	ask(fx, SOCK_DGRAM, "big.example", WIRE_TYPE_A, 4096, &rp);
	assert_false(rp.flags & WIRE_FLAG_TC);
	assert_int_equal(rp.count, BIG_SIZE);
	ask(fx, SOCK_DGRAM, "big.example", WIRE_TYPE_A, 65535, &rp);
	assert_int_equal(rp.count, BIG_SIZE);
	assert_int_equal(wire_get16(fx->fake.last + fx->fake.last_size - 8),
			 WIRE_UDP_MAX); /* what the forwarder can read */
	assert_int_equal(fx->fake.tcp_seen, 2);
	/* a resolver whose TCP is of no use: what came by UDP */
	ask(fx, SOCK_DGRAM, "onlyudp.example", WIRE_TYPE_A, 0, &rp);
	assert_int_equal(rp.rcode, 0);
	assert_true(rp.flags & WIRE_FLAG_TC);
	assert_in_range(rp.count, 25, 31);
	assert_int_equal(fx->fake.tcp_seen, 3);
}

static void test_parallel(void **state)
{
	enum {
		COUNT = 200
	};
	struct fixture *fx = ready(state);
	auto_close int fd = client_open(fx, SOCK_DGRAM);
	bool seen[COUNT] = {false};
	struct reply rp;

	for (uint16_t i = 0; i < COUNT; i++) {
		uint8_t msg[512];
		char name[64];
		size_t size;

		(void)snprintf(name, sizeof(name), "ok.n%u", i);
		size = question(msg, i, i % 4 ? name : "web", WIRE_TYPE_A, 0);
		assert_int_equal(send(fd, msg, size, 0), size);
	}
	for (unsigned int i = 0; i < COUNT; i++) {
		uint16_t id;
		char name[64];

		udp_recv(fx, fd, &rp);
		id = wire_get16(rp.data);
		assert_true(id < COUNT && !seen[id]);
		seen[id] = true;
		assert_int_equal(rp.rcode, 0);
		assert_int_equal(rp.count, 1);
		assert_int_equal(rp.first[0], id % 4 ? 192 : 10);
		(void)snprintf(name, sizeof(name), "n%u", id);
		if (id % 4)
			assert_memory_equal(rp.data + 16, name, strlen(name));
	}
	assert_int_equal(fx->fake.udp_seen, COUNT * 3 / 4);
}

static void test_malformed(void **state)
{
	static const struct {
		const char *data;
		size_t size;
		bool answered; /* with FORMERR or NOTIMP */
	} cases[] = {
		{"", 1, false},
		{"\x12\x34\x81\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1", 21, false},
		{"\x12\x34\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", 18, true},
		{"\x12\x34\1\0\xff\xff\xff\xff\xff\xff\xff\xff", 12, true},
		{"\x12\x34\x28\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1", 21, true},
	};
	struct fixture *fx = ready(state);
	struct reply rp;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_close int udp = client_open(fx, SOCK_DGRAM);
		auto_close int tcp = client_open(fx, SOCK_STREAM);
		uint8_t web[64];
		size_t size = question(web, 0x77, "web", WIRE_TYPE_A, 0);

		(void)send(udp, cases[i].data, cases[i].size, 0);
		tcp_send(tcp, (const uint8_t *)cases[i].data, cases[i].size);
		if (cases[i].answered) {
			udp_recv(fx, udp, &rp);
			assert_int_equal(wire_get16(rp.data), 0x1234);
			assert_true(rp.rcode == 1 || rp.rcode == 4);
			assert_true(tcp_recv(fx, tcp, &rp));
			assert_true(rp.rcode == 1 || rp.rcode == 4);
		}
		/* the next question on the same sockets gets its answer */
		(void)send(udp, web, size, 0);
		udp_recv(fx, udp, &rp);
		assert_int_equal(wire_get16(rp.data), 0x77);
		tcp_send(tcp, web, size);
		assert_true(tcp_recv(fx, tcp, &rp));
		assert_int_equal(wire_get16(rp.data), 0x77);
	}
	assert_int_equal(fx->fake.udp_seen, 0);
}

static void test_unreachable(void **state)
{
	struct fixture *fx = ready(state);
	uint64_t start = clock_us();
	struct reply rp;

	fake_stop(fx);
	for (size_t i = 0; i < ARRAY_SIZE(transports); i++) {
		ask(fx, transports[i], "ok.example", WIRE_TYPE_A, 1232, &rp);
		assert_int_equal(rp.rcode, 2);
		assert_int_equal(rp.count, 0);
		ask(fx, transports[i], "web", WIRE_TYPE_A, 0, &rp);
		assert_int_equal(rp.count, 1);
	}
	assert_true(clock_us() - start < 2000000); /* refused: no time-out */
}

static void test_no_answer(void **state)
{
	struct fixture *fx = ready(state);
	uint64_t start = clock_us();
	struct reply rp;

	dns_server_set_timeout(fx->server, 50);
	ask(fx, SOCK_DGRAM, "mute.example", WIRE_TYPE_A, 0, &rp);
	assert_int_equal(rp.rcode, 2);
	assert_int_equal(fx->fake.udp_seen, 2); /* it was asked again */
	assert_in_range(clock_us() - start, 100000, 3000000);
	ask(fx, SOCK_DGRAM, "ok.example", WIRE_TYPE_A, 0, &rp);
	assert_int_equal(rp.count, 1);
}

static void test_too_many(void **state)
{
	enum {
		COUNT = 300,
		LIMIT = 256
	};
	struct fixture *fx = ready(state);
	auto_close int fd = client_open(fx, SOCK_DGRAM);
	struct reply rp;
	uint8_t msg[512];

	for (uint16_t i = 0; i < COUNT; i++) {
		size_t size = question(msg, i, "mute.example", WIRE_TYPE_A, 0);

		assert_int_equal(send(fd, msg, size, 0), size);
		if (i % 50 == 49)
			wait_until_seen(fx, i < LIMIT ? i + 1U : LIMIT);
	}
	for (unsigned int i = 0; i < COUNT - LIMIT; i++) {
		udp_recv(fx, fd, &rp);
		assert_int_equal(rp.rcode, 2);
		assert_true(wire_get16(rp.data) >= LIMIT);
	}
	assert_int_equal(fx->fake.udp_seen, LIMIT);
	ask(fx, SOCK_DGRAM, "web", WIRE_TYPE_A, 0, &rp);
	assert_int_equal(rp.count, 1);
}

static void test_removed_in_flight(void **state)
{
	struct fixture *fx = ready(state);
	auto_close int udp = client_open(fx, SOCK_DGRAM);
	auto_close int tcp = client_open(fx, SOCK_STREAM);
	auto_close int gone = client_open(fx, SOCK_STREAM);
	struct reply rp;
	uint8_t msg[512];
	size_t size = question(msg, 1, "mute.example", WIRE_TYPE_A, 0);
	size_t big_size;

	for (int i = 0; i < 20; i++) {
		assert_int_equal(send(udp, msg, size, 0), size);
		tcp_send(tcp, msg, size);
	}
	tcp_send(gone, msg, size);
	wait_until_seen(fx, 41);
	/* a client that leaves before its answer, by TCP at the resolver too */
	mem_cleanup_close(&gone);
	gone = -1;
	big_size = question(msg, 2, "big.example", WIRE_TYPE_A, 0);
	assert_int_equal(send(udp, msg, big_size, 0), big_size);
	while (fx->fake.tcp_seen == 0)
		assert_true(sd_event_run(fx->event, 5000) >= 0);
	dns_server_del(fx->server, TASK);
	dns_server_del(fx->server, TASK);
	assert_false(tcp_recv(fx, tcp, &rp)); /* closed */
	assert_int_equal(dns_server_set_client(fx->server, TASK,
					       &(struct zone_client){NULL, 0, ""}),
			 -ENOENT);
	while (sd_event_run(fx->event, 0) > 0)
		;
	assert_false(is_readable(udp)); /* dropped, not refused */
}

/* Another entry of the same key: the old one's questions are dropped. */
static void test_replaced_in_flight(void **state)
{
	struct fixture *fx = ready(state);
	auto_close int udp = client_open(fx, SOCK_DGRAM);
	const struct zone_client nobody = {NULL, 0, ""};
	struct dns_sockets sockets;
	struct reply rp;
	uint8_t msg[512];
	size_t size = question(msg, 1, "mute.example", WIRE_TYPE_A, 0);

	assert_int_equal(send(udp, msg, size, 0), size);
	wait_until_seen(fx, 1);
	assert_int_equal(dns_sockets_open(fx->nsfd, &sockets, NULL), 0);
	assert_int_not_equal(sockets.port, fx->port); /* that one is in use */
	fx->port = sockets.port;
	assert_int_equal(dns_server_add(fx->server, TASK, fx->nsfd, &sockets, NULL), 0);
	assert_int_equal(sockets.udp, -1);
	assert_int_equal(dns_divert(fx->nft, fx->port, NULL), 0);
	/* no client yet: nothing of the zone is seen */
	ask(fx, SOCK_DGRAM, "web", WIRE_TYPE_A, 0, &rp);
	assert_int_equal(rp.first[0], 192);
	assert_int_equal(dns_server_set_client(fx->server, TASK, &nobody), 0);
	ask(fx, SOCK_DGRAM, "web", WIRE_TYPE_A, 0, &rp);
	assert_int_equal(rp.first[0], 192);
}

/* The daemon is gone: its table is, and the resolver is asked directly. */
static void test_divert_gone(void **state)
{
	struct fixture *fx = ready(state);
	struct nft_sock *look = NULL;
	struct reply rp;

	assert_int_equal(nft_open(fx->nsfd, &look, NULL), 0);
	assert_int_equal(nft_chain_exists(look, NFT_FAMILY_INET, DNS_TABLE, NULL, NULL),
			 1);
	ask(fx, SOCK_DGRAM, "web", WIRE_TYPE_A, 0, &rp);
	assert_int_equal(rp.first[0], 10);
	server_stop(fx);
	assert_int_equal(nft_chain_exists(look, NFT_FAMILY_INET, DNS_TABLE, NULL, NULL),
			 0);
	nft_close(look);
	for (size_t i = 0; i < ARRAY_SIZE(transports); i++) {
		ask(fx, transports[i], "web", WIRE_TYPE_A, 0, &rp);
		assert_int_equal(rp.first[0], 192);
	}
}

/* A client that keeps its socket finds the next daemon: it has the same port. */
static void test_restart(void **state)
{
	struct fixture *fx = ready(state);
	auto_close int fd = client_open(fx, SOCK_DGRAM);
	uint16_t port = fx->port;
	struct reply rp;
	uint8_t msg[512];
	size_t size = question(msg, 9, "web", WIRE_TYPE_A, 0);

	for (int i = 0; i < 2; i++) {
		assert_int_equal(send(fd, msg, size, 0), size);
		udp_recv(fx, fd, &rp);
		assert_int_equal(rp.first[0], 10);
		ask(fx, SOCK_STREAM, "web", WIRE_TYPE_A, 0, &rp);
		assert_int_equal(rp.first[0], 10);
		if (i > 0)
			break;
		server_stop(fx);
		server_start(fx);
		assert_int_equal(fx->port, port);
	}
}

/* While its owner lives, the table is nobody else's. */
static void test_foreign_owner(void **state)
{
	struct fixture *fx = ready(state);
	struct nft_sock *other = NULL;
	struct err e = {.text = ""};
	struct reply rp;

	assert_int_equal(nft_open(fx->nsfd, &other, NULL), 0);
	assert_int_equal(dns_divert(other, 1, &e), -EPERM);
	assert_non_null(strstr(e.text, DNS_TABLE));
	nft_close(other);
	ask(fx, SOCK_DGRAM, "web", WIRE_TYPE_A, 0, &rp);
	assert_int_equal(rp.first[0], 10);
}

/* Runs dig in the namespace and returns what it prints. */
static void dig(struct fixture *fx, const char *args, char *out, size_t size)
{
	char command[256];
	char *argv[] = {"sh", "-c", command, NULL};
	posix_spawn_file_actions_t actions;
	size_t used = 0;
	ssize_t n = 1;
	int pipes[2];
	pid_t pid;
	int status;

	(void)snprintf(command, sizeof(command),
		       "exec nsenter --net=%s dig @127.0.0.11 +time=5 +tries=1 %s",
		       fx->path, args);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipes[1], 1), 0);
	assert_int_equal(posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(pipes[1]);
	while (n > 0 && used + 1 < size) {
		assert_true(wait_for(fx, pipes[0], WAIT_MS));
		n = read(pipes[0], out + used, size - 1 - used);
		assert_true(n >= 0);
		used += (size_t)n;
	}
	out[used] = '\0';
	(void)close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_dig(void **state)
{
	struct fixture *fx = ready(state);
	char out[16384];

	if (access("/usr/bin/dig", X_OK) < 0 || access("/usr/bin/nsenter", X_OK) < 0) {
		print_message("skip: no dig or nsenter\n");
		skip();
	}
	dig(fx, "+short web", out, sizeof(out));
	assert_string_equal(out, "10.0.0.1\n");
	dig(fx, "+tcp +short web", out, sizeof(out));
	assert_string_equal(out, "10.0.0.1\n");
	dig(fx, "+short -x 10.0.0.1", out, sizeof(out));
	assert_string_equal(out, "web.\n");
	dig(fx, "web AAAA", out, sizeof(out));
	assert_non_null(strstr(out, "status: NOERROR"));
	assert_non_null(strstr(out, "ANSWER: 0"));
	assert_non_null(strstr(out, "EDNS: version: 0"));
	dig(fx, "+edns=1 +noednsneg web", out, sizeof(out));
	assert_non_null(strstr(out, "status: BADVERS"));
	dig(fx, "nx.example", out, sizeof(out));
	assert_non_null(strstr(out, "status: NXDOMAIN"));
	dig(fx, "+noedns big.example", out, sizeof(out)); /* TC, then TCP by itself */
	assert_non_null(strstr(out, "ANSWER: 100"));
	assert_null(strstr(out, "WARNING"));
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

enum {
	ROUNDS = 1000
};

struct stopwatch {
	int fd;
	int done; /* eventfd */
	const char *name;
	uint64_t us[ROUNDS];
};

/* A client on a thread of its own, blocking, as in a container. */
static void *measure(void *arg)
{
	struct stopwatch *w = arg;
	uint8_t msg[512];
	uint8_t answer[512];
	const uint64_t one = 1;

	for (uint16_t i = 0; i < ROUNDS; i++) {
		size_t size = question(msg, i, w->name, WIRE_TYPE_A, 0);
		uint64_t start = clock_us();

		if (send(w->fd, msg, size, 0) < 0 ||
		    recv(w->fd, answer, sizeof(answer), 0) < 0)
			break;
		w->us[i] = clock_us() - start;
	}
	(void)!write(w->done, &one, sizeof(one)); /* else the wait times out */
	return NULL;
}

static void test_latency(void **state)
{
	static const char *const names[] = {"web", "ok.example"};
	struct fixture *fx = ready(state);
	auto_close int fd = client_open(fx, SOCK_DGRAM);

	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		auto_close int done = eventfd(0, EFD_CLOEXEC);
		static struct stopwatch w;
		pthread_t thread;

		w = (struct stopwatch){.fd = fd, .done = done, .name = names[k]};
		assert_int_equal(pthread_create(&thread, NULL, measure, &w), 0);
		assert_true(wait_for(fx, done, 6 * WAIT_MS));
		assert_int_equal(pthread_join(thread, NULL), 0);
		qsort(w.us, ROUNDS, sizeof(w.us[0]), compare_u64);
		assert_true(w.us[0] > 0); /* all came */
		print_message("# %s: median %u us, 99%% %u us\n", names[k],
			      (unsigned int)w.us[ROUNDS / 2],
			      (unsigned int)w.us[ROUNDS * 99 / 100]);
		assert_true(w.us[ROUNDS / 2] < 20000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_zone_names),
		TEST(test_forwarded),
		TEST(test_unchanged),
		TEST(test_big_answers),
		TEST(test_parallel),
		TEST(test_malformed),
		TEST(test_unreachable),
		TEST(test_no_answer),
		TEST(test_too_many),
		TEST(test_removed_in_flight),
		TEST(test_replaced_in_flight),
		TEST(test_divert_gone),
		TEST(test_restart),
		TEST(test_foreign_owner),
		TEST(test_dig),
		TEST(test_latency),
	};

	return RUN(tests);
}
