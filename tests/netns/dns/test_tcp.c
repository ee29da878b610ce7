// SPDX-License-Identifier: GPL-2.0-or-later
/* DNS over TCP: many questions, clients that are slow or hostile, and the bounds. */
#include "tests/netns/dns/fixture.h"

/* Many questions in few segments, cut anywhere, then the end: all are answered. */
static void test_tcp_pipeline(void **state)
{
	enum {
		COUNT = 100
	};
	struct fixture *fx = ready(state);
	auto_close int fd = client_open(fx, SOCK_STREAM);
	bool seen[COUNT] = {false};
	uint8_t data[COUNT * 64];
	struct reply rp;
	size_t size = 0;

	for (uint16_t i = 0; i < COUNT; i++) {
		size_t len = question(data + size + 2, i, i % 2 ? "ok.org" : "web",
				      WIRE_TYPE_A, 0);

		wire_put16(data + size, (uint16_t)len);
		size += 2 + len;
	}
	assert_int_equal(send(fd, data, 1, 0), 1);
	for (int i = 0; i < 3; i++)
		assert_true(sd_event_run(fx->event, 5000) >= 0);
	assert_int_equal(send(fd, data + 1, 1000, 0), 1000);
	assert_true(tcp_recv(fx, fd, &rp));
	seen[wire_get16(rp.data)] = true;
	assert_int_equal(send(fd, data + 1001, size - 1001, 0), size - 1001);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	for (unsigned int i = 1; i < COUNT; i++) {
		uint16_t id;

		assert_true(tcp_recv(fx, fd, &rp));
		id = wire_get16(rp.data);
		assert_true(id < COUNT && !seen[id]);
		seen[id] = true;
		assert_int_equal(rp.first[0], id % 2 ? 192 : 10);
	}
	assert_false(tcp_recv(fx, fd, &rp)); /* and then it is closed */
}

/* Questions that wait behind 32 others, behind them the end: none is forgotten. */
static void test_tcp_paused(void **state)
{
	enum {
		HELD = 32,
		COUNT = HELD + 10
	};
	struct fixture *fx = ready(state);
	auto_close int fd = client_open(fx, SOCK_STREAM);
	uint8_t data[COUNT * 64];
	struct reply rp;
	size_t size = 0;

	for (uint16_t i = 0; i < COUNT; i++) {
		size_t len = question(data + size + 2, i, i < HELD ? "hold.org" : "web",
				      WIRE_TYPE_A, 0);

		wire_put16(data + size, (uint16_t)len);
		size += 2 + len;
	}
	assert_int_equal(send(fd, data, size, 0), size);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	wait_until_seen(fx, HELD);
	assert_false(wait_for(fx, fd, 0)); /* "web" waits for its turn */
	fake_release(&fx->fake);
	for (unsigned int i = 0; i < COUNT; i++)
		assert_true(tcp_recv(fx, fd, &rp));
	assert_false(tcp_recv(fx, fd, &rp));
}

/* A client that reads nothing is held back, then cut off; others are not disturbed. */
static void test_tcp_no_reader(void **state)
{
	struct fixture *fx = ready(state);
	auto_close int fd = client_open(fx, SOCK_STREAM);
	uint8_t msg[512];
	size_t size = question(msg + 2, 1, "many", WIRE_TYPE_A, 0);
	uint64_t end = clock_us() + WAIT_MS * 1000ULL;
	struct reply rp;

	wire_put16(msg, (uint16_t)size);
	for (;;) { /* 3 KB of answer for each */
		ssize_t n = send(fd, msg, size + 2, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			break;
		assert_true(clock_us() < end);
		assert_true(sd_event_run(fx->event, 1000) >= 0);
	}
	ask(fx, SOCK_STREAM, "web", WIRE_TYPE_A, 0, &rp);
	assert_int_equal(rp.count, 1);
}

static void test_tcp_limits(void **state)
{
	enum {
		COUNT = TCP_CONNS_MAX + 8
	};
	struct fixture *fx = ready(state);
	struct reply rp;
	uint8_t msg[512];
	size_t size = question(msg, 7, "web", WIRE_TYPE_A, 0);
	int fds[COUNT];
	unsigned int closed = 0;

	for (int i = 0; i < COUNT; i++) {
		fds[i] = client_open(fx, SOCK_STREAM);
		tcp_send(fds[i], msg, size);
		assert_true(tcp_recv(fx, fds[i], &rp));
	}
	for (int i = 0; i < COUNT; i++) {
		if (is_readable(fds[i])) {
			assert_false(tcp_recv(fx, fds[i], &rp));
			assert_true(i < COUNT - TCP_CONNS_MAX); /* the longest idle */
			closed++;
		}
	}
	assert_int_equal(closed, COUNT - TCP_CONNS_MAX);
	tcp_send(fds[COUNT - 1], msg, size);
	assert_true(tcp_recv(fx, fds[COUNT - 1], &rp));
	for (int i = 0; i < COUNT; i++)
		(void)close(fds[i]);
}

static void test_tcp_bad_length(void **state)
{
	static const char *const prefixes[] = {"\0\0", "\xff\xff"};
	struct fixture *fx = ready(state);
	struct reply rp;

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		auto_close int fd = client_open(fx, SOCK_STREAM);

		assert_int_equal(send(fd, prefixes[i], 2, 0), 2);
		assert_false(tcp_recv(fx, fd, &rp));
	}
}

/* Nothing is asked: closed. A time-out at the resolver is answered. */
static void test_tcp_idle(void **state)
{
	enum {
		IDLE_MS = 100
	};
	struct fixture *fx = ready(state);
	const struct tcp_ops ops = {on_fake_tcp, &fx->fake, IDLE_MS};
	struct tcp_listener *l = NULL;
	int tcp = fake_socket(fx, SOCK_STREAM, 0);
	uint16_t port = fake_listen(tcp);
	auto_close int fd = client_open_port(fx, SOCK_STREAM, port);
	uint64_t start = clock_us();
	struct reply rp;
	uint8_t msg[512];
	size_t size = question(msg, 1, "mute.example", WIRE_TYPE_A, 0);

	assert_int_equal(tcp_listener_new(fx->event, tcp, &ops, &l, NULL), 0);
	assert_int_equal(send(fd, "\0", 1, 0), 1); /* half a prefix is no activity */
	assert_false(tcp_recv(fx, fd, &rp));
	assert_true(clock_us() - start >= IDLE_MS * 1000);
	tcp_listener_free(l);

	(void)close(fd);
	fd = client_open(fx, SOCK_STREAM);
	dns_server_set_timeout(fx->server, 100);
	tcp_send(fd, msg, size);
	assert_true(tcp_recv(fx, fd, &rp));
	assert_int_equal(rp.rcode, WIRE_RCODE_SERVFAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tcp_pipeline),   TEST(test_tcp_paused),
		TEST(test_tcp_no_reader),  TEST(test_tcp_limits),
		TEST(test_tcp_bad_length), TEST(test_tcp_idle),
	};

	return RUN(tests);
}
