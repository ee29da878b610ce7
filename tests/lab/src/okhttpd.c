// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * okhttpd: a tiny static HTTP and UDP server, and its client, for containers of
 * tests and benches. Every answer names the server and the client it saw.
 *
 *   okhttpd PORT [NAME]            serves all addresses, IPv4 and IPv6: TCP with
 *                                  "NAME CLIENT\n" (GET /bytes/N: N bytes), and
 *                                  UDP with the same text; NAME is the host name
 *   okhttpd get ADDR PORT [COUNT]  COUNT requests, a connection each; prints the
 *                                  answers, "none" for a failure
 *   okhttpd udp ADDR PORT [COUNT]  COUNT datagrams from one socket, likewise
 *   okhttpd load ADDR PORT SEC     requests, a connection each, for SEC seconds;
 *                                  prints "NAME COUNT" per server, "failed COUNT"
 *   okhttpd hold ADDR PORT SEC [FILE]   one kept connection, a request every
 *                                  20 ms, for SEC seconds or until there is a
 *                                  FILE; prints the same
 *
 * ADDR is numeric. A client's status is 1 if anything failed. The server is one
 * process (epoll, keep-alive); after SIGTERM it serves on for OKHTTPD_GRACE
 * milliseconds (environment; none by default) and ends with status 0.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
	REQUEST_MAX = 4096,
	CONNS_MAX = 8192,
	NAMES_MAX = 64,
	NAME_MAX_LEN = 64,
	WAIT_SEC = 3,
};

struct conn {
	char req[REQUEST_MAX];
	size_t got;
	long long bytes_left; /* of the answer's body */
	bool close_after;
	char client[INET6_ADDRSTRLEN];
};

static struct conn *conns[CONNS_MAX]; /* by descriptor */
static char own_name[NAME_MAX_LEN] = "ok";
static char filler[65536];

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "okhttpd: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long number(const char *text, long min, long max)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text == 0 || *end != 0 || n < min || n > max) {
		fprintf(stderr, "okhttpd: bad number %s\n", text);
		exit(2);
	}
	return n;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- server -------------------------------------------------------------- */

static int bound_socket(int type, uint16_t port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;
	int zero = 0;

	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail("bind");
	if (type == SOCK_STREAM && listen(fd, 1024) < 0)
		fail("listen");
	return fd;
}

/* The address as text, an IPv4 one without the ::ffff: before it. */
static void client_text(const struct sockaddr_in6 *a, char text[INET6_ADDRSTRLEN])
{
	if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr))
		inet_ntop(AF_INET, &a->sin6_addr.s6_addr[12], text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, &a->sin6_addr, text, INET6_ADDRSTRLEN);
}

static void drop(int fd)
{
	free(conns[fd]);
	conns[fd] = NULL;
	close(fd);
}

/* Sends what is left of the body; false: connection done. */
static bool push_body(int fd, int ep)
{
	struct conn *c = conns[fd];
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	while (c->bytes_left > 0) {
		size_t n = sizeof(filler);
		ssize_t w;

		if (c->bytes_left < (long long)n)
			n = (size_t)c->bytes_left;
		w = send(fd, filler, n, MSG_NOSIGNAL);
		if (w < 0) {
			ev.events = EPOLLOUT;
			epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
			return errno == EAGAIN;
		}
		c->bytes_left -= w;
	}
	if (c->close_after)
		return false;
	epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
	return true;
}

static bool wants_close(const char *req)
{
	if (strcasestr(req, "Connection: keep-alive") != NULL)
		return false;
	return strncmp(req, "GET ", 4) != 0 || strstr(req, "HTTP/1.0\r") != NULL ||
	       strcasestr(req, "Connection: close") != NULL;
}

static bool answer(int fd, int ep)
{
	struct conn *c = conns[fd];
	char head[512];
	char body[128] = "";
	long long n = 0;
	int len;

	c->close_after = wants_close(c->req);
	if (sscanf(c->req, "GET /bytes/%lld", &n) == 1 && n > 0)
		c->bytes_left = n;
	else
		n = snprintf(body, sizeof(body), "%s %s\n", own_name, c->client);
	len = snprintf(head, sizeof(head),
		       "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
		       "Content-Length: %lld\r\nConnection: %s\r\n\r\n%s",
		       n, c->close_after ? "close" : "keep-alive", body);
	c->got = 0;
	if (send(fd, head, (size_t)len, MSG_NOSIGNAL) != len)
		return false;
	return push_body(fd, ep);
}

static void on_tcp(int fd, int ep, uint32_t events)
{
	struct conn *c = conns[fd];
	ssize_t r;

	if (events & EPOLLOUT) {
		if (!push_body(fd, ep))
			drop(fd);
		return;
	}
	r = recv(fd, c->req + c->got, REQUEST_MAX - 1 - c->got, 0);
	if (r <= 0) {
		if (r == 0 || errno != EAGAIN)
			drop(fd);
		return;
	}
	c->got += (size_t)r;
	c->req[c->got] = 0;
	if (strstr(c->req, "\r\n\r\n") != NULL) {
		if (!answer(fd, ep))
			drop(fd);
	} else if (c->got == REQUEST_MAX - 1) {
		drop(fd);
	}
}

static void on_accept(int ls, int ep)
{
	struct sockaddr_in6 a;
	socklen_t alen = sizeof(a);
	struct epoll_event ev = {.events = EPOLLIN};
	int one = 1;
	int fd;

	while ((fd = accept4(ls, (struct sockaddr *)&a, &alen,
			     SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		if (fd < CONNS_MAX)
			conns[fd] = calloc(1, sizeof(struct conn));
		if (fd >= CONNS_MAX || conns[fd] == NULL) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		client_text(&a, conns[fd]->client);
		ev.data.fd = fd;
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	}
}

/* Answers from the very address that was asked (a VIP may be one of many). */
static void on_udp(int us)
{
	union {
		char buf[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} ctl;
	struct sockaddr_in6 a;
	char buf[2048];
	char client[INET6_ADDRSTRLEN];
	struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
	struct msghdr m = {.msg_name = &a,
			   .msg_namelen = sizeof(a),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = ctl.buf,
			   .msg_controllen = sizeof(ctl.buf)};
	struct cmsghdr *cm;

	if (recvmsg(us, &m, 0) < 0)
		return;
	for (cm = CMSG_FIRSTHDR(&m); cm != NULL; cm = CMSG_NXTHDR(&m, cm))
		if (cm->cmsg_level == IPPROTO_IPV6 && cm->cmsg_type == IPV6_PKTINFO)
			((struct in6_pktinfo *)CMSG_DATA(cm))->ipi6_ifindex = 0;
	client_text(&a, client);
	iov.iov_len = (size_t)snprintf(buf, sizeof(buf), "%s %s\n", own_name, client);
	sendmsg(us, &m, 0);
}

static void watch(int ep, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		fail("epoll_ctl");
}

/* SIGTERM as a descriptor: process 1 of a container would not get it at all. */
static int term_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int grace_ms(void)
{
	const char *text = getenv("OKHTTPD_GRACE");

	return text != NULL ? (int)number(text, 0, 600000) : 0;
}

static void serve(uint16_t port)
{
	struct rlimit files = {CONNS_MAX, CONNS_MAX};
	struct epoll_event got[64];
	int one = 1;
	int ls = bound_socket(SOCK_STREAM, port);
	int us = bound_socket(SOCK_DGRAM, port);
	int ts = term_fd();
	int ep = epoll_create1(EPOLL_CLOEXEC);
	double end = 0; /* known once SIGTERM came */

	setrlimit(RLIMIT_NOFILE, &files);
	memset(filler, 'x', sizeof(filler));
	setsockopt(us, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	watch(ep, ls);
	watch(ep, us);
	watch(ep, ts);
	while (end == 0 || now() < end) {
		int n = epoll_wait(ep, got, 64, end == 0 ? -1 : 10);

		for (int i = 0; i < n; i++) {
			int fd = got[i].data.fd;

			if (fd == ts) {
				epoll_ctl(ep, EPOLL_CTL_DEL, ts, NULL);
				end = now() + grace_ms() / 1e3;
			} else if (fd == ls) {
				on_accept(ls, ep);
			} else if (fd == us) {
				on_udp(us);
			} else if (conns[fd] != NULL) {
				on_tcp(fd, ep, got[i].events);
			}
		}
	}
}

/* ---- client -------------------------------------------------------------- */

struct target {
	struct sockaddr_storage addr;
	socklen_t len;
};

static struct target target_parse(const char *addr, const char *port)
{
	struct target t = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&t.addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&t.addr;
	uint16_t be_port = htons((uint16_t)number(port, 1, 65535));

	if (inet_pton(AF_INET, addr, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = be_port;
		t.len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, addr, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = be_port;
		t.len = sizeof(*v6);
	} else {
		fprintf(stderr, "okhttpd: bad address %s\n", addr);
		exit(2);
	}
	return t;
}

/* A connected socket with time limits; -1: refused or too slow. */
static int dial(const struct target *t, int type)
{
	const struct timeval limit = {.tv_sec = WAIT_SEC};
	int fd = socket(t->addr.ss_family, type | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)&t->addr, t->len) == 0)
		return fd;
	close(fd);
	return -1;
}

/* One request on a connection; the answer's body ends with a newline. */
static bool ask(int fd, bool keep, char *body, size_t size)
{
	const char *request = keep ? "GET / HTTP/1.1\r\n\r\n" : "GET / HTTP/1.0\r\n\r\n";
	char buf[REQUEST_MAX];
	const char *end = NULL;
	size_t got = 0;

	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		return false;
	while (end == NULL || strchr(end, '\n') == NULL) {
		ssize_t r = recv(fd, buf + got, sizeof(buf) - 1 - got, 0);

		if (r <= 0)
			return false;
		got += (size_t)r;
		buf[got] = 0;
		end = strstr(buf, "\r\n\r\n");
		if (end != NULL)
			end += 4;
	}
	snprintf(body, size, "%s", end);
	return true;
}

static bool fetch(const struct target *t, char *body, size_t size)
{
	int fd = dial(t, SOCK_STREAM);
	bool ok = fd >= 0 && ask(fd, false, body, size);

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool exchange(int fd, char *body, size_t size)
{
	ssize_t r;

	if (fd < 0 || send(fd, "x", 1, MSG_NOSIGNAL) != 1)
		return false;
	r = recv(fd, body, size - 1, 0);
	body[r > 0 ? r : 0] = 0;
	return r > 0;
}

static int client_count(const struct target *t, int type, long count)
{
	char body[256];
	int fd = type == SOCK_DGRAM ? dial(t, type) : -1;
	int failed = 0;

	for (long i = 0; i < count; i++) {
		bool ok = type == SOCK_DGRAM ? exchange(fd, body, sizeof(body))
					     : fetch(t, body, sizeof(body));

		failed += !ok;
		fputs(ok ? body : "none\n", stdout);
		fflush(stdout);
	}
	return failed > 0;
}

static struct tally {
	char name[NAME_MAX_LEN];
	long count;
} tally[NAMES_MAX];

static void tally_add(const char *body)
{
	size_t len = strcspn(body, " \n");

	for (int i = 0; i < NAMES_MAX; i++) {
		struct tally *t = &tally[i];

		if (t->count == 0)
			snprintf(t->name, sizeof(t->name), "%.*s", (int)len, body);
		if (strlen(t->name) == len && strncmp(t->name, body, len) == 0) {
			t->count++;
			return;
		}
	}
}

static int tally_print(long failed)
{
	for (int i = 0; i < NAMES_MAX && tally[i].count > 0; i++)
		printf("%s %ld\n", tally[i].name, tally[i].count);
	printf("failed %ld\n", failed);
	return failed > 0;
}

static int client_load(const struct target *t, long seconds)
{
	double end = now() + (double)seconds;
	char body[256];
	long failed = 0;

	while (now() < end) {
		if (fetch(t, body, sizeof(body)))
			tally_add(body);
		else
			failed++;
	}
	return tally_print(failed);
}

static int client_hold(const struct target *t, long seconds, const char *until)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	double end = now() + (double)seconds;
	char body[256];
	int fd = dial(t, SOCK_STREAM);

	while (now() < end && !(until && access(until, F_OK) == 0)) {
		if (fd < 0 || !ask(fd, true, body, sizeof(body)))
			return tally_print(1);
		tally_add(body);
		nanosleep(&pause, NULL);
	}
	return tally_print(0);
}

static int client(int argc, char **argv)
{
	struct target t = target_parse(argv[2], argv[3]);
	long n = argc > 4 ? number(argv[4], 1, 1000000000) : 1;

	if (strcmp(argv[1], "get") == 0)
		return client_count(&t, SOCK_STREAM, n);
	if (strcmp(argv[1], "udp") == 0)
		return client_count(&t, SOCK_DGRAM, n);
	if (strcmp(argv[1], "load") == 0)
		return client_load(&t, n);
	if (strcmp(argv[1], "hold") == 0)
		return client_hold(&t, n, argc > 5 ? argv[5] : NULL);
	fprintf(stderr, "okhttpd: unknown command %s\n", argv[1]);
	return 2;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc >= 4)
		return client(argc, argv);
	if (argc < 2) {
		fprintf(stderr,
			"usage: okhttpd PORT [NAME] | get|udp|load|hold ADDR PORT [N]\n");
		return 2;
	}
	if (argc > 2)
		snprintf(own_name, sizeof(own_name), "%s", argv[2]);
	else if (gethostname(own_name, sizeof(own_name) - 1) < 0)
		fail("gethostname");
	serve((uint16_t)number(argv[1], 1, 65535));
	return 0;
}
