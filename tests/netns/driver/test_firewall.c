// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's rules, with real connections between an outside client, the host, two
 * networks and their tasks: who gets where, and as whom he is seen. And the rules
 * themselves: changed step by step they equal those built anew.
 */
#include "tests/netns/driver/fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "driver/firewall.h"

#define NET_A	  "aaaaaaaaaaaaaaaa"
#define NET_B	  "bbbbbbbbbbbbbbbb"
#define UPLINK_A  "fluaaaaaaaaaaaa"
#define UPLINK_B  "flubbbbbbbbbbbb"
#define COMES_MS  3000 /* a connection that is meant to come */
#define ABSENT_MS 250  /* one that is not: a first packet comes at once or never */

static struct firewall *fw;

/* --- places --------------------------------------------------------------------------
 */

enum place {
	PLACE_HOST,
	PLACE_OUTSIDE,
	PLACE_A1,
	PLACE_A2,
	PLACE_B1,
	PLACE_COUNT
};

static struct network_config configs[2];
static struct network_sandbox sandboxes[2];
static int task_ns[PLACE_COUNT]; /* number of the namespace */

static int place_fd(enum place p)
{
	return p == PLACE_HOST ? -1 : fixture.fd[task_ns[p]];
}

static const char *place_path(enum place p)
{
	return p == PLACE_HOST ? HOST : fixture.path[task_ns[p]];
}

/* A container of network n. */
static void add_task(enum place p, int n, const char *addr4, const char *addr6)
{
	struct network_endpoint ep = {0};
	const struct network_subnet *s4 = &configs[n].subnets[0];
	const struct network_subnet *s6 = &configs[n].subnets[1];
	char g4[ADDR_TEXT_SIZE];
	char g6[ADDR_TEXT_SIZE];
	char name[IFNAMSIZ];

	(void)snprintf(ep.id, sizeof(ep.id), "task%d", (int)p);
	task_ns[p] = fixture_add();
	assert_ok(network_endpoint_join(host, &sandboxes[n], &ep, name, &fixture_err));
	must(HOST, "ip link set %s netns %s name eth0", name, place_path(p));
	must(place_path(p),
	     "ip link set lo up; ip link set eth0 up; ip addr add %s/24 dev eth0;"
	     "ip addr add %s/64 dev eth0 nodad; ip route add default via %s;"
	     "ip -6 route add default via %s",
	     addr4, addr6, addr_format(&s4->gateway, g4), addr_format(&s6->gateway, g6));
}

static void add_net(int n, const char *id, const char *gateway4, const char *gateway6)
{
	memset(&configs[n], 0, sizeof(configs[n]));
	(void)str_copy(configs[n].id, sizeof(configs[n].id), id);
	add_subnet(&configs[n], gateway4, "");
	add_subnet(&configs[n], gateway6, "");
	assert_ok(network_apply(run_dir, host, &configs[n], &sandboxes[n], &fixture_err));
}

/* Two networks with tasks, the outside, and the rules. */
static int setup(void **state)
{
	const struct network_config *const list[] = {&configs[0], &configs[1]};

	if (host_setup(state) != 0)
		return -1;
	task_ns[PLACE_OUTSIDE] = outside;
	add_net(0, NET_A, "10.1.0.1/24", "fd00:1::1/64");
	add_net(1, NET_B, "10.2.0.1/24", "fd00:2::1/64");
	add_task(PLACE_A1, 0, "10.1.0.2", "fd00:1::2");
	add_task(PLACE_A2, 0, "10.1.0.3", "fd00:1::3");
	add_task(PLACE_B1, 1, "10.2.0.2", "fd00:2::2");
	assert_ok(firewall_open(&fw, &fixture_err));
	assert_ok(firewall_sync(fw, list, 2, NULL, 0, &fixture_err));
	return 0;
}

static int teardown(void **state)
{
	firewall_close(fw);
	fw = NULL;
	for (int n = 0; n < 2; n++)
		assert_ok(network_remove(run_dir, host, configs[n].id, &sandboxes[n],
					 &fixture_err));
	must(HOST, "nft flush ruleset; conntrack -F 2>/dev/null || :");
	return host_teardown(state);
}

/* Only the host and its rules. */
static int rules_setup(void **state)
{
	if (host_setup(state) != 0)
		return -1;
	assert_ok(firewall_open(&fw, &fixture_err));
	return 0;
}

static int rules_teardown(void **state)
{
	firewall_close(fw);
	fw = NULL;
	must(HOST, "nft flush ruleset");
	return host_teardown(state);
}

/* --- connections ---------------------------------------------------------------------
 */

static socklen_t make_sockaddr(const char *addr, uint16_t port,
			       struct sockaddr_storage *ret)
{
	struct addr a = address(addr);
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (a.family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, a.bytes, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	memcpy(&v6->sin6_addr, a.bytes, 16);
	return sizeof(*v6);
}

static int open_socket(enum place p, int family, int type)
{
	int fd = ns_socket(place_fd(p), family, type | SOCK_NONBLOCK, 0, &fixture_err);

	if (fd < 0)
		fail_msg("socket: %s", fixture_err.text);
	return fd;
}

static int serve(enum place p, int type, const char *addr, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t size = make_sockaddr(addr, port, &sa);
	int fd = open_socket(p, sa.ss_family, type);
	int one = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	if (bind(fd, (struct sockaddr *)&sa, size) < 0)
		fail_msg("bind %s: %s", addr, strerror(errno));
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static const char *show_peer(const struct sockaddr_storage *sa)
{
	static char text[INET6_ADDRSTRLEN];
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;

	(void)inet_ntop(sa->ss_family,
			sa->ss_family == AF_INET ? (const void *)&v4->sin_addr
						 : (const void *)&v6->sin6_addr,
			text, sizeof(text));
	return text;
}

static bool wait_for(int fd, short events, int limit_ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, limit_ms) > 0 && p.revents & events;
}

struct ask {
	enum place from;
	int type;
	const char *to;
	uint16_t port;
	int server;  /* a socket that it should reach */
	bool absent; /* it should not */
};

/* A whole exchange over TCP or UDP; as whom the server sees the client, "" if it does
 * not see him. */
static const char *ask(const struct ask *a)
{
	struct sockaddr_storage sa;
	struct sockaddr_storage peer = {0};
	socklen_t size = make_sockaddr(a->to, a->port, &sa);
	int client = open_socket(a->from, sa.ss_family, a->type);
	int limit_ms = a->absent ? ABSENT_MS : COMES_MS;
	bool came;
	int conn;
	char c = 'q';

	if (connect(client, (struct sockaddr *)&sa, size) < 0 && errno != EINPROGRESS) {
		(void)close(client);
		return "";
	}
	if (a->type == SOCK_DGRAM)
		assert_int_equal(send(client, &c, 1, 0), 1);
	came = wait_for(a->server, POLLIN, limit_ms);
	size = sizeof(peer);
	if (came && a->type == SOCK_DGRAM) {
		assert_int_equal(
			recvfrom(a->server, &c, 1, 0, (struct sockaddr *)&peer, &size),
			1);
		assert_int_equal(
			sendto(a->server, "a", 1, 0, (struct sockaddr *)&peer, size), 1);
	} else if (came) {
		conn = accept4(a->server, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
		assert_true(conn >= 0);
		assert_int_equal(send(conn, "a", 1, MSG_NOSIGNAL), 1);
		(void)close(conn);
	}
	if (came) {
		assert_true(wait_for(client, POLLIN, COMES_MS));
		assert_int_equal(recv(client, &c, 1, 0), 1);
		assert_int_equal(c, 'a');
	}
	(void)close(client);
	return came ? show_peer(&peer) : "";
}

static const char *tcp(enum place from, const char *to, uint16_t port, int server)
{
	const struct ask a = {from, SOCK_STREAM, to, port, server, false};

	return ask(&a);
}

static const char *udp(enum place from, const char *to, uint16_t port, int server)
{
	const struct ask a = {from, SOCK_DGRAM, to, port, server, false};

	return ask(&a);
}

static const char *not_tcp(enum place from, const char *to, uint16_t port, int server)
{
	const struct ask a = {from, SOCK_STREAM, to, port, server, true};

	return ask(&a);
}

static struct firewall_port port(uint16_t host_port, const char *target4,
				 const char *target6, uint16_t target_port)
{
	return (struct firewall_port){.proto = IPPROTO_TCP,
				      .host_port = host_port,
				      .target4 = address(target4),
				      .target6 = address(target6),
				      .target_port = target_port};
}

static void open_port(const struct firewall_port *p)
{
	assert_ok(firewall_port_change(fw, NULL, p, &fixture_err));
}

static void close_port(const struct firewall_port *p)
{
	assert_ok(firewall_port_change(fw, p, NULL, &fixture_err));
}

/* --- real packets ------------------------------------------------------------------- */

static void test_masquerade(void **state)
{
	int v4 = serve(PLACE_OUTSIDE, SOCK_STREAM, "192.0.2.2", 99);
	int v6 = serve(PLACE_OUTSIDE, SOCK_STREAM, "2001:db8::2", 99);
	int dgram = serve(PLACE_OUTSIDE, SOCK_DGRAM, "192.0.2.2", 99);

	(void)state;
	/* The outside has no route to any network. */
	assert_string_equal(tcp(PLACE_A1, "192.0.2.2", 99, v4), "192.0.2.1");
	assert_string_equal(tcp(PLACE_B1, "192.0.2.2", 99, v4), "192.0.2.1");
	assert_string_equal(udp(PLACE_A1, "192.0.2.2", 99, dgram), "192.0.2.1");
	assert_string_equal(tcp(PLACE_A1, "2001:db8::2", 99, v6), "2001:db8::1");
	(void)close(v4);
	(void)close(v6);
	(void)close(dgram);
}

/* Inside a network, and between a network and its host, nothing is translated. */
static void test_inside(void **state)
{
	int task = serve(PLACE_A1, SOCK_STREAM, "10.1.0.2", 80);
	int task6 = serve(PLACE_A1, SOCK_STREAM, "fd00:1::2", 80);
	int own = serve(PLACE_HOST, SOCK_STREAM, "192.0.2.1", 99);

	(void)state;
	assert_string_equal(tcp(PLACE_A2, "10.1.0.2", 80, task), "10.1.0.3");
	assert_string_equal(tcp(PLACE_A2, "fd00:1::2", 80, task6), "fd00:1::3");
	assert_string_not_equal(tcp(PLACE_HOST, "10.1.0.2", 80, task), "");
	assert_string_equal(tcp(PLACE_A1, "192.0.2.1", 99, own), "10.1.0.2");
	(void)close(task);
	(void)close(task6);
	(void)close(own);
}

static void test_isolation(void **state)
{
	int v4 = serve(PLACE_A1, SOCK_STREAM, "10.1.0.2", 80);
	int v6 = serve(PLACE_A1, SOCK_STREAM, "fd00:1::2", 80);

	(void)state;
	must(place_path(PLACE_OUTSIDE), "ip route add 10.1.0.0/24 via 192.0.2.1;"
					"ip -6 route add fd00:1::/64 via 2001:db8::1");
	assert_string_equal(not_tcp(PLACE_B1, "10.1.0.2", 80, v4), "");
	assert_string_equal(not_tcp(PLACE_B1, "fd00:1::2", 80, v6), "");
	/* Who knows the way still finds only what is published. */
	assert_string_equal(not_tcp(PLACE_OUTSIDE, "10.1.0.2", 80, v4), "");
	assert_string_equal(not_tcp(PLACE_OUTSIDE, "fd00:1::2", 80, v6), "");
	/* It is these rules that stopped them. */
	must(HOST, "nft flush chain inet fairlead forward");
	assert_string_equal(tcp(PLACE_B1, "10.1.0.2", 80, v4), "10.2.0.2");
	assert_string_equal(tcp(PLACE_OUTSIDE, "fd00:1::2", 80, v6), "2001:db8::2");
	(void)close(v4);
	(void)close(v6);
}

static void test_published(void **state)
{
	const struct firewall_port p = port(8080, "10.1.0.2", "fd00:1::2", 80);
	struct firewall_port dgram = port(5353, "10.1.0.2", "fd00:1::2", 53);
	int v4 = serve(PLACE_A1, SOCK_STREAM, "10.1.0.2", 80);
	int v6 = serve(PLACE_A1, SOCK_STREAM, "fd00:1::2", 80);
	int udp4 = serve(PLACE_A1, SOCK_DGRAM, "10.1.0.2", 53);
	int udp6 = serve(PLACE_A1, SOCK_DGRAM, "fd00:1::2", 53);

	(void)state;
	dgram.proto = IPPROTO_UDP;
	assert_string_equal(not_tcp(PLACE_OUTSIDE, "192.0.2.1", 8080, v4), "");
	open_port(&p);
	open_port(&dgram);
	/* The backend sees who really asks. */
	assert_string_equal(tcp(PLACE_OUTSIDE, "192.0.2.1", 8080, v4), "192.0.2.2");
	assert_string_equal(tcp(PLACE_OUTSIDE, "2001:db8::1", 8080, v6), "2001:db8::2");
	assert_string_equal(udp(PLACE_OUTSIDE, "192.0.2.1", 5353, udp4), "192.0.2.2");
	assert_string_equal(udp(PLACE_OUTSIDE, "2001:db8::1", 5353, udp6), "2001:db8::2");
	/* Another protocol is another port. */
	assert_string_equal(not_tcp(PLACE_OUTSIDE, "192.0.2.1", 5353, v4), "");
	/* Another network comes in by the published port only. */
	assert_string_equal(tcp(PLACE_B1, "192.0.2.1", 8080, v4), "10.2.0.2");
	close_port(&p);
	assert_string_equal(not_tcp(PLACE_OUTSIDE, "192.0.2.1", 8080, v4), "");
	(void)close(v4);
	(void)close(v6);
	(void)close(udp4);
	(void)close(udp6);
}

/* From the host itself, also by its loopback addresses. */
static void test_published_local(void **state)
{
	const struct firewall_port p = port(8080, "10.1.0.2", "fd00:1::2", 80);
	int v4 = serve(PLACE_A1, SOCK_STREAM, "10.1.0.2", 80);
	int v6 = serve(PLACE_A1, SOCK_STREAM, "fd00:1::2", 80);

	(void)state;
	open_port(&p);
	assert_string_equal(tcp(PLACE_HOST, "192.0.2.1", 8080, v4), "192.0.2.1");
	assert_string_equal(tcp(PLACE_HOST, "127.0.0.1", 8080, v4), "169.254.0.1");
	assert_string_equal(tcp(PLACE_HOST, "127.0.0.53", 8080, v4), "169.254.0.1");
	assert_string_equal(tcp(PLACE_HOST, "2001:db8::1", 8080, v6), "2001:db8::1");
	(void)close(v4);
	(void)close(v6);
}

/* The kernel lets no answer back to ::1. A client that tries "localhost" there first must
 * be refused, not left waiting, so that it goes on to 127.0.0.1. */
static void test_localhost_ipv6(void **state)
{
	const struct firewall_port p = port(8080, "10.1.0.2", "fd00:1::2", 80);
	struct sockaddr_storage sa;
	socklen_t size = make_sockaddr("::1", 8080, &sa);
	int client = open_socket(PLACE_HOST, AF_INET6, SOCK_STREAM);
	int error = 0;
	socklen_t error_size = sizeof(error);

	(void)state;
	open_port(&p);
	if (connect(client, (struct sockaddr *)&sa, size) < 0)
		error = errno;
	if (error == EINPROGRESS) {
		assert_true(wait_for(client, POLLOUT, COMES_MS));
		assert_int_equal(
			getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &error_size), 0);
	}
	assert_int_equal(error, ECONNREFUSED);
	(void)close(client);
}

/* A task asks a published port that leads into its own network, or to itself. */
static void test_hairpin(void **state)
{
	const struct firewall_port p = port(8080, "10.1.0.2", "fd00:1::2", 80);
	int v4 = serve(PLACE_A1, SOCK_STREAM, "10.1.0.2", 80);
	int v6 = serve(PLACE_A1, SOCK_STREAM, "fd00:1::2", 80);

	(void)state;
	open_port(&p);
	assert_string_equal(tcp(PLACE_A2, "192.0.2.1", 8080, v4), "169.254.0.1");
	assert_string_equal(tcp(PLACE_A2, "2001:db8::1", 8080, v6), "fd66:6169:7200::1");
	assert_string_equal(tcp(PLACE_A1, "192.0.2.1", 8080, v4), "169.254.0.1");
	(void)close(v4);
	(void)close(v6);
}

/* On one address of the host; one published on all addresses does not take it away. */
static void test_published_on_one(void **state)
{
	struct firewall_port one = port(8080, "10.1.0.2", "", 80);
	struct firewall_port one6 = port(8080, "", "fd00:1::2", 80);
	struct firewall_port loopback = port(8081, "10.1.0.2", "", 80);
	const struct firewall_port all = port(8080, "10.2.0.2", "fd00:2::2", 80);
	int a = serve(PLACE_A1, SOCK_STREAM, "10.1.0.2", 80);
	int a6 = serve(PLACE_A1, SOCK_STREAM, "fd00:1::2", 80);
	int b = serve(PLACE_B1, SOCK_STREAM, "10.2.0.2", 80);

	(void)state;
	must(HOST, "ip addr add 192.0.2.7/24 dev out0");
	one.host_addr = address("192.0.2.7");
	one6.host_addr = address("2001:db8::1");
	loopback.host_addr = address("127.0.0.1");
	open_port(&one);
	open_port(&one6);
	open_port(&loopback);
	assert_string_equal(tcp(PLACE_OUTSIDE, "192.0.2.7", 8080, a), "192.0.2.2");
	assert_string_equal(tcp(PLACE_OUTSIDE, "2001:db8::1", 8080, a6), "2001:db8::2");
	assert_string_equal(not_tcp(PLACE_OUTSIDE, "192.0.2.1", 8080, a), "");
	assert_string_equal(tcp(PLACE_HOST, "127.0.0.1", 8081, a), "169.254.0.1");
	assert_string_equal(not_tcp(PLACE_OUTSIDE, "192.0.2.1", 8081, a), "");
	open_port(&all);
	assert_string_equal(tcp(PLACE_OUTSIDE, "192.0.2.7", 8080, a), "192.0.2.2");
	assert_string_equal(tcp(PLACE_OUTSIDE, "192.0.2.1", 8080, b), "192.0.2.2");
	must(HOST, "ip addr del 192.0.2.7/24 dev out0");
	(void)close(a);
	(void)close(a6);
	(void)close(b);
}

/* A published port that passes through to others is not ours. */
static void test_not_local(void **state)
{
	const struct firewall_port p = port(99, "10.1.0.2", "", 80);
	int task = serve(PLACE_A1, SOCK_STREAM, "10.1.0.2", 80);
	int other = serve(PLACE_OUTSIDE, SOCK_STREAM, "192.0.2.2", 99);

	(void)state;
	open_port(&p);
	assert_string_equal(tcp(PLACE_HOST, "192.0.2.2", 99, other), "192.0.2.1");
	assert_string_equal(tcp(PLACE_A1, "192.0.2.2", 99, other), "192.0.2.1");
	(void)close(task);
	(void)close(other);
}

/* The target moves while a connection is open: it goes on; the next one goes there. */
static void test_retarget(void **state)
{
	const struct firewall_port old = port(8080, "10.1.0.2", "", 80);
	const struct firewall_port new_port = port(8080, "10.1.0.3", "", 81);
	int first = serve(PLACE_A1, SOCK_STREAM, "10.1.0.2", 80);
	int second = serve(PLACE_A2, SOCK_STREAM, "10.1.0.3", 81);
	struct sockaddr_storage sa;
	socklen_t size = make_sockaddr("192.0.2.1", 8080, &sa);
	int client = open_socket(PLACE_OUTSIDE, AF_INET, SOCK_STREAM);
	int conn;
	char c;

	(void)state;
	open_port(&old);
	assert_int_equal(connect(client, (struct sockaddr *)&sa, size), -1);
	assert_true(wait_for(first, POLLIN, COMES_MS));
	conn = accept4(first, NULL, NULL, SOCK_CLOEXEC);
	assert_true(conn >= 0);
	assert_ok(firewall_port_change(fw, &old, &new_port, &fixture_err));
	assert_string_equal(tcp(PLACE_OUTSIDE, "192.0.2.1", 8080, second), "192.0.2.2");
	assert_int_equal(send(conn, "x", 1, MSG_NOSIGNAL), 1);
	assert_true(wait_for(client, POLLIN, COMES_MS));
	assert_int_equal(recv(client, &c, 1, 0), 1);
	(void)close(conn);
	(void)close(client);
	(void)close(first);
	(void)close(second);
}

/* route_localnet is on at the uplinks: without the guard a network could reach what the
 * host serves to itself only. */
static void test_guard(void **state)
{
	int own = serve(PLACE_HOST, SOCK_STREAM, "127.0.0.9", 99);
	struct ask a = {PLACE_OUTSIDE, SOCK_STREAM, "127.0.0.9", 99, own, true};
	char path[128];

	(void)state;
	/* A sandbox that has turned against its host. */
	(void)snprintf(path, sizeof(path), "%s", sandbox_path(NET_A));
	must(path,
	     "echo 1 >/proc/sys/net/ipv4/conf/up0/route_localnet;"
	     "ip route del local 127.0.0.0/8 dev lo table local;"
	     "ip route del local 127.0.0.1 dev lo table local;"
	     "ip route add 127.0.0.9/32 via 169.254.0.1 dev up0 onlink src 10.1.0.1");
	task_ns[PLACE_OUTSIDE] = NAMESPACES_MAX - 1;
	fixture.fd[NAMESPACES_MAX - 1] = sandboxes[0].nsfd;
	assert_string_equal(ask(&a), "");
	must(HOST, "nft flush chain inet fairlead guard");
	a.absent = false;
	assert_string_equal(ask(&a), "10.1.0.1");
	(void)close(own);
}

/* --- the rules -----------------------------------------------------------------------
 */

/* The table without what counts and in an order of its own. */
static const char *rules(void)
{
	must(HOST, "nft -s list table inet fairlead | tr -d \"\\t\" | "
		   "sed \"s/elements = {//; s/}$//; s/, /,/g\" | tr , \"\\n\" | sed "
		   "\"s/^ *//; s/ *$//\" "
		   "| sort");
	return fixture.output;
}

static void assert_rules(const char *want)
{
	if (strcmp(rules(), want) == 0)
		return;
	(void)fprintf(stderr, "have:\n%s\nwant:\n%s\n", fixture.output, want);
	fail();
}

static struct network_config plain_net(char first, unsigned int number)
{
	struct network_config c = {0};
	char text[CIDR_TEXT_SIZE];

	memset(c.id, first, 20);
	(void)snprintf(text, sizeof(text), "10.%u.0.1/24", number);
	add_subnet(&c, text, "");
	(void)snprintf(text, sizeof(text), "fd00:%u::1/64", number);
	add_subnet(&c, text, "");
	return c;
}

/* Each change, there and back, against the table made anew. */
static void test_network_changes(void **state)
{
	const struct network_config a = plain_net('a', 1);
	const struct network_config b = plain_net('b', 2);
	struct network_config internal = plain_net('c', 3);
	const struct network_config *const one[] = {&a};
	const struct network_config *const two[] = {&a, &b};
	const struct network_config *const with_internal[] = {&a, &internal};
	const struct firewall_port p = port(8080, "10.1.0.200", "fd00:1::c8", 80);
	char before[OUTPUT_SIZE];
	char after[OUTPUT_SIZE];

	(void)state;
	internal.internal = true;
	assert_ok(firewall_sync(fw, one, 1, &p, 1, &fixture_err));
	(void)snprintf(before, sizeof(before), "%s", rules());
	assert_output("10.1.0.0/24");
	assert_output("fd00:1::/64");
	assert_output("tcp . 8080 : 10.1.0.200 . 80");
	assert_output("\"fluaaaaaaaaaaaa\" : goto hairpin-aaaaaaaaaaaa");

	assert_ok(firewall_sync(fw, one, 1, &p, 1, &fixture_err));
	assert_rules(before);
	assert_ok(firewall_network_add(fw, &a, &fixture_err)); /* is there */
	assert_rules(before);
	assert_ok(firewall_sync(fw, with_internal, 2, &p, 1, &fixture_err));
	assert_rules(before);
	assert_ok(firewall_network_add(fw, &internal, &fixture_err));
	assert_ok(firewall_network_del(fw, &internal, &fixture_err));
	assert_rules(before);

	assert_ok(firewall_sync(fw, two, 2, &p, 1, &fixture_err));
	(void)snprintf(after, sizeof(after), "%s", rules());
	assert_ok(firewall_network_del(fw, &b, &fixture_err));
	assert_rules(before);
	assert_ok(firewall_network_add(fw, &b, &fixture_err));
	assert_rules(after);
	assert_ok(firewall_network_del(fw, &b, &fixture_err));
	assert_rules(before);
}

static void test_port_changes(void **state)
{
	const struct network_config a = plain_net('a', 1);
	const struct network_config *const one[] = {&a};
	struct firewall_port ports[] = {
		port(8080, "10.1.0.200", "fd00:1::c8", 80),
		port(8081, "10.1.0.200", "", 81),
		port(8082, "", "fd00:1::c8", 82),
		port(8080, "10.1.0.201", "", 90),
	};
	const struct firewall_port moved = port(8080, "10.1.0.202", "", 8080);
	char before[OUTPUT_SIZE];
	char after[OUTPUT_SIZE];

	(void)state;
	ports[3].host_addr = address("192.0.2.1");
	assert_ok(firewall_sync(fw, one, 1, ports, 1, &fixture_err));
	(void)snprintf(before, sizeof(before), "%s", rules());
	assert_ok(firewall_sync(fw, one, 1, ports, 4, &fixture_err));
	(void)snprintf(after, sizeof(after), "%s", rules());
	assert_ok(firewall_sync(fw, one, 1, ports, 1, &fixture_err));
	for (int i = 1; i < 4; i++)
		open_port(&ports[i]);
	assert_rules(after);
	for (int i = 1; i < 4; i++)
		close_port(&ports[i]);
	assert_rules(before);

	assert_ok(firewall_sync(fw, one, 1, &moved, 1, &fixture_err));
	(void)snprintf(after, sizeof(after), "%s", rules());
	assert_ok(firewall_sync(fw, one, 1, ports, 1, &fixture_err));
	assert_ok(firewall_port_change(fw, &ports[0], &moved, &fixture_err));
	assert_rules(after);
}

/* A transaction with one bad part does nothing. */
static void test_refused(void **state)
{
	const struct network_config a = plain_net('a', 1);
	const struct network_config b = plain_net('b', 2);
	const struct network_config *const one[] = {&a};
	const struct firewall_port p = port(8080, "10.1.0.200", "", 80);
	const struct firewall_port other = port(8081, "10.1.0.200", "", 80);
	const struct firewall_port same = port(8080, "10.1.0.201", "", 80);
	char before[OUTPUT_SIZE];

	(void)state;
	/* There is no table yet. */
	assert_true(firewall_network_add(fw, &a, &fixture_err) < 0);
	assert_non_null(strstr(fixture_err.text, "host table inet fairlead"));
	assert_ok(firewall_sync(fw, one, 1, &p, 1, &fixture_err));
	(void)snprintf(before, sizeof(before), "%s", rules());
	assert_ok(firewall_network_del(fw, &b, &fixture_err)); /* not there */
	assert_rules(before);
	assert_true(firewall_port_change(fw, &other, NULL, &fixture_err) < 0);
	assert_true(firewall_port_change(fw, &other, &same, &fixture_err) < 0);
	assert_true(firewall_port_change(fw, NULL, &same, &fixture_err) < 0);
	assert_rules(before);
	open_port(&p); /* the same once more is no error */
	assert_rules(before);
}

/* Others' tables are theirs, also through a rebuild. */
static void test_foreign_tables(void **state)
{
	const struct network_config a = plain_net('a', 1);
	const struct network_config *const one[] = {&a};
	char foreign[OUTPUT_SIZE];

	(void)state;
	must(HOST, "nft add table inet other; nft add chain inet other c;"
		   "nft add rule inet other c counter;"
		   "nft add table ip fairlead; nft add chain ip fairlead c");
	must(HOST, "nft list table inet other; nft list table ip fairlead");
	(void)snprintf(foreign, sizeof(foreign), "%s", fixture.output);
	assert_ok(firewall_sync(fw, one, 1, NULL, 0, &fixture_err));
	assert_ok(firewall_sync(fw, NULL, 0, NULL, 0, &fixture_err));
	must(HOST, "nft list table inet other; nft list table ip fairlead");
	assert_string_equal(fixture.output, foreign);
}

/* --- Docker's FORWARD chain -----------------------------------------------------------
 */

static unsigned int count_of(const char *text)
{
	unsigned int n = 0;

	for (const char *p = fixture.output; (p = strstr(p, text)); p += strlen(text))
		n++;
	return n;
}

static void test_no_docker(void **state)
{
	(void)state;
	assert_ok(firewall_allow_forward(fw, &fixture_err));
	must(HOST, "nft list ruleset");
	assert_string_equal(fixture.output, "");
	must(HOST, "nft add table ip filter; nft add chain ip filter FORWARD");
	assert_ok(firewall_allow_forward(fw, &fixture_err));
	must(HOST, "nft list ruleset");
	assert_no_output("fairlead");
}

static void test_docker_user(void **state)
{
	static const char *const families[] = {"ip", "ip6"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		must(HOST,
		     "nft add table %s filter; nft add chain %s filter DOCKER-USER;"
		     "nft add rule %s filter DOCKER-USER counter return",
		     families[i], families[i], families[i]);
		for (int n = 0; n < 3; n++)
			assert_ok(firewall_allow_forward(fw, &fixture_err));
		must(HOST, "nft list chain %s filter DOCKER-USER", families[i]);
		assert_int_equal(count_of("accept comment \"fairlead\""), 2);
		assert_output("iifname \"flu*\"");
		assert_output("oifname \"flu*\"");
		/* Before what is there: that may end the chain. */
		assert_true(strstr(fixture.output, "accept") <
			    strstr(fixture.output, "return"));
	}
	/* dockerd starts anew and flushes it. */
	must(HOST, "nft flush chain ip filter DOCKER-USER");
	assert_ok(firewall_allow_forward(fw, &fixture_err));
	must(HOST, "nft list chain ip filter DOCKER-USER");
	assert_int_equal(count_of("accept comment \"fairlead\""), 2);
}

static void test_forward_drop(void **state)
{
	int out = serve(PLACE_OUTSIDE, SOCK_STREAM, "192.0.2.2", 99);
	int task = serve(PLACE_A1, SOCK_STREAM, "10.1.0.2", 80);
	const struct firewall_port p = port(8080, "10.1.0.2", "", 80);

	(void)state;
	open_port(&p);
	must(HOST, "nft add table ip filter; nft add chain ip filter DOCKER-USER;"
		   "nft \"add chain ip filter FORWARD { type filter hook forward "
		   "priority 0; policy drop; }\";"
		   "nft add rule ip filter FORWARD jump DOCKER-USER");
	assert_string_equal(not_tcp(PLACE_A1, "192.0.2.2", 99, out), "");
	assert_string_equal(not_tcp(PLACE_OUTSIDE, "192.0.2.1", 8080, task), "");
	assert_ok(firewall_allow_forward(fw, &fixture_err));
	assert_string_equal(tcp(PLACE_A1, "192.0.2.2", 99, out), "192.0.2.1");
	assert_string_equal(tcp(PLACE_OUTSIDE, "192.0.2.1", 8080, task), "192.0.2.2");
	(void)close(out);
	(void)close(task);
}

static void test_legacy(void **state)
{
	(void)state;
	if (shell(HOST, "iptables-legacy -w -N DOCKER-USER") != 0) {
		print_message("skip: no iptables-legacy on this kernel\n");
		skip();
	}
	assert_ok(firewall_allow_forward(fw, &fixture_err));
	assert_ok(firewall_allow_forward(fw, &fixture_err));
	must(HOST, "iptables-legacy -w -S DOCKER-USER");
	assert_int_equal(count_of("-A DOCKER-USER"), 2);
	assert_output("-A DOCKER-USER -i flu+ -j ACCEPT");
	assert_output("-A DOCKER-USER -o flu+ -j ACCEPT");
	must(HOST,
	     "iptables-legacy -w -F DOCKER-USER; iptables-legacy -w -X DOCKER-USER");
	assert_ok(firewall_allow_forward(fw, &fixture_err)); /* no chain, no need */
}

#define with_nets(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define with_rules(test) \
	cmocka_unit_test_setup_teardown(test, rules_setup, rules_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_nets(test_masquerade),	 with_nets(test_inside),
		with_nets(test_isolation),	 with_nets(test_published),
		with_nets(test_published_local), with_nets(test_localhost_ipv6),
		with_nets(test_hairpin),	 with_nets(test_published_on_one),
		with_nets(test_not_local),	 with_nets(test_retarget),
		with_nets(test_guard),		 with_rules(test_network_changes),
		with_rules(test_port_changes),	 with_rules(test_refused),
		with_rules(test_foreign_tables), with_rules(test_no_docker),
		with_rules(test_docker_user),	 with_nets(test_forward_drop),
		with_rules(test_legacy),
	};

	if (fixture_enter() < 0)
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
