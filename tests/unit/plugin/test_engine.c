// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine client against a fake engine on a unix socket in the same loop: what it
 * asks for, what it tells, and how it comes back after failures. What is told is
 * recorded as lines of text.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "plugin/base/clock.h"
#include "plugin/base/log.h"
#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/engine.h"

#define WAIT_USEC 8000000
#define ID_A	  "aa00000000000000000000000000000000000000000000000000000000000001"
#define ID_B	  "bb00000000000000000000000000000000000000000000000000000000000002"
#define ID_C	  "cc00000000000000000000000000000000000000000000000000000000000003"

struct fake;

struct conn {
	LIST_ENTRY(conn) link;
	struct fake *fake;
	sd_event_source *source;
	int fd;
	char in[4096];
	size_t len;
	char held[ENGINE_ID_SIZE]; /* an inspection without answer yet */
	bool stream;
};

struct fake {
	sd_event *event;
	char dir[64];
	char path[96];
	char url[128];
	int listen_fd;
	sd_event_source *source;
	LIST_HEAD(, conn) conns;
	/* behaviour */
	const char *version; /* NULL: no header */
	int ping_status;
	int stream_status;
	int inspect_status;
	bool inspect_garbage;
	const char *list; /* ids, separated by spaces; NULL: garbage */
	const char *networks;
	const char *hold;    /* prefix of ids that are not answered */
	const char *missing; /* prefix of ids that are not there */
	/* what was seen */
	unsigned int lists;
	unsigned int streams;
	unsigned int inspections;
	char stream_path[512];
	/* what the client told */
	struct engine *engine;
	char log[65536];
	char running[256]; /* as told last */
	char names[256];   /* of networks, as told */
	bool timed_out;
};

static void conn_free(struct conn *c)
{
	LIST_REMOVE(c, link);
	sd_event_source_disable_unref(c->source);
	close(c->fd);
	free(c);
}

static void conn_send(struct conn *c, const char *text, size_t len)
{
	ssize_t n = send(c->fd, text, len, MSG_NOSIGNAL);

	if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
		return; /* the client has given this request up */
	assert_int_equal(n, len);
}

static void answer(struct conn *c, int status, const char *header, const char *body)
{
	auto_free char *text = NULL;
	int len = asprintf(&text, "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\n\r\n%s",
			   status, header, strlen(body), body);

	assert_true(len > 0);
	conn_send(c, text, (size_t)len);
}

static void answer_ping(struct conn *c)
{
	char header[64] = "";

	if (c->fake->version)
		(void)snprintf(header, sizeof(header), "Api-Version: %s\r\n",
			       c->fake->version);
	answer(c, c->fake->ping_status, header, "OK");
}

static void answer_stream(struct conn *c, const char *path)
{
	static const char text[] =
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

	c->fake->streams++;
	(void)snprintf(c->fake->stream_path, sizeof(c->fake->stream_path), "%s", path);
	if (c->fake->stream_status != 200) {
		answer(c, c->fake->stream_status, "",
		       "{\"message\":\"client version is too new\"}");
		return;
	}
	c->stream = true;
	conn_send(c, text, strlen(text));
}

static void answer_list(struct conn *c)
{
	char body[32768] = "[";
	char copy[16384];
	char *save = NULL;
	size_t len = 1;

	c->fake->lists++;
	if (!c->fake->list) {
		answer(c, 200, "", "[{\"Id\":");
		return;
	}
	(void)snprintf(copy, sizeof(copy), "%s", c->fake->list);
	for (char *id = strtok_r(copy, " ", &save); id; id = strtok_r(NULL, " ", &save))
		len += (size_t)snprintf(body + len, sizeof(body) - len,
					"%s{\"Id\":\"%s\"}", len > 1 ? "," : "", id);
	(void)snprintf(body + len, sizeof(body) - len, "]");
	answer(c, 200, "", body);
}

static void answer_inspection(struct conn *c, const char *id)
{
	struct fake *f = c->fake;
	char body[512];

	if (f->missing && str_has_prefix(id, f->missing)) {
		answer(c, 404, "", "{\"message\":\"No such container\"}");
		return;
	}
	if (f->inspect_status != 200) {
		answer(c, f->inspect_status, "", "{\"message\":\"oops\"}");
		return;
	}
	if (f->inspect_garbage) {
		answer(c, 200, "", "{}");
		return;
	}
	(void)snprintf(body, sizeof(body),
		       "{\"Id\":\"%s\",\"Name\":\"/%.2s\",\"State\":{\"Running\":true},"
		       "\"Config\":{\"Labels\":{\"fairlead.service\":\"web\"}},"
		       "\"NetworkSettings\":{\"Networks\":{\"n\":{\"NetworkID\":\"n1\","
		       "\"EndpointID\":\"e1\"}}}}",
		       id, id);
	answer(c, 200, "", body);
}

static void handle(struct conn *c, char *path)
{
	char *tail = strstr(path, "/containers/");
	char *end;

	if (!strcmp(path, "/_ping")) {
		answer_ping(c);
	} else if (strstr(path, "/events?")) {
		answer_stream(c, path);
	} else if (strstr(path, "/networks")) {
		answer(c, 200, "", c->fake->networks);
	} else if (tail && !strcmp(tail, "/containers/json")) {
		answer_list(c);
	} else if (tail) {
		tail += strlen("/containers/");
		end = strstr(tail, "/json");
		assert_non_null(end);
		*end = '\0';
		c->fake->inspections++;
		if (c->fake->hold && str_has_prefix(tail, c->fake->hold))
			(void)str_copy(c->held, sizeof(c->held), tail);
		else
			answer_inspection(c, tail);
	} else {
		fail_msg("unexpected path %s", path);
	}
}

static int on_conn(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct conn *c = userdata;
	ssize_t n = read(fd, c->in + c->len, sizeof(c->in) - 1 - c->len);
	char path[512];

	(void)source;
	(void)revents;
	if (n <= 0) {
		conn_free(c);
		return 0;
	}
	c->len += (size_t)n;
	c->in[c->len] = '\0';
	if (!strstr(c->in, "\r\n\r\n"))
		return 0;
	assert_int_equal(sscanf(c->in, "GET %511s HTTP/1.1", path), 1);
	c->len = 0;
	handle(c, path);
	return 0;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct conn *c = calloc(1, sizeof(*c));

	(void)source;
	(void)revents;
	assert_non_null(c);
	c->fake = userdata;
	c->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(c->fd >= 0);
	LIST_INSERT_HEAD(&c->fake->conns, c, link);
	assert_return_code(
		sd_event_add_io(c->fake->event, &c->source, c->fd, EPOLLIN, on_conn, c),
		0);
	return 0;
}

static void server_start(struct fake *f)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	(void)str_copy(sa.sun_path, sizeof(sa.sun_path), f->path);
	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(f->listen_fd >= 0);
	assert_return_code(bind(f->listen_fd, (struct sockaddr *)&sa, sizeof(sa)), errno);
	assert_return_code(listen(f->listen_fd, 128), errno);
	assert_return_code(sd_event_add_io(f->event, &f->source, f->listen_fd, EPOLLIN,
					   on_accept, f),
			   0);
}

static void server_stop(struct fake *f)
{
	while (!LIST_EMPTY(&f->conns))
		conn_free(LIST_FIRST(&f->conns));
	if (!f->source)
		return;
	f->source = sd_event_source_disable_unref(f->source);
	close(f->listen_fd);
	unlink(f->path);
}

/* Answers what is held. */
static void release(struct fake *f)
{
	struct conn *c;

	f->hold = NULL;
	LIST_FOREACH(c, &f->conns, link)
	{
		if (!c->held[0])
			continue;
		answer_inspection(c, c->held);
		c->held[0] = '\0';
	}
}

static unsigned int held(const struct fake *f)
{
	unsigned int n = 0;
	struct conn *c;

	LIST_FOREACH(c, &f->conns, link)
	n += c->held[0] != '\0';
	return n;
}

/* Sends a piece of the stream as one chunk. */
static void push(struct fake *f, const char *text)
{
	char head[32];
	struct conn *c;

	LIST_FOREACH(c, &f->conns, link)
	{
		if (!c->stream)
			continue;
		(void)snprintf(head, sizeof(head), "%zx\r\n", strlen(text));
		conn_send(c, head, strlen(head));
		conn_send(c, text, strlen(text));
		conn_send(c, "\r\n", 2);
		return;
	}
	fail_msg("no stream");
}

static void push_event(struct fake *f, const char *action, const char *id,
		       const char *attr)
{
	char line[512];

	(void)snprintf(
		line, sizeof(line),
		"{\"Type\":\"container\",\"Action\":\"%s\",\"Actor\":{\"ID\":\"%s\","
		"\"Attributes\":{%s}},\"timeNano\":1795258498489725700}\n",
		action, id, attr);
	push(f, line);
}

static void push_connect(struct fake *f, const char *container)
{
	char line[512];

	(void)snprintf(
		line, sizeof(line),
		"{\"Type\":\"network\",\"Action\":\"connect\",\"Actor\":{\"ID\":"
		"\"7r845su8w7o6oabigxt7q9nkx\",\"Attributes\":{\"container\":\"%s\"}}}\n",
		container);
	push(f, line);
}

static void push_network(struct fake *f, const char *action)
{
	char line[512];

	(void)snprintf(line, sizeof(line),
		       "{\"Type\":\"network\",\"Action\":\"%s\",\"Actor\":{\"ID\":"
		       "\"7r845su8w7o6oabigxt7q9nkx\",\"Attributes\":{}}}\n",
		       action);
	push(f, line);
}

static void break_stream(struct fake *f)
{
	struct conn *c;

	LIST_FOREACH(c, &f->conns, link)
	{
		if (c->stream) {
			conn_free(c);
			return;
		}
	}
	fail_msg("no stream");
}

static void record(struct fake *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void record(struct fake *f, const char *fmt, ...)
{
	size_t len = strlen(f->log);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(f->log + len, sizeof(f->log) - len, fmt, ap);
	va_end(ap);
}

static void on_container(void *ctx, const struct engine_container *c)
{
	record(ctx, "container %s running=%d labels=%u endpoints=%u\n", c->name,
	       c->running, c->label_count, c->endpoint_count);
}

static void on_event(void *ctx, const char *id, enum engine_event event, int signal,
		     enum engine_health health)
{
	static const char *const names[] = {"kill", "die", "pause", "unpause", "health"};

	record(ctx, "%s %.2s signal=%d health=%d\n", names[event], id, signal,
	       (int)health);
}

/* Before each "synced". */
static void on_running(void *ctx, const struct engine_running *running)
{
	struct fake *f = ctx;
	size_t len = 0;

	for (unsigned int i = 0; i < running->count && len < sizeof(f->running) - 16; i++)
		len += (size_t)snprintf(f->running + len, 4, "%.2s ", running->ids[i]);
	(void)snprintf(f->running + len, sizeof(f->running) - len, "complete=%d",
		       running->complete);
}

static void on_state(void *ctx, const char *version, bool synced, const char *text)
{
	record(ctx, "state %s synced=%d %s\n", version ? version : "-", synced, text);
}

static int on_limit(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	((struct fake *)userdata)->timed_out = true;
	return 0;
}

/* Runs the loop until test() is true. */
static void run_until(struct fake *f, bool (*test)(struct fake *f, const void *arg),
		      const void *arg, const char *what)
{
	sd_event_source *limit = NULL;

	f->timed_out = false;
	assert_return_code(sd_event_add_time_relative(f->event, &limit, CLOCK_MONOTONIC,
						      WAIT_USEC, 0, on_limit, f),
			   0);
	while (!test(f, arg) && !f->timed_out)
		assert_true(sd_event_run(f->event, UINT64_MAX) >= 0);
	sd_event_source_disable_unref(limit);
	if (f->timed_out)
		fail_msg("waited for \"%s\", told was:\n%snetworks: %s", what, f->log,
			 f->names);
}

static bool log_has(struct fake *f, const void *arg)
{
	return strstr(f->log, arg) != NULL;
}

static void wait_log(struct fake *f, const char *text)
{
	run_until(f, log_has, text, text);
}

static bool seen_equal(struct fake *f, const void *arg)
{
	return f->inspections >= *(const unsigned int *)arg;
}

static void wait_inspections(struct fake *f, unsigned int count)
{
	run_until(f, seen_equal, &count, "inspections");
}

/* All that is under way between two ends of a socket is done after an event that was
 * sent after it came through. */
static void settle(struct fake *f)
{
	static unsigned int number;
	char text[64];
	char attr[64];

	number = number % 30 + 1;
	(void)snprintf(attr, sizeof(attr), "\"signal\":\"%u\"", number);
	(void)snprintf(text, sizeof(text), "kill ff signal=%u", number);
	push_event(f, "kill", "ff", attr);
	wait_log(f, text);
}

static void clear(struct fake *f)
{
	f->log[0] = '\0';
	f->inspections = 0;
}

static void on_networks(void *ctx, const struct engine_network *list, unsigned int count)
{
	struct fake *f = ctx;
	char text[CIDR_TEXT_SIZE];
	size_t len = 0;

	f->names[0] = '\0';
	for (unsigned int i = 0; i < count; i++) {
		len += (size_t)snprintf(f->names + len, sizeof(f->names) - len,
					"%s %s %s", list[i].id, list[i].name,
					list[i].driver);
		for (unsigned int k = 0; k < list[i].subnet_count; k++)
			len += (size_t)snprintf(f->names + len, sizeof(f->names) - len,
						" %s",
						cidr_format(&list[i].subnets[k], text));
		len += (size_t)snprintf(f->names + len, sizeof(f->names) - len, "; ");
	}
}

static void client_start(struct fake *f)
{
	const struct engine_callbacks callbacks = {.container = on_container,
						   .networks = on_networks,
						   .event = on_event,
						   .running = on_running,
						   .state = on_state,
						   .ctx = f};
	struct err e = {0};

	assert_int_equal(engine_new(f->event, f->url, &callbacks, &f->engine, &e), 0);
}

static int set_up(void **state)
{
	struct fake *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(log_setup("error"), 0);
	assert_return_code(sd_event_new(&f->event), 0);
	(void)str_copy(f->dir, sizeof(f->dir), "/tmp/fairlead-engine-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)str_printf(f->path, sizeof(f->path), "%s/docker.sock", f->dir);
	(void)str_printf(f->url, sizeof(f->url), "unix://%s", f->path);
	LIST_INIT(&f->conns);
	f->version = "1.41";
	f->ping_status = 200;
	f->stream_status = 200;
	f->inspect_status = 200;
	f->list = "";
	f->networks = "[]";
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fake *f = *state;

	engine_free(f->engine);
	server_stop(f);
	rmdir(f->dir);
	sd_event_unref(f->event);
	free(f);
	return 0;
}

static void start_synced(struct fake *f, const char *list)
{
	f->list = list;
	server_start(f);
	client_start(f);
	wait_log(f, "synced=1");
}

static void test_sync(void **state)
{
	struct fake *f = *state;

	start_synced(f, ID_A " " ID_B);
	assert_string_equal(f->log, "state 1.41 synced=0 \n"
				    "container aa running=1 labels=1 endpoints=1\n"
				    "container bb running=1 labels=1 endpoints=1\n"
				    "state 1.41 synced=1 \n");
	assert_string_equal(f->stream_path,
			    "/v1.41/events?filters=%7B%22type%22%3A%5B%22container%22"
			    "%2C%22network%22%5D%7D");
	assert_int_equal(f->lists, 1);
}

static bool names_are(struct fake *f, const void *arg)
{
	return !strcmp(f->names, arg);
}

static void wait_names(struct fake *f, const char *names)
{
	run_until(f, names_are, names, names);
}

static void test_networks(void **state)
{
	struct fake *f = *state;

	f->networks = "[{\"Id\":\"n1\",\"Name\":\"app\",\"Driver\":\"overlay\",\"IPAM\":"
		      "{\"Config\":[{\"Subnet\":\"10.0.1.0/24\"},{\"Subnet\":7},{},"
		      "{\"Subnet\":\"0.0.0.0/0\"},{\"Subnet\":\"fd00::/64\"}]}},"
		      "{\"Name\":\"no id\",\"IPAM\":{\"Config\":null}},7]";
	start_synced(f, "");
	wait_names(f, "n1 app overlay 10.0.1.0/24 fd00::/64;  no id ;   ; ");
	f->networks = "[{\"Id\":\"6o9aims94w\",\"Name\":\"web\",\"Driver\":\"x\"}]";
	push_network(f, "create");
	wait_names(f, "6o9aims94w web x; ");
	f->networks = "[]";
	push_network(f, "destroy");
	wait_names(f, "");
	f->networks = "{}"; /* whatever it says, the containers are told */
	clear(f);
	break_stream(f);
	wait_log(f, "synced=1");
}

static bool one_is_held(struct fake *f, const void *arg)
{
	(void)arg;
	return held(f) == 1;
}

static void test_running(void **state)
{
	struct fake *f = *state;

	/* One dies and another one starts before all has been told. */
	f->hold = "bb";
	f->list = ID_A " " ID_B;
	server_start(f);
	client_start(f);
	wait_log(f, "container aa");
	run_until(f, one_is_held, NULL, "inspection");
	push_event(f, "die", ID_A, "");
	push_event(f, "start", ID_C, "");
	wait_log(f, "container cc");
	assert_string_equal(f->running, "");
	release(f);
	wait_log(f, "synced=1");
	assert_string_equal(f->running, "bb cc complete=1");
}

/* What begins now may not be in the list, and what cannot be inspected runs. */
static void test_running_not_told(void **state)
{
	struct fake *f = *state;

	f->hold = "cc";
	start_synced(f, ID_A);
	push_event(f, "start", ID_C, "");
	run_until(f, one_is_held, NULL, "inspection");
	clear(f);
	f->inspect_garbage = true;
	engine_relist(f->engine);
	wait_log(f, "synced=1");
	assert_string_equal(f->running, "aa cc complete=0");
	assert_string_equal(f->log, "state 1.41 synced=1 \n");
}

static bool lists_equal(struct fake *f, const void *arg)
{
	return f->lists >= *(const unsigned int *)arg;
}

static void test_relist_has_a_limit(void **state)
{
	struct fake *f = *state;
	const unsigned int counts[] = {2, 3};
	uint64_t begin;

	start_synced(f, ID_A);
	assert_string_equal(f->running, "aa complete=1");
	begin = clock_ms();
	for (int i = 0; i < 1000; i++)
		engine_relist(f->engine);
	run_until(f, lists_equal, &counts[0], "first");
	assert_true(clock_ms() - begin >= 900);
	settle(f);
	assert_int_equal(f->lists, 2);
	engine_relist(f->engine);
	run_until(f, lists_equal, &counts[1], "second");
	assert_true(clock_ms() - begin >= 2900); /* twice as long */
}

static void test_version_is_bounded(void **state)
{
	struct fake *f = *state;

	f->version = "1.55";
	start_synced(f, "");
	assert_string_equal(f->log, "state 1.47 synced=0 \nstate 1.47 synced=1 \n");
	assert_true(str_has_prefix(f->stream_path, "/v1.47/events?"));
}

static void test_engine_comes_later(void **state)
{
	struct fake *f = *state;

	client_start(f);
	wait_log(f, "No such file or directory");
	server_start(f);
	wait_log(f, "synced=1");
	/* the failure was told once, however many tries there were */
	assert_null(strstr(strstr(f->log, "state -") + 1, "state -"));
}

static void test_events(void **state)
{
	struct fake *f = *state;

	start_synced(f, "");
	clear(f);
	push_event(f, "kill", ID_A, "\"signal\":\"15\"");
	push_event(f, "kill", ID_A, "\"signal\":\"bad\"");
	push_event(f, "pause", ID_A, "");
	push_event(f, "health_status: unhealthy", ID_A, "");
	push_event(f, "health_status: healthy", ID_A, "");
	push_event(f, "rename", ID_A, "");
	push_event(f, "exec_start: sh", ID_A, "");
	push_event(f, "die", ID_A, "");
	settle(f);
	assert_true(str_has_prefix(f->log, "kill aa signal=15 health=0\n"
					   "kill aa signal=0 health=0\n"
					   "pause aa signal=0 health=0\n"
					   "health aa signal=0 health=3\n"
					   "health aa signal=0 health=2\n"
					   "die aa signal=0 health=0\n"
					   "kill ff "));
	assert_int_equal(f->inspections, 0);
}

static void test_events_that_inspect(void **state)
{
	static const char *const actions[] = {"start", "unpause", "health_status: odd"};
	struct fake *f = *state;

	start_synced(f, "");
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		clear(f);
		push_event(f, actions[i], ID_A, "");
		wait_log(f, "container aa running=1");
		assert_int_equal(f->inspections, 1);
	}
}

static void test_connect_inspects_what_runs(void **state)
{
	struct fake *f = *state;

	start_synced(f, ID_A);
	clear(f);
	push_connect(f, ID_B); /* it is starting: the start event comes later */
	push_connect(f, "ingress-sbox");
	push_connect(f, ID_A);
	wait_log(f, "container aa");
	settle(f);
	assert_int_equal(f->inspections, 1);
}

static void test_stream_in_pieces(void **state)
{
	struct fake *f = *state;

	start_synced(f, "");
	clear(f);
	push(f, "{\"Type\":\"container\",\"Act");
	push(f, "ion\":\"die\",\"Actor\":{\"ID\":\"aa\"}}\r\n\n{\"Type\":\"container\",");
	push(f, "\"Action\":\"die\",\"Actor\":{\"ID\":\"bb\"}}\n");
	wait_log(f, "die bb");
	assert_string_equal(f->log,
			    "die aa signal=0 health=0\ndie bb signal=0 health=0\n");
}

static void test_slow_one_delays_nobody(void **state)
{
	struct fake *f = *state;

	f->hold = "aa";
	server_start(f);
	f->list = ID_A;
	client_start(f);
	wait_inspections(f, 1);
	push_event(f, "start", ID_B, "");
	wait_log(f, "container bb");
	assert_null(strstr(f->log, "synced=1"));
	release(f);
	wait_log(f, "synced=1");
	assert_non_null(strstr(f->log, "container aa"));
}

static bool held_64(struct fake *f, const void *arg)
{
	(void)arg;
	return held(f) == 64;
}

static void test_slots_are_bounded(void **state)
{
	struct fake *f = *state;
	char list[100 * 4 + 1] = "";

	for (int i = 0; i < 100; i++)
		(void)sprintf(list + strlen(list), "a%02x ", i);
	f->hold = "a";
	f->list = list;
	server_start(f);
	client_start(f);
	run_until(f, held_64, NULL, "64 held");
	settle(f);
	assert_int_equal(held(f), 64);
	release(f);
	wait_log(f, "synced=1");
	assert_int_equal(f->inspections, 100);
}

static void test_repeated_wishes_are_one(void **state)
{
	struct fake *f = *state;

	start_synced(f, "");
	clear(f);
	f->hold = "aa";
	push_event(f, "start", ID_A, "");
	wait_inspections(f, 1);
	for (int i = 0; i < 5; i++)
		push_event(f, "start", ID_A, "");
	engine_inspect(f->engine, ID_A);
	engine_inspect(f->engine, "../secrets");
	settle(f);
	assert_int_equal(f->inspections, 1);
	clear(f);
	release(f);
	wait_log(f, "container aa");
	settle(f);
	assert_int_equal(f->inspections, 1); /* one more, and the first was not told */
	assert_null(strstr(strstr(f->log, "container aa") + 1, "container aa"));
}

static void test_dead_is_not_told(void **state)
{
	struct fake *f = *state;

	start_synced(f, "");
	clear(f);
	f->hold = "aa";
	push_event(f, "start", ID_A, "");
	wait_inspections(f, 1);
	push_event(f, "die", ID_A, "");
	wait_log(f, "die aa");
	release(f);
	push_event(f, "start", ID_B, "");
	wait_log(f, "container bb");
	settle(f);
	assert_null(strstr(f->log, "container aa"));
}

static void test_missing_is_dead(void **state)
{
	struct fake *f = *state;

	f->missing = "aa";
	start_synced(f, ID_A " " ID_B);
	assert_non_null(strstr(f->log, "die aa"));
	assert_non_null(strstr(f->log, "container bb"));
}

static void test_stream_breaks(void **state)
{
	struct fake *f = *state;

	start_synced(f, ID_A " " ID_B);
	push_event(f, "pause", ID_B, "");
	wait_log(f, "pause bb");
	clear(f);
	f->list = ID_B;
	break_stream(f);
	wait_log(f, "synced=1");
	assert_true(str_has_prefix(f->log, "state - synced=0 unix:///tmp/"));
	assert_non_null(strstr(f->log, "state 1.41 synced=0 \ndie aa signal=0 health=0\n"
				       "container bb running=1 labels=1 endpoints=1\n"
				       "state 1.41 synced=1 \n"));
	assert_non_null(strstr(f->stream_path, "&since=1795258498.489725701"));
	assert_int_equal(f->streams, 2);
}

static void test_engine_restarts(void **state)
{
	struct fake *f = *state;

	start_synced(f, ID_A);
	clear(f);
	f->hold = "b"; /* requests under way when all is lost */
	push_event(f, "start", ID_B, "");
	wait_inspections(f, 1);
	server_stop(f);
	wait_log(f, "state -");
	f->hold = NULL;
	server_start(f);
	wait_log(f, "synced=1");
	assert_non_null(strstr(f->log, "container aa"));
	assert_null(strstr(f->log, "container bb"));
}

static void test_bad_events_list_again(void **state)
{
	static const char *const bad[] = {
		"not json\n",
		"[]\n",
		"{\"Type\":\"container\",\"Action\":\"die\"}\n",
		("{\"Type\":\"container\",\"Action\":\"die\","
		 "\"Actor\":{\"ID\":\"/../x\"}}\n"),
	};
	struct fake *f = *state;

	start_synced(f, ID_A);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		clear(f);
		push(f, bad[i]);
		wait_log(f, "container aa running=1 labels=1 endpoints=1\nstate 1.41 "
			    "synced=1");
		assert_int_equal(f->streams, 1);
		assert_int_equal(f->lists, i + 2);
	}
}

static void test_refusals(void **state)
{
	struct fake *f = *state;

	f->ping_status = 503;
	f->stream_status = 400;
	server_start(f);
	client_start(f);
	wait_log(f, ": ping: HTTP status 503\n");
	f->ping_status = 200;
	f->version = NULL;
	wait_log(f, ": ping: no API version\n");
	f->version = "1.44";
	wait_log(f, ": events: HTTP status 400: client version is too new\n");
	f->stream_status = 200;
	f->list = NULL;
	wait_log(f, "list of containers: ");
	f->list = ID_A;
	wait_log(f, "synced=1");
}

static void test_failed_inspection_is_repeated(void **state)
{
	struct fake *f = *state;

	f->inspect_status = 500;
	f->list = ID_A;
	server_start(f);
	client_start(f);
	wait_inspections(f, 1);
	f->inspect_status = 200;
	f->inspect_garbage = true;
	wait_inspections(f, 2);
	f->inspect_garbage = false;
	wait_log(f, "container aa running=1 labels=1 endpoints=1\nstate 1.41 synced=1");
	assert_int_equal(f->inspections, 3);
}

static void test_free_with_requests_under_way(void **state)
{
	struct fake *f = *state;

	f->hold = "a";
	f->list = ID_A " a1 a2 a3";
	server_start(f);
	client_start(f);
	wait_inspections(f, 4);
	engine_free(TAKE(f->engine));
	while (sd_event_run(f->event, 0) > 0)
		;
	assert_true(LIST_EMPTY(&f->conns)); /* all connections were closed */
}

static void test_bad_urls(void **state)
{
	static const char *const urls[] = {
		"",
		"/var/run/docker.sock",
		"unix://relative",
		"http://127.0.0.1:2375",
		"tcp://",
		"tcp://127.0.0.1:2375/v1.41",
		"unix:///0123456789/0123456789/0123456789/0123456789/0123456789/"
		"0123456789/"
		"0123456789/0123456789/0123456789/0123456789/docker.sock",
	};
	const struct engine_callbacks callbacks = {0};
	struct fake *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct err e = {0};

		assert_int_equal(
			engine_new(f->event, urls[i], &callbacks, &f->engine, &e),
			-EINVAL);
		assert_non_null(strstr(e.text, "not unix:///PATH or tcp://HOST:PORT"));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sync),
		TEST(test_networks),
		TEST(test_running),
		TEST(test_running_not_told),
		TEST(test_relist_has_a_limit),
		TEST(test_version_is_bounded),
		TEST(test_engine_comes_later),
		TEST(test_events),
		TEST(test_events_that_inspect),
		TEST(test_connect_inspects_what_runs),
		TEST(test_stream_in_pieces),
		TEST(test_slow_one_delays_nobody),
		TEST(test_slots_are_bounded),
		TEST(test_repeated_wishes_are_one),
		TEST(test_dead_is_not_told),
		TEST(test_missing_is_dead),
		TEST(test_stream_breaks),
		TEST(test_engine_restarts),
		TEST(test_bad_events_list_again),
		TEST(test_refusals),
		TEST(test_failed_inspection_is_repeated),
		TEST(test_free_with_requests_under_way),
		TEST(test_bad_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
