/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_NETNS_LB_FIXTURE_H
#define TESTS_NETNS_LB_FIXTURE_H
/*
 * A network of the test's own: a network sandbox with bridge and VIP range, a client
 * outside, a client task and three backend tasks, each with a server on TCP and UDP
 * port 80 that tells which backend it is and whom it sees. Needs no other program, so
 * that it also runs in a bare virtual machine. Included once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/kern/link.h"
#include "driver/kern/ns.h"
#include "plugin/base/addr.h"
#include "plugin/base/clock.h"
#include "plugin/base/mem.h"

#define PORT	       80
#define BACKENDS       3
#define CONNS_MAX      512
#define ASK_LIMIT_MS   5000 /* nothing takes that long unless it is lost */
#define READY_LIMIT_MS 20000
#define FAST_LIMIT_MS  2500 /* of a refusal; a lost SYN is sent again after 1, 3, 7 s */

enum net_ns {
	NS_SANDBOX,
	NS_OUTSIDE,
	NS_CLIENT,
	NS_BACKEND1,
	NS_BACKEND2,
	NS_BACKEND3,
	NS_COUNT
};

struct net_place {
	const char *name;
	const char *addr4; /* of a task */
	const char *addr6;
};

#define GATEWAY4 "10.128.0.1"
#define GATEWAY6 "fd00:128::1"
#define VIPS6	 "fd00:128::f:0/112"
#define OUTSIDE4 "192.0.2.9"
#define OUTSIDE6 "2001:db8::9"

static const struct net_place net_places[NS_COUNT] = {
	[NS_SANDBOX] = {"sandbox", NULL, NULL},
	[NS_OUTSIDE] = {"outside", NULL, NULL},
	[NS_CLIENT] = {"client", "10.128.0.10", "fd00:128::10"},
	[NS_BACKEND1] = {"b1", "10.128.0.21", "fd00:128::21"},
	[NS_BACKEND2] = {"b2", "10.128.0.22", "fd00:128::22"},
	[NS_BACKEND3] = {"b3", "10.128.0.23", "fd00:128::23"},
};

struct net {
	char dir[32];
	int fd[NS_COUNT];
	struct link_sock *link[NS_COUNT];
	int listener[BACKENDS][2]; /* TCP, UDP */
	int stop;
	pthread_t server;
	bool serving;
};

static struct err net_err;

#define must(expr)                                                        \
	do {                                                              \
		int got_ = (expr);                                        \
		if (got_ < 0)                                             \
			fail_msg("%s: %d %s", #expr, got_, net_err.text); \
	} while (0)

static inline struct addr net_addr(const char *text)
{
	struct addr a = {0};

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static inline struct cidr net_cidr(const char *text)
{
	struct cidr c = {0};

	assert_int_equal(cidr_parse(text, &c), 0);
	return c;
}

/* --- servers: one thread; a socket keeps the namespace in which it was made --- */

static inline socklen_t sockaddr_of(const struct addr *a, uint16_t port,
				    struct sockaddr_storage *ret)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	ret->ss_family = a->family;
	if (a->family == AF_INET) {
		in4->sin_port = htons(port);
		memcpy(&in4->sin_addr, a->bytes, 4);
		return sizeof(*in4);
	}
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, a->bytes, 16);
	return sizeof(*in6);
}

/* "2 10.128.0.10\n": backend 2 sees this client. Mapped IPv4 is shown as IPv4. */
static inline int answer_format(int backend, const struct sockaddr_in6 *peer, char *buf,
				size_t size)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (IN6_IS_ADDR_V4MAPPED(&peer->sin6_addr))
		(void)inet_ntop(AF_INET, &peer->sin6_addr.s6_addr[12], text,
				sizeof(text));
	else
		(void)inet_ntop(AF_INET6, &peer->sin6_addr, text, sizeof(text));
	return snprintf(buf, size, "%d %s\n", backend, text);
}

static inline void serve_datagram(int fd, int backend)
{
	struct sockaddr_in6 peer;
	socklen_t size = sizeof(peer);
	char buf[128];
	int len;

	if (recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&peer,
		     &size) < 0)
		return;
	len = answer_format(backend, &peer, buf, sizeof(buf));
	(void)sendto(fd, buf, (size_t)len, MSG_DONTWAIT, (struct sockaddr *)&peer, size);
}

/* Answers a request on a connection; false: it has ended. */
static inline bool serve_stream(int fd, int backend)
{
	struct sockaddr_in6 peer;
	socklen_t size = sizeof(peer);
	char buf[128];
	int len;

	if (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) <= 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &size) < 0)
		return false;
	len = answer_format(backend, &peer, buf, sizeof(buf));
	return send(fd, buf, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) == len;
}

struct server_conns {
	struct pollfd fds[1 + BACKENDS * 2 + CONNS_MAX];
	int backend[1 + BACKENDS * 2 + CONNS_MAX];
	nfds_t count;
};

static inline void server_accept(struct server_conns *c, nfds_t i)
{
	int fd = accept4(c->fds[i].fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0 && c->count == ARRAY_SIZE(c->fds)) {
		(void)close(fd);
	} else if (fd >= 0) {
		c->backend[c->count] = c->backend[i];
		c->fds[c->count++] = (struct pollfd){fd, POLLIN, 0};
	}
}

static inline void server_event(struct server_conns *c, nfds_t i)
{
	if (i < 1 + BACKENDS * 2) {
		if (i % 2)
			server_accept(c, i);
		else
			serve_datagram(c->fds[i].fd, c->backend[i]);
	} else if (!serve_stream(c->fds[i].fd, c->backend[i])) {
		(void)close(c->fds[i].fd);
		c->fds[i] = c->fds[--c->count];
		c->backend[i] = c->backend[c->count];
	}
}

static inline void *server_main(void *arg)
{
	const struct net *n = arg;
	struct server_conns c = {.count = 1 + BACKENDS * 2};

	c.fds[0] = (struct pollfd){n->stop, POLLIN, 0};
	for (int i = 0; i < BACKENDS * 2; i++) {
		c.fds[1 + i] = (struct pollfd){n->listener[i / 2][i % 2], POLLIN, 0};
		c.backend[1 + i] = 1 + i / 2;
	}
	while (poll(c.fds, c.count, -1) >= 0 && !c.fds[0].revents) {
		for (nfds_t i = c.count - 1; i > 0; i--) {
			if (c.fds[i].revents)
				server_event(&c, i);
		}
	}
	for (nfds_t i = 1; i < c.count; i++)
		(void)close(c.fds[i].fd);
	return NULL;
}

static inline int listener_new(int nsfd, int type)
{
	struct sockaddr_in6 any = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(PORT),
		.sin6_addr = IN6ADDR_ANY_INIT,
	};
	int one = 1;
	int zero = 0;
	int fd = ns_socket(nsfd, AF_INET6, type, 0, &net_err);

	must(fd);
	must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	must(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)));
	must(bind(fd, (struct sockaddr *)&any, sizeof(any)));
	if (type == SOCK_STREAM)
		must(listen(fd, 128));
	return fd;
}

static inline void net_serve(struct net *n)
{
	for (int i = 0; i < BACKENDS; i++) {
		n->listener[i][0] = listener_new(n->fd[NS_BACKEND1 + i], SOCK_STREAM);
		n->listener[i][1] = listener_new(n->fd[NS_BACKEND1 + i], SOCK_DGRAM);
	}
	n->stop = eventfd(0, EFD_CLOEXEC);
	must(n->stop);
	must(-pthread_create(&n->server, NULL, server_main, n));
	n->serving = true;
}

/* --- the network --- */

static inline void net_route(struct net *n, enum net_ns ns, const char *dst,
			     const char *via, const char *dev, bool local)
{
	struct link_route route = {
		.dst = net_cidr(dst),
		.dev = dev,
		.local = local,
	};

	if (via)
		route.via = net_addr(via);
	must(link_route_set(n->link[ns], &route, &net_err));
}

static inline void net_link_addr(struct net *n, enum net_ns ns, const char *dev,
				 const char *addr)
{
	struct cidr c = net_cidr(addr);

	must(link_addr_add(n->link[ns], dev, &c, LINK_SCOPE_GLOBAL, &net_err));
}

static inline void net_add_veth(struct net *n, enum net_ns a, const char *name,
				enum net_ns b, const char *peer)
{
	struct link_veth veth = {.name = name, .peer = peer, .peer_nsfd = n->fd[b]};

	must(link_veth_add(n->link[a], &veth, &net_err));
	must(link_up(n->link[b], peer, NULL, &net_err));
}

static inline void net_add_sandbox(struct net *n)
{
	static const struct ns_sysctl settings[] = {
		{"net/ipv4/ip_forward", "1", false},
		{"net/ipv6/conf/all/forwarding", "1", false},
		{"net/bridge/bridge-nf-call-iptables", "0", true},
		{"net/bridge/bridge-nf-call-ip6tables", "0", true},
	};

	must(ns_sysctl_set(n->fd[NS_SANDBOX], settings, ARRAY_SIZE(settings), &net_err));
	must(link_bridge_add(n->link[NS_SANDBOX], "br0", NULL, 0, &net_err));
	must(link_up(n->link[NS_SANDBOX], "br0", NULL, &net_err));
	net_link_addr(n, NS_SANDBOX, "br0", GATEWAY4 "/24");
	net_link_addr(n, NS_SANDBOX, "br0", GATEWAY6 "/64");
	net_route(n, NS_SANDBOX, "10.128.0.192/26", NULL, "lo", true);
	net_route(n, NS_SANDBOX, VIPS6, NULL, "lo", true);
	net_add_veth(n, NS_SANDBOX, "up0", NS_OUTSIDE, "eth0");
	must(link_up(n->link[NS_SANDBOX], "up0", NULL, &net_err));
	net_link_addr(n, NS_SANDBOX, "up0", "192.0.2.1/24");
	net_link_addr(n, NS_SANDBOX, "up0", "2001:db8::1/64");
	net_link_addr(n, NS_OUTSIDE, "eth0", OUTSIDE4 "/24");
	net_link_addr(n, NS_OUTSIDE, "eth0", OUTSIDE6 "/64");
	net_route(n, NS_OUTSIDE, "10.128.0.0/24", "192.0.2.1", NULL, false);
	net_route(n, NS_OUTSIDE, "fd00:128::/64", "2001:db8::1", NULL, false);
}

static inline void net_add_task(struct net *n, enum net_ns ns)
{
	const struct net_place *place = &net_places[ns];
	char text[CIDR_TEXT_SIZE];

	net_add_veth(n, NS_SANDBOX, place->name, ns, "eth0");
	must(link_up(n->link[NS_SANDBOX], place->name, "br0", &net_err));
	(void)snprintf(text, sizeof(text), "%s/24", place->addr4);
	net_link_addr(n, ns, "eth0", text);
	(void)snprintf(text, sizeof(text), "%s/64", place->addr6);
	net_link_addr(n, ns, "eth0", text);
	net_route(n, ns, "0.0.0.0/0", GATEWAY4, NULL, false);
	net_route(n, ns, "::/0", GATEWAY6, NULL, false);
	/* A local route of a range answers ARP; IPv6 neighbour discovery it does not. */
	net_route(n, ns, VIPS6, GATEWAY6, NULL, false);
}

static inline void net_fini(struct net *n)
{
	uint64_t one = 1;

	if (n->serving && write(n->stop, &one, sizeof(one)) == sizeof(one))
		(void)pthread_join(n->server, NULL);
	for (int i = 0; !n->serving && i < BACKENDS * 2; i++)
		mem_cleanup_close(&n->listener[i / 2][i % 2]);
	mem_cleanup_close(&n->stop);
	for (int i = 0; i < NS_COUNT; i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "%s/%s", n->dir, net_places[i].name);
		if (n->link[i])
			link_close(n->link[i]);
		mem_cleanup_close(&n->fd[i]);
		(void)ns_remove(path, NULL);
	}
	(void)rmdir(n->dir);
}

/* --- clients --- */

struct answer {
	int backend; /* 1 .. BACKENDS */
	char seen[INET6_ADDRSTRLEN];
};

/* Waits for an event on fd; -ETIMEDOUT. */
static inline int wait_for(int fd, short events, int limit_ms)
{
	struct pollfd p = {fd, events, 0};
	int r = poll(&p, 1, limit_ms);

	if (r < 0)
		return -errno;
	return r ? 0 : -ETIMEDOUT;
}

/* Each socket has a port that no other one had: an entry that connection tracking
 * still keeps of an old flow would lead a new one to the same backend. */
static inline int bind_anew(int fd, uint8_t family)
{
	static uint16_t last_port = 9999;
	struct addr any = {.family = family};
	struct sockaddr_storage sa;
	socklen_t size = sockaddr_of(&any, ++last_port, &sa);

	assert_true(last_port > 9999);
	return bind(fd, (struct sockaddr *)&sa, size) < 0 ? -errno : 0;
}

/* A connected socket of the namespace, or -errno. */
static inline int client_open(const struct net *n, enum net_ns ns, int type,
			      const struct addr *to)
{
	struct sockaddr_storage sa;
	socklen_t size = sockaddr_of(to, PORT, &sa);
	auto_close int fd = -1;
	int error = 0;
	socklen_t error_size = sizeof(error);
	int r;

	fd = ns_socket(n->fd[ns], to->family, type | SOCK_NONBLOCK, 0, &net_err);
	if (fd < 0)
		return fd;
	must(bind_anew(fd, to->family));
	if (connect(fd, (struct sockaddr *)&sa, size) == 0)
		return TAKE_FD(fd);
	if (errno != EINPROGRESS)
		return -errno;
	r = wait_for(fd, POLLOUT, ASK_LIMIT_MS);
	if (r == 0)
		r = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
	if (r < 0 || error)
		return r < 0 ? r : -error;
	return TAKE_FD(fd);
}

/* One request and its answer; -ECONNRESET and the like, -ETIMEDOUT, -EPIPE: it ended. */
static inline int client_ask(int fd, struct answer *ret)
{
	char buf[128];
	ssize_t len;
	int r;

	if (send(fd, "?\n", 2, MSG_NOSIGNAL) < 0)
		return -errno;
	r = wait_for(fd, POLLIN, ASK_LIMIT_MS);
	if (r < 0)
		return r;
	len = recv(fd, buf, sizeof(buf) - 1, 0);
	if (len <= 0)
		return len < 0 ? -errno : -EPIPE;
	buf[len] = '\0';
	return sscanf(buf, "%d %45s", &ret->backend, ret->seen) == 2 ? 0 : -EBADMSG;
}

/* A new connection or flow, one request, and its end. */
static inline int ask_once(const struct net *n, enum net_ns ns, int type,
			   const struct addr *to, struct answer *ret)
{
	auto_close int fd = client_open(n, ns, type, to);

	return fd < 0 ? fd : client_ask(fd, ret);
}

/* --- ready --- */

/* Bridge ports come up a little after their links, and neighbours are asked for a few
 * times only: tests begin when everybody knows everybody. */
static inline void wait_until_reached(const struct net *n, enum net_ns from,
				      enum net_ns backend)
{
	const char *const texts[] = {net_places[backend].addr4,
				     net_places[backend].addr6};

	for (unsigned int i = 0; i < ARRAY_SIZE(texts); i++) {
		struct addr to = net_addr(texts[i]);
		auto_close int fd = client_open(n, from, SOCK_DGRAM, &to);
		uint64_t begin = clock_us();
		char buf[128];

		must(fd);
		while (send(fd, "?", 1, MSG_NOSIGNAL) < 0 ||
		       wait_for(fd, POLLIN, 100) < 0 ||
		       recv(fd, buf, sizeof(buf), 0) <= 0) {
			if (clock_us() - begin > READY_LIMIT_MS * 1000)
				fail_msg("%s does not reach %s", net_places[from].name,
					 texts[i]);
		}
	}
}

/* Without a link-local address of its own, which takes seconds to be sure of, a router
 * asks for no neighbour. */
static inline void net_add_place(struct net *n, enum net_ns ns)
{
	static const struct ns_sysctl settings[] = {
		{"net/ipv6/conf/all/accept_dad", "0", false},
		{"net/ipv6/conf/default/accept_dad", "0", false},
	};
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/%s", n->dir, net_places[ns].name);
	n->fd[ns] = ns_create(path, &net_err);
	must(n->fd[ns]);
	must(ns_sysctl_set(n->fd[ns], settings, ARRAY_SIZE(settings), &net_err));
	must(link_open(n->fd[ns], &n->link[ns], &net_err));
	must(link_up(n->link[ns], "lo", NULL, &net_err));
}

/* Whole or not, net_fini takes it away. */
static inline void net_init(struct net *n)
{
	memset(n, 0, sizeof(*n));
	for (int i = 0; i < NS_COUNT; i++)
		n->fd[i] = -1;
	for (int i = 0; i < BACKENDS * 2; i++)
		n->listener[i / 2][i % 2] = -1;
	n->stop = -1;
	(void)snprintf(n->dir, sizeof(n->dir), "/tmp/fairlead-lb-XXXXXX");
	assert_non_null(mkdtemp(n->dir));
	for (int i = 0; i < NS_COUNT; i++)
		net_add_place(n, (enum net_ns)i);
	net_add_sandbox(n);
	for (int i = NS_CLIENT; i < NS_COUNT; i++)
		net_add_task(n, (enum net_ns)i);
	net_serve(n);
	for (int i = NS_BACKEND1; i < NS_COUNT; i++) {
		wait_until_reached(n, NS_CLIENT, (enum net_ns)i);
		wait_until_reached(n, NS_OUTSIDE, (enum net_ns)i);
	}
}

#endif
