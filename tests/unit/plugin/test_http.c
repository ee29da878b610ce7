// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A real server in an event loop on a socket of its own, and raw clients: what they
 * send is what engines send, byte for byte. Blocking exchanges run on a thread while
 * the test's thread turns the loop; only the latter asserts.
 */
#include "plugin/http.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include <cmocka.h>

#define HELD_MAX     256
#define BODY_LIMIT   100000
#define PATIENCE_S   20
#define TURN_USEC    50000
#define HEADERS_2010 "Host: \r\nUser-Agent: Go-http-client/1.1\r\n"
#define ACCEPT	     "Accept: application/vnd.docker.plugins.v1.2+json\r\n"

struct fixture {
	char dir[64];
	char path[80];
	sd_event *event;
	struct http_server *server;
	struct http_request *held[HELD_MAX];
	unsigned int held_count;
	pid_t peer;
};

struct reply {
	unsigned int status; /* 0: none came */
	char head[1024];
	char *body;
	size_t len;
};

/* --- the server's side --------------------------------------------------------- */

static void reply_text(struct http_request *rq, const char *text)
{
	http_reply(rq, 200, "application/json", strdup(text), strlen(text));
}

static void reply_description(struct http_request *rq)
{
	const char *a = http_request_query(rq, "a");
	char text[256];
	size_t len;

	http_request_body(rq, &len);
	(void)snprintf(text, sizeof(text), "%s %s a=%s len=%zu", http_request_method(rq),
		       http_request_path(rq), a ? a : "-", len);
	reply_text(rq, text);
}

static void on_request(void *ctx, struct http_request *rq)
{
	struct fixture *f = ctx;
	const char *path = http_request_path(rq);
	size_t len;
	char *body;

	f->peer = http_request_peer(rq);
	if (!strcmp(path, "/hold")) {
		assert_true(f->held_count < HELD_MAX);
		f->held[f->held_count++] = rq;
	} else if (!strcmp(path, "/error")) {
		http_reply_error(rq, 400, http_request_body(rq, NULL));
	} else if (!strcmp(path, "/large")) {
		len = strtoul(http_request_query(rq, "size"), NULL, 10);
		body = malloc(len);
		memset(body, 'x', len);
		http_reply(rq, 200, "text/plain", body, len);
	} else if (!strcmp(path, "/empty")) {
		http_reply(rq, 200, "text/plain", NULL, 0);
	} else if (!strcmp(path, "/echo")) {
		reply_text(rq, http_request_body(rq, NULL));
	} else {
		reply_description(rq);
	}
}

static struct http_config config_of(struct fixture *f)
{
	return (struct http_config){
		.path = f->path,
		.listen_fd = -1,
		.mode = 0660,
		.body_limit = BODY_LIMIT,
		.connection_limit = 400,
		.handler = on_request,
		.ctx = f,
	};
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct http_config config;
	struct err e = {0};

	assert_non_null(f);
	strcpy(f->dir, "/tmp/fairlead-http-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_return_code(str_printf(f->path, sizeof(f->path), "%s/plugin.sock", f->dir),
			   0);
	assert_return_code(sd_event_new(&f->event), 0);
	config = config_of(f);
	assert_return_code(http_server_new(f->event, &config, &f->server, &e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_server_free(f->server);
	sd_event_unref(f->event);
	assert_return_code(rmdir(f->dir), errno); /* nothing is left in it */
	free(f);
	return 0;
}

/* --- the clients' side --------------------------------------------------------- */

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	assert_return_code(str_copy(sun.sun_path, sizeof(sun.sun_path), path), 0);
	return sun;
}

/* -1 with errno on failure. */
static int try_connect(const char *path)
{
	struct timeval limit = {.tv_sec = PATIENCE_S};
	struct sockaddr_un sun = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int client(struct fixture *f)
{
	int fd = try_connect(f->path);

	assert_true(fd >= 0);
	return fd;
}

static bool send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static bool recv_all(int fd, char *data, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, data, len, 0);

		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* Reads exactly one reply; bytes of the next one stay in the socket. */
static struct reply read_reply(int fd)
{
	struct reply r = {0};
	size_t n = 0;
	char *length;

	while (n + 1 < sizeof(r.head) && recv_all(fd, r.head + n, 1)) {
		r.head[++n] = '\0';
		if (strstr(r.head, "\r\n\r\n"))
			break;
	}
	length = strstr(r.head, "Content-Length: ");
	if (!strstr(r.head, "\r\n\r\n") || !length)
		return r;
	r.len = strtoul(length + strlen("Content-Length: "), NULL, 10);
	r.body = calloc(1, r.len + 1);
	if (recv_all(fd, r.body, r.len))
		r.status = (unsigned int)strtoul(r.head + strlen("HTTP/1.1 "), NULL, 10);
	return r;
}

static bool at_end(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) == 0;
}

/* As the engine's client sends it. */
static char *request(const char *path, const char *body)
{
	char *text = NULL;

	assert_true(asprintf(&text,
			     "POST %s HTTP/1.1\r\n" HEADERS_2010
			     "Content-Length: %zu\r\n" ACCEPT "\r\n%s",
			     path, strlen(body), body) > 0);
	return text;
}

static void send_request(int fd, const char *path, const char *body)
{
	auto_free char *text = request(path, body);

	assert_true(send_all(fd, text, strlen(text)));
}

/* --- both ---------------------------------------------------------------------- */

static void turn(struct fixture *f)
{
	assert_true(sd_event_run(f->event, TURN_USEC) >= 0);
}

static time_t deadline(void)
{
	return time(NULL) + PATIENCE_S;
}

static void turn_until_held(struct fixture *f, unsigned int count)
{
	for (time_t end = deadline(); f->held_count < count;) {
		assert_true(time(NULL) < end);
		turn(f);
	}
}

static void turn_until_readable(struct fixture *f, int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	for (time_t end = deadline(); poll(&pfd, 1, 0) == 0;) {
		assert_true(time(NULL) < end);
		turn(f);
	}
}

struct exchange {
	int fd;
	const char *text;
	size_t len;
	struct reply reply;
	int done_fd;
};

static void *exchange_thread(void *arg)
{
	struct exchange *x = arg;

	if (send_all(x->fd, x->text, x->len))
		x->reply = read_reply(x->fd);
	eventfd_write(x->done_fd, 1);
	return NULL;
}

static int on_done(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	(void)source;
	(void)fd;
	(void)revents;
	*(bool *)arg = true;
	return 0;
}

/* Sends text and returns the reply to it, with the loop turning. */
static struct reply exchange(struct fixture *f, int fd, const char *text, size_t len)
{
	struct exchange x = {.fd = fd, .text = text, .len = len};
	sd_event_source *source = NULL;
	bool done = false;
	pthread_t thread;

	x.done_fd = eventfd(0, EFD_CLOEXEC);
	assert_true(x.done_fd >= 0);
	assert_return_code(
		sd_event_add_io(f->event, &source, x.done_fd, POLLIN, on_done, &done), 0);
	assert_return_code(pthread_create(&thread, NULL, exchange_thread, &x), 0);
	while (!done)
		turn(f); /* the client's own time limits bound it */
	pthread_join(thread, NULL);
	sd_event_source_disable_unref(source);
	close(x.done_fd);
	return x.reply;
}

static void expect_reply(struct reply r, unsigned int status, const char *body)
{
	assert_int_equal(r.status, status);
	assert_string_equal(r.body, body);
	free(r.body);
}

static void expect_post(struct fixture *f, int fd, const char *path, const char *body)
{
	auto_free char *text = request(path, body);

	expect_reply(exchange(f, fd, text, strlen(text)), 200, body);
}

static void expect_closed(struct fixture *f, int fd)
{
	turn_until_readable(f, fd);
	assert_true(at_end(fd));
	close(fd);
}

/* --- requests ------------------------------------------------------------------ */

static void test_engine_headers(void **state)
{
	static const char *const cases[] = {
		/* 20.10: an empty Host, no Content-Type */
		"POST /p HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\n"
		"Content-Length: 3\r\n" ACCEPT "\r\n{}\n",
		"POST /p HTTP/1.1\r\nHost:\r\nContent-Length: 3\r\n\r\n{}\n",
		/* 25.0 and later */
		"POST /p HTTP/1.1\r\nHost: plugin.moby.localhost\r\n"
		"User-Agent: Go-http-client/1.1\r\nContent-Length: 3\r\n" ACCEPT
		"\r\n{}\n",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = client(f);
		struct reply r = exchange(f, fd, cases[i], strlen(cases[i]));

		assert_non_null(strstr(r.head, "Content-Type: application/json\r\n"));
		assert_null(strstr(r.head, "Connection: close"));
		expect_reply(r, 200, "POST /p a=- len=3");
		close(fd);
	}
	assert_int_equal(f->peer, getpid());
}

static void test_no_body(void **state)
{
	static const char *const cases[][2] = {
		{"POST /Plugin.Activate HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n",
		 "POST /Plugin.Activate a=- len=0"},
		{"GET /v1/status?a=b&c HTTP/1.1\r\nHost: x\r\n\r\n",
		 "GET /v1/status a=b len=0"},
		{"GET /?a=%20%22 HTTP/1.1\r\nHost: x\r\n\r\n", "GET / a= \" len=0"},
	};
	struct fixture *f = *state;
	int fd = client(f);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_reply(exchange(f, fd, cases[i][0], strlen(cases[i][0])), 200,
			     cases[i][1]);
	close(fd);
}

static void test_keep_alive(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	for (int i = 0; i < 20; i++)
		expect_post(f, fd, "/echo", "{\"again\":true}\n");
	close(fd);
}

static void test_pipeline(void **state)
{
	auto_free char *first = request("/hold", "1");
	auto_free char *second = request("/echo", "2");
	auto_free char *third = request("/hold", "3");
	auto_free char *all = NULL;
	struct fixture *f = *state;
	int fd = client(f);

	assert_true(asprintf(&all, "%s%s%s", first, second, third) > 0);
	assert_true(send_all(fd, all, strlen(all)));
	turn_until_held(f, 1);
	reply_text(f->held[0], "one");
	turn_until_held(f, 2); /* not before the first two are answered */
	expect_reply(read_reply(fd), 200, "one");
	expect_reply(read_reply(fd), 200, "2");
	reply_text(f->held[1], "three");
	turn_until_readable(f, fd);
	expect_reply(read_reply(fd), 200, "three");
	close(fd);
}

static void test_pieces(void **state)
{
	auto_free char *text = request("/echo", "{\"a\":\"slowly\"}\n");
	struct fixture *f = *state;
	int fd = client(f);

	for (char *p = text; *p; p++) {
		assert_true(send_all(fd, p, 1));
		assert_true(sd_event_run(f->event, 1000) >= 0);
	}
	turn_until_readable(f, fd);
	expect_reply(read_reply(fd), 200, "{\"a\":\"slowly\"}\n");
	close(fd);
}

static char *filled(size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	memset(text, 'y', len);
	text[len] = '\0';
	return text;
}

static void test_body_limit(void **state)
{
	static const size_t sizes[] = {4095, 4096, 4097, 65536, BODY_LIMIT};
	static const size_t too_large[] = {BODY_LIMIT + 1, 20 * BODY_LIMIT};
	const char *text413 = "{\"Err\":\"request body larger than 100000 bytes\","
			      "\"Error\":\"request body larger than 100000 bytes\"}";
	struct fixture *f = *state;
	int fd = client(f);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		auto_free char *body = filled(sizes[i]);

		expect_post(f, fd, "/echo", body);
	}
	for (size_t i = 0; i < ARRAY_SIZE(too_large); i++) {
		auto_free char *body = filled(too_large[i]);
		auto_free char *text = request("/echo", body);

		expect_reply(exchange(f, fd, text, strlen(text)), 413, text413);
	}
	expect_post(f, fd, "/echo", "the connection is still good");
	close(fd);
}

static void test_body_limit_chunked(void **state)
{
	auto_free char *chunk = filled(0x10000);
	auto_free char *text = NULL;
	struct fixture *f = *state;
	int fd = client(f);
	struct reply r;

	assert_true(asprintf(&text,
			     "POST /echo HTTP/1.1\r\nHost: \r\n"
			     "Transfer-Encoding: chunked\r\n\r\n"
			     "10000\r\n%s\r\n10000\r\n%s\r\n0\r\n\r\n",
			     chunk, chunk) > 0);
	r = exchange(f, fd, text, strlen(text));
	assert_int_equal(r.status, 413);
	free(r.body);
	expect_post(f, fd, "/echo", "the connection is still good");
	close(fd);
}

static void test_error_keys(void **state)
{
	static const char *const cases[][2] = {
		{"pool x: no such pool",
		 "{\"Err\":\"pool x: no such pool\",\"Error\":\"pool x: no such pool\"}"},
		{"a \"quote\"\n", "{\"Err\":\"a \\\"quote\\\"\\n\","
				  "\"Error\":\"a \\\"quote\\\"\\n\"}"},
		{"cut \xc3", "{\"Err\":\"cut ?\",\"Error\":\"cut ?\"}"},
	};
	struct fixture *f = *state;
	int fd = client(f);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *text = request("/error", cases[i][0]);

		expect_reply(exchange(f, fd, text, strlen(text)), 400, cases[i][1]);
	}
	close(fd);
}

static void test_answer_sizes(void **state)
{
	struct fixture *f = *state;
	auto_free char *empty = request("/empty", "");
	auto_free char *large = request("/large?size=8000000", "");
	int fd = client(f);
	struct reply r;

	expect_reply(exchange(f, fd, empty, strlen(empty)), 200, "");
	r = exchange(f, fd, large, strlen(large));
	assert_int_equal(r.status, 200);
	assert_int_equal(r.len, 8000000);
	free(r.body);
	close(fd);
}

static void test_broken_requests(void **state)
{
	static const char *const cases[] = {
		"\x16\x03\x01\x02\x01\r\n\r\n",
		"POST /echo HTTP/9.9\r\nHost: \r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: \r\nContent-Length: -1\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: \r\nContent-Length: 99999999999999999999"
		"\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: \r\nTransfer-Encoding: "
		"chunked\r\n\r\nzz\r\n",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = client(f);

		assert_true(send_all(fd, cases[i], strlen(cases[i])));
		turn_until_readable(f, fd); /* an answer or the end */
		close(fd);
	}
	for (int i = 0; i < 3; i++) { /* leaves in the middle of a request */
		int fd = client(f);

		assert_true(send_all(fd,
				     "POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
				     41 + (size_t)i));
		turn(f);
		close(fd);
	}
	assert_int_equal(f->held_count, 0);
	int fd = client(f);

	expect_post(f, fd, "/echo", "alive");
	close(fd);
}

/* --- many, late and lost ones -------------------------------------------------- */

static void test_parallel(void **state)
{
	enum {
		COUNT = 150
	};
	struct fixture *f = *state;
	int fds[COUNT];
	int turns = 0;

	for (unsigned int i = 0; i < COUNT; i++) {
		char body[16];

		fds[i] = client(f);
		(void)snprintf(body, sizeof(body), "%u", i);
		send_request(fds[i], "/hold", body);
	}
	turn_until_held(f, COUNT);
	assert_int_equal(http_server_pending(f->server), COUNT);
	while (sd_event_run(f->event, 0) > 0) /* suspended ones must not keep it busy */
		assert_true(++turns < 20);
	for (unsigned int i = COUNT; i-- > 0;) {
		size_t len;
		const char *body = http_request_body(f->held[i], &len);
		char *copy = strndup(body, len);

		http_reply(f->held[i], 200, "text/plain", copy, len);
	}
	assert_int_equal(http_server_pending(f->server), 0);
	for (unsigned int i = 0; i < COUNT; i++) {
		char body[16];

		(void)snprintf(body, sizeof(body), "%u", i);
		turn_until_readable(f, fds[i]);
		expect_reply(read_reply(fds[i]), 200, body);
		expect_post(f, fds[i], "/echo", "once more");
		close(fds[i]);
	}
}

/* Nothing but the loop's own turns may lie between an answer and its bytes. */
static void test_no_delay(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	int turns = 0;

	send_request(fd, "/hold", "x");
	turn_until_held(f, 1);
	while (sd_event_run(f->event, 0) > 0)
		;
	reply_text(f->held[0], "now");
	while (sd_event_run(f->event, 0) > 0)
		assert_true(++turns < 20);
	assert_int_equal(poll(&pfd, 1, 0), 1);
	expect_reply(read_reply(fd), 200, "now");
	close(fd);
}

static void test_client_gone(void **state)
{
	struct fixture *f = *state;
	int fd;

	for (int i = 0; i < 3; i++) {
		fd = client(f);
		send_request(fd, "/hold", "x");
		turn_until_held(f, (unsigned int)i + 1);
		close(fd);
	}
	while (sd_event_run(f->event, 0) > 0)
		;
	assert_int_equal(http_server_pending(f->server), 3);
	assert_string_equal(http_request_path(f->held[1]), "/hold");
	assert_string_equal(http_request_body(f->held[1], NULL), "x");
	for (int i = 0; i < 3; i++)
		reply_text(f->held[i], "too late");
	assert_int_equal(http_server_pending(f->server), 0);
	fd = client(f);
	expect_post(f, fd, "/echo", "alive");
	close(fd);
}

static void test_connection_limit(void **state)
{
	enum {
		COUNT = 12,
		LIMIT = 4
	};
	struct fixture *f = *state;
	struct http_config config = config_of(f);
	int fds[COUNT];
	struct err e;

	http_server_free(TAKE(f->server));
	config.connection_limit = LIMIT;
	assert_return_code(http_server_new(f->event, &config, &f->server, &e), 0);
	for (int i = 0; i < COUNT; i++) {
		fds[i] = client(f);
		send_request(fds[i], "/hold", "x");
	}
	for (int i = 0; i < COUNT; i++) { /* the others wait, none is refused */
		turn_until_held(f, (unsigned int)i + 1);
		assert_true(http_server_pending(f->server) <= LIMIT);
		reply_text(f->held[i], "ok");
		turn_until_readable(f, fds[i]);
		expect_reply(read_reply(fds[i]), 200, "ok");
		close(fds[i]);
	}
}

/* No file descriptor is to be had any more, until the old limit is set again. */
static struct rlimit use_up_fds(void)
{
	struct rlimit old;
	struct rlimit now;
	int next = dup(STDERR_FILENO);

	assert_true(next >= 0);
	close(next);
	assert_return_code(getrlimit(RLIMIT_NOFILE, &old), errno);
	now = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max};
	assert_return_code(setrlimit(RLIMIT_NOFILE, &now), errno);
	return old;
}

static void ask_again(struct fixture *f, int fd, const char *body)
{
	send_request(fd, "/echo", body);
	turn_until_readable(f, fd);
	expect_reply(read_reply(fd), 200, body);
}

static void test_no_fds(void **state)
{
	struct fixture *f = *state;

	for (int known = 0; known < 2; known++) { /* with none served yet, and with one */
		int old = known ? client(f) : -1;
		struct rlimit limit;
		struct pollfd pfd;
		int turns = 0;

		if (known)
			ask_again(f, old, "before");
		pfd = (struct pollfd){.fd = client(f), .events = POLLIN};
		send_request(pfd.fd, "/echo", "late");
		limit = use_up_fds();
		while (sd_event_run(f->event, 0) > 0) /* it must not try all the time */
			assert_true(++turns < 20);
		if (known)
			ask_again(f, old, "still served");
		assert_int_equal(poll(&pfd, 1, 0), 0);
		assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
		turn_until_readable(f, pfd.fd);
		expect_reply(read_reply(pfd.fd), 200, "late");
		close(pfd.fd);
		if (known)
			close(old);
	}
}

/* --- the end ------------------------------------------------------------------- */

static void test_drain(void **state)
{
	struct fixture *f = *state;
	int flying = client(f);
	int idle = client(f);
	struct reply r;

	expect_post(f, idle, "/echo", "before");
	send_request(flying, "/hold", "x");
	turn_until_held(f, 1);
	http_server_drain(f->server);
	http_server_drain(f->server); /* a second time changes nothing */
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(try_connect(f->path), -1);
	assert_int_equal(http_server_pending(f->server), 1);

	send_request(idle, "/echo", "after");
	turn_until_readable(f, idle);
	r = read_reply(idle);
	assert_non_null(strstr(r.head, "Connection: close"));
	expect_reply(r, 503, "{\"Err\":\"shutting down\",\"Error\":\"shutting down\"}");
	expect_closed(f, idle);

	reply_text(f->held[0], "done");
	assert_int_equal(http_server_pending(f->server), 0);
	turn_until_readable(f, flying);
	r = read_reply(flying);
	assert_non_null(strstr(r.head, "Connection: close"));
	expect_reply(r, 200, "done");
	expect_closed(f, flying);
}

/* A request whose body has come in part, and the rest of it. */
static void test_drain_reads_on(void **state)
{
	static const char begin[] = "POST /echo HTTP/1.1\r\nHost:\r\n"
				    "Content-Length: 6\r\n\r\nhal";
	struct fixture *f = *state;
	int fd = client(f);
	int never = client(f);
	struct reply r;

	assert_true(send_all(fd, begin, strlen(begin)));
	assert_true(send_all(never, begin, strlen(begin)));
	for (int i = 0; http_server_pending(f->server) < 2; i++) {
		assert_true(i < 100);
		turn(f);
	}
	http_server_drain(f->server);
	assert_int_equal(http_server_pending(f->server), 2);
	assert_true(send_all(fd, "ves", 3));
	turn_until_readable(f, fd);
	r = read_reply(fd);
	assert_non_null(strstr(r.head, "Connection: close"));
	expect_reply(r, 200, "halves");
	assert_int_equal(http_server_pending(f->server), 1);
	assert_true(send_all(never, "ves", 3)); /* comes when it is too late */
	http_server_free(TAKE(f->server));
	r = read_reply(never);
	assert_int_equal(r.status, 503);
	free(r.body);
	close(never);
	close(fd);
}

static void test_drain_waits_in_backlog(void **state)
{
	struct fixture *f = *state;
	int fd = client(f); /* connected, not accepted */

	http_server_drain(f->server);
	assert_false(recv_all(fd, (char[1]){0}, 1)); /* the engine tries again */
	close(fd);
}

static void test_free_answers(void **state)
{
	struct fixture *f = *state;
	int fds[20];

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = client(f);
		send_request(fds[i], "/hold", "x");
	}
	turn_until_held(f, ARRAY_SIZE(fds));
	reply_text(f->held[0], "just in time"); /* not written yet */
	http_server_free(TAKE(f->server));
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		struct reply r = read_reply(fds[i]);

		assert_int_equal(r.status, i == 0 ? 200 : 503);
		assert_true(at_end(fds[i]));
		free(r.body);
		close(fds[i]);
	}
}

static void test_free_does_not_hang(void **state)
{
	struct fixture *f = *state;
	auto_free char *large = request("/large?size=8000000", "");
	int fd = client(f);

	assert_true(send_all(fd, large, strlen(large)));
	turn_until_readable(f, fd);
	http_server_free(TAKE(f->server)); /* the client never reads */
	close(fd);
}

/* --- the socket file ----------------------------------------------------------- */

static int bind_stale(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sun = address(path);

	assert_true(fd >= 0);
	assert_return_code(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), errno);
	return fd;
}

static void test_stale_socket(void **state)
{
	struct fixture *f = *state;
	struct http_config config = config_of(f);
	char temp[100];
	struct stat st;
	struct err e;
	int fd;

	http_server_free(TAKE(f->server));
	assert_int_equal(access(f->path, F_OK), -1);
	(void)snprintf(temp, sizeof(temp), "%s.new", f->path);
	close(bind_stale(f->path)); /* of one that was killed */
	close(bind_stale(temp));    /* of one that was killed early */
	assert_return_code(http_server_new(f->event, &config, &f->server, &e), 0);
	assert_int_equal(access(temp, F_OK), -1);
	assert_return_code(stat(f->path, &st), errno);
	assert_int_equal(st.st_mode & 07777, 0660);
	fd = client(f);
	expect_post(f, fd, "/echo", "replaced");
	close(fd);
}

static void test_successor(void **state)
{
	struct fixture *f = *state;
	struct http_config config = config_of(f);
	struct http_server *old = f->server;
	struct err e;
	int fd;

	assert_return_code(http_server_new(f->event, &config, &f->server, &e), 0);
	http_server_free(old);
	fd = client(f); /* the name was left to the new one */
	expect_post(f, fd, "/echo", "successor");
	close(fd);
}

static void test_bad_paths(void **state)
{
	struct fixture *f = *state;
	struct http_config config = config_of(f);
	struct http_server *s = NULL;
	struct err e = {0};
	char path[200];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/precious", f->dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	config.path = path;
	assert_int_equal(http_server_new(f->event, &config, &s, &e), -EEXIST);
	assert_non_null(strstr(e.text, path));
	assert_return_code(unlink(path), errno); /* it is still there */

	(void)snprintf(path, sizeof(path), "%s/nowhere/x.sock", f->dir);
	assert_int_equal(http_server_new(f->event, &config, &s, &e), -ENOENT);
	assert_non_null(strstr(e.text, path));

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(http_server_new(f->event, &config, &s, &e), -ENAMETOOLONG);
	path[105] = '\0'; /* fits, but not with what is added for a moment */
	assert_int_equal(http_server_new(f->event, &config, &s, &e), -ENAMETOOLONG);
	assert_null(s);
}

static void test_inherited(void **state)
{
	struct fixture *f = *state;
	struct http_config config = config_of(f);
	struct err e = {0};
	int fd;

	http_server_free(TAKE(f->server));
	config.path = NULL;
	config.listen_fd = bind_stale(f->path);
	assert_int_equal(http_server_new(f->event, &config, &f->server, &e), -EINVAL);
	assert_null(f->server);
	assert_return_code(unlink(f->path), errno);

	config.listen_fd = bind_stale(f->path);
	assert_return_code(listen(config.listen_fd, 10), errno);
	assert_return_code(http_server_new(f->event, &config, &f->server, &e), 0);
	fd = client(f);
	expect_post(f, fd, "/echo", "activated");
	close(fd);
	http_server_free(TAKE(f->server));
	assert_return_code(unlink(f->path), errno); /* it is not ours */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_engine_headers),
		TEST(test_no_body),
		TEST(test_keep_alive),
		TEST(test_pipeline),
		TEST(test_pieces),
		TEST(test_body_limit),
		TEST(test_body_limit_chunked),
		TEST(test_error_keys),
		TEST(test_answer_sizes),
		TEST(test_broken_requests),
		TEST(test_parallel),
		TEST(test_no_delay),
		TEST(test_client_gone),
		TEST(test_connection_limit),
		TEST(test_no_fds),
		TEST(test_drain),
		TEST(test_drain_reads_on),
		TEST(test_drain_waits_in_backlog),
		TEST(test_free_answers),
		TEST(test_free_does_not_hang),
		TEST(test_stale_socket),
		TEST(test_successor),
		TEST(test_bad_paths),
		TEST(test_inherited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
