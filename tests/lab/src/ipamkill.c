// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ipamkill: ends fairlead with SIGKILL at random moments while clients ask for
 * addresses and release them, and compares what they were answered with what
 * fairlead knows after its next start.
 *
 *   ipamkill [-r ROUNDS] [-s SEED] [-c CLIENTS] SOCKET DATABASE LOG CMD...
 *
 * CMD is the daemon, which serves SOCKET, keeps DATABASE and is started anew for each
 * round; its output goes to LOG. A round: start, compare, load, SIGKILL. Now and then
 * the SIGKILL comes while it still starts. After a start
 *   - every address that was answered, and whose release was not, has its row,
 *   - no other address has one but for requests and releases without an answer,
 *   - some of those held (in the end: all) are asked for and must be refused.
 * At any time an answer with an address that another client holds is an error. The
 * pool is small, so that addresses are used again all the time.
 * Prints the seed and a summary; status 1: something was wrong.
 */
#define _GNU_SOURCE
#include "plugincall.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <sys/wait.h>

#define POOL  "10.77.0.0/20"
#define FIRST ((10U << 24) | (77U << 16))

enum {
	POOL_SIZE = 4096,
	HELD_MAX = 1200, /* more are rather released */
	CLIENTS_MAX = 256,
	LOAD_MAX_US = 30000,  /* the longest load before the end */
	START_MAX_US = 40000, /* as long as a start may take before its end */
	KILLED_STARTS = 8,    /* one of so many starts is */
	ASKED = 16,	      /* of those held, after each start */
	READY_MS = 30000,
	ANSWER_MS = 10000,
};

enum slot_state {
	FREE,
	HELD,
	RELEASING, /* asked, not answered: either may be true */
};

struct slot {
	enum slot_state state;
	unsigned int by; /* client that releases it */
	unsigned int at; /* HELD: place in held */
};

struct client {
	struct plugin_conn conn;
	unsigned int number;
	bool waiting;
	bool releases;
	unsigned int slot; /* that it releases */
};

static struct {
	const char *socket;
	const char *database;
	int log;
	char **command;
	unsigned int rounds;
	unsigned int clients;
	char pool_id[160];
} setup = {.rounds = 200, .clients = 64};

static struct slot slots[POOL_SIZE];
static unsigned int held[POOL_SIZE];
static unsigned int held_count;
static struct client clients[CLIENTS_MAX];
static unsigned int unanswered; /* requests for an address, of the last round */
static unsigned int faults;
static unsigned int current;
static volatile sig_atomic_t daemon_pid;
static struct {
	unsigned long given, released, lost, starts_killed;
} total;
static uint64_t random_state;

static _Noreturn void fail(const char *what)
{
	(void)fprintf(stderr, "ipamkill: round %u: %s: %s\n", current, what,
		      strerror(errno));
	if (daemon_pid > 0)
		(void)kill(daemon_pid, SIGKILL);
	exit(2);
}

static void fault(const char *what, unsigned int slot)
{
	if (faults++ < 20)
		(void)fprintf(stderr, "ipamkill: round %u: 10.77.%u.%u %s\n", current,
			      slot / 256, slot % 256, what);
}

/* xorshift64*: any seed but 0. */
static unsigned int pick(unsigned int below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (unsigned int)((random_state * 0x2545F4914F6CDD1DULL) >> 33) % below;
}

/* ---- what the clients know ------------------------------------------------------- */

static void hold(unsigned int n)
{
	slots[n].state = HELD;
	slots[n].at = held_count;
	held[held_count++] = n;
}

static void unhold(unsigned int n, enum slot_state state)
{
	unsigned int last = held[--held_count];

	held[slots[n].at] = last;
	slots[last].at = slots[n].at;
	slots[n].state = state;
}

static void on_given(const struct client *c)
{
	unsigned int b[4];
	char text[64];
	unsigned int n;

	if (!plugin_member(&c->conn, "Address", text, sizeof(text)) ||
	    sscanf(text, "%u.%u.%u.%u", &b[0], &b[1], &b[2], &b[3]) != 4) {
		(void)fprintf(stderr, "ipamkill: round %u: %s\n", current, c->conn.body);
		faults++;
		return;
	}
	n = ((b[0] << 24) | (b[1] << 16) | (b[2] << 8) | b[3]) - FIRST;
	total.given++;
	if (n >= POOL_SIZE)
		fault("is not of the pool", n);
	else if (slots[n].state == HELD)
		fault("was given twice", n);
	else
		hold(n);
}

static void on_released(const struct client *c)
{
	struct slot *s = &slots[c->slot];

	if (strstr(c->conn.body, "\"Err\"")) {
		(void)fprintf(stderr, "ipamkill: round %u: %s\n", current, c->conn.body);
		faults++;
	}
	total.released++;
	if (s->state == RELEASING && s->by == c->number)
		s->state = FREE; /* else somebody else has got it already */
}

/* ---- requests -------------------------------------------------------------------- */

static bool ask_for(struct plugin_conn *c, const char *address)
{
	char json[512];

	(void)snprintf(json, sizeof(json),
		       "{\"PoolID\":\"%s\",\"Address\":\"%s\",\"Options\":null}",
		       setup.pool_id, address);
	return plugin_post(c, "IpamDriver.RequestAddress", json);
}

static bool send_release(struct client *c)
{
	unsigned int n = held[pick(held_count)];
	char json[512];

	c->slot = n;
	unhold(n, RELEASING);
	slots[n].by = c->number;
	(void)snprintf(json, sizeof(json),
		       "{\"PoolID\":\"%s\",\"Address\":\"10.77.%u.%u\"}", setup.pool_id,
		       n / 256, n % 256);
	return plugin_post(&c->conn, "IpamDriver.ReleaseAddress", json);
}

static void send_next(struct client *c)
{
	bool sent;

	c->releases = held_count && pick(HELD_MAX) < held_count;
	c->waiting = true;
	sent = c->releases ? send_release(c) : ask_for(&c->conn, "");
	if (!sent && errno != EPIPE && errno != ECONNRESET)
		fail("send");
}

/* False: the connection has ended. */
static bool on_readable(struct client *c)
{
	switch (plugin_read(&c->conn)) {
	case PLUGIN_PART:
		return true;
	case PLUGIN_WHOLE:
		c->waiting = false;
		if (c->releases)
			on_released(c);
		else
			on_given(c);
		send_next(c);
		return true;
	case PLUGIN_GONE:
		break;
	}
	plugin_hang_up(&c->conn);
	unanswered += c->waiting && !c->releases;
	total.lost += c->waiting;
	return false;
}

/* Until all connections have ended, by the daemon's end. */
static void load(unsigned int us)
{
	struct itimerval timer = {.it_value.tv_usec = (suseconds_t)us + 1};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[CLIENTS_MAX];
	unsigned int open = 0;

	if (ep < 0)
		fail("epoll");
	unanswered = 0;
	for (; open < setup.clients; open++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &clients[open]};

		clients[open].number = open;
		if (!plugin_dial(&clients[open].conn, setup.socket))
			fail("connect");
		if (epoll_ctl(ep, EPOLL_CTL_ADD, clients[open].conn.fd, &ev) < 0)
			fail("epoll");
	}
	if (setitimer(ITIMER_REAL, &timer, NULL) < 0)
		fail("timer");
	for (unsigned int i = 0; i < open; i++)
		send_next(&clients[i]);
	while (open) {
		int n = epoll_wait(ep, events, CLIENTS_MAX, ANSWER_MS);

		if (n == 0) {
			errno = ETIMEDOUT;
			fail("answer");
		}
		for (int i = 0; i < n; i++)
			open -= !on_readable(events[i].data.ptr);
	}
	(void)close(ep);
}

/* ---- the daemon ------------------------------------------------------------------ */

static void on_alarm(int signal)
{
	int error = errno;

	(void)signal;
	(void)kill(daemon_pid, SIGKILL);
	errno = error;
}

static void daemon_start(void)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		(void)dup2(setup.log, 1);
		(void)dup2(setup.log, 2);
		(void)execv(setup.command[0], setup.command);
		_exit(127);
	}
	daemon_pid = pid;
}

static void daemon_ended(void)
{
	pid_t pid = daemon_pid;
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail("wait");
	daemon_pid = 0;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		(void)fprintf(stderr, "ipamkill: round %u: it ended by itself (%#x)\n",
			      current, (unsigned int)status);
		exit(2);
	}
}

static void kill_a_start(void)
{
	const struct timespec wait = {.tv_nsec = 1000L * pick(START_MAX_US)};

	daemon_start();
	(void)nanosleep(&wait, NULL);
	(void)kill(daemon_pid, SIGKILL);
	daemon_ended();
	total.starts_killed++;
}

static void request_pool(struct plugin_conn *c)
{
	if (!plugin_call(c, "IpamDriver.RequestPool",
			 "{\"AddressSpace\":\"fairlead-local\",\"Pool\":\"" POOL "\","
			 "\"SubPool\":\"\",\"Options\":{},\"V6\":false}") ||
	    !plugin_member(c, "PoolID", setup.pool_id, sizeof(setup.pool_id)))
		fail("RequestPool");
}

/* ---- comparing ------------------------------------------------------------------- */

/* Marks what has a row. */
static void read_rows(bool rows[POOL_SIZE])
{
	sqlite3 *db;
	sqlite3_stmt *st;
	int code = sqlite3_open_v2(setup.database, &db, SQLITE_OPEN_READONLY, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_busy_timeout(db, ANSWER_MS);
	if (code == SQLITE_OK)
		code = sqlite3_prepare_v2(
			db, "SELECT addr FROM ipam_lease WHERE released = 0", -1, &st,
			NULL);
	if (code != SQLITE_OK) {
		(void)fprintf(stderr, "ipamkill: %s\n", sqlite3_errmsg(db));
		fail(setup.database);
	}
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		const unsigned char *b = sqlite3_column_blob(st, 0);
		unsigned int n = POOL_SIZE;

		if (sqlite3_column_bytes(st, 0) == 4)
			n = (((unsigned int)b[0] << 24) | ((unsigned int)b[1] << 16) |
			     ((unsigned int)b[2] << 8) | b[3]) -
			    FIRST;
		if (n >= POOL_SIZE)
			fault("has a row and is not of the pool", n);
		else
			rows[n] = true;
	}
	if (code != SQLITE_DONE)
		fault(sqlite3_errmsg(db), 0);
	(void)sqlite3_finalize(st);
	(void)sqlite3_close(db);
}

static void compare(void)
{
	bool rows[POOL_SIZE] = {false};
	unsigned int extra = 0;

	read_rows(rows);
	for (unsigned int n = 0; n < POOL_SIZE; n++) {
		if (slots[n].state == HELD && !rows[n])
			fault("was answered and is not held", n);
		if (slots[n].state == RELEASING)
			slots[n].state = FREE;
		else if (slots[n].state == FREE)
			extra += rows[n];
		if (slots[n].state == FREE && rows[n])
			hold(n);
	}
	if (extra > unanswered) {
		(void)fprintf(stderr,
			      "ipamkill: round %u: %u rows that nobody was told of, "
			      "%u requests without an answer\n",
			      current, extra, unanswered);
		faults++;
	}
}

/* What is held is refused; all of it, or as many as there shall be. */
static void ask_held(struct plugin_conn *c, unsigned int count)
{
	bool all = count >= held_count;
	char text[32];

	if (all)
		count = held_count;
	for (unsigned int i = 0; i < count; i++) {
		unsigned int n = held[all ? i : pick(held_count)];
		enum plugin_state s;

		(void)snprintf(text, sizeof(text), "10.77.%u.%u", n / 256, n % 256);
		if (!ask_for(c, text))
			fail("send");
		do
			s = plugin_read(c);
		while (s == PLUGIN_PART);
		if (s == PLUGIN_GONE)
			fail("answer");
		if (!strstr(c->body, "is taken"))
			fault("is held and is given again", n);
	}
}

static void begin_round(void)
{
	struct plugin_conn c;

	if (current && pick(KILLED_STARTS) == 0)
		kill_a_start();
	daemon_start();
	if (!plugin_wait(&c, setup.socket, READY_MS)) {
		errno = ETIMEDOUT;
		fail("start");
	}
	if (!setup.pool_id[0])
		request_pool(&c);
	compare();
	ask_held(&c, current < setup.rounds ? ASKED : held_count);
	plugin_hang_up(&c);
}

static void read_options(int argc, char **argv)
{
	int opt;

	random_state = now_us();
	while ((opt = getopt(argc, argv, "+r:s:c:")) != -1) {
		if (opt == 'r')
			setup.rounds = (unsigned int)atoi(optarg);
		else if (opt == 's')
			random_state = strtoull(optarg, NULL, 10);
		else if (opt == 'c')
			setup.clients = (unsigned int)atoi(optarg);
	}
	if (argc - optind < 4 || !random_state || !setup.clients ||
	    setup.clients > CLIENTS_MAX) {
		(void)fprintf(stderr, "ipamkill: bad usage, see its source\n");
		exit(2);
	}
	setup.socket = argv[optind];
	setup.database = argv[optind + 1];
	setup.log =
		open(argv[optind + 2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	setup.command = argv + optind + 3;
	if (setup.log < 0)
		fail(argv[optind + 2]);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

	read_options(argc, argv);
	printf("seed %llu\n", (unsigned long long)random_state);
	(void)fflush(stdout);
	(void)sigaction(SIGALRM, &sa, NULL);
	for (current = 0; current < setup.rounds && !faults; current++) {
		begin_round();
		load(pick(LOAD_MAX_US));
		daemon_ended();
	}
	if (!faults)
		begin_round();
	if (daemon_pid > 0) {
		(void)kill(daemon_pid, SIGKILL);
		daemon_ended();
	}
	printf("rounds %u starts-killed %lu given %lu released %lu unanswered %lu "
	       "held %u faults %u\n",
	       current, total.starts_killed, total.given, total.released, total.lost,
	       held_count, faults);
	return faults ? 1 : 0;
}
