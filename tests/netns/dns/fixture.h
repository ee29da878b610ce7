/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_NETNS_DNS_FIXTURE_H
#define TESTS_NETNS_DNS_FIXTURE_H
/*
 * A namespace as a container sees it: questions go to 127.0.0.11:53, our rules at
 * priority -110 come before those of a resolver that is diverted to as Docker's is
 * (priority -100). Server, resolver and clients share one loop, so each test decides
 * what happens when.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/kern/nft.h"
#include "driver/kern/ns.h"
#include "lb/dns/server.h"
#include "lb/dns/tcp.h"
#include "lb/dns/wire.h"
#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define WAIT_MS	 10000
#define TASK	 "/var/run/docker/netns/0123456789ab"
#define BIG_SIZE 100 /* records in the answer to "big" */

struct held {
	struct sockaddr_in to;
	uint8_t data[WIRE_UDP_MIN];
	size_t size;
};

/* What stands for Docker's resolver: it answers by the first label of the name. */
struct fake {
	struct held held[64]; /* answers to "hold", until fake_release */
	unsigned int held_count;
	int udp;
	struct tcp_listener *tcp;
	unsigned int udp_seen;
	unsigned int tcp_seen;
	uint8_t last[WIRE_UDP_MAX]; /* question */
	size_t last_size;
	sd_event_source *source;
	uint16_t port;
};

struct fixture {
	char dir[64];
	char path[80];
	int nsfd;
	sd_event *event;
	struct zone *zone;
	struct dns_server *server;
	struct nft_sock *nft; /* owns the divert table */
	uint16_t port;
	struct fake fake;
	unsigned int fds_before;
};

static inline unsigned int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

/* ---- the fake resolver ----------------------------------------------------- */

static inline bool asks(const struct wire_query *q, const char *label)
{
	size_t len = strlen(label);

	return !strncmp(q->name, label, len) && (q->name[len] == '.' || !q->name[len]);
}

/* 0: no answer. */
static inline size_t fake_answer(const struct wire_query *q, bool is_tcp, uint8_t *out)
{
	struct addr a = {.family = AF_INET, .bytes = {192, 0, 2, 1}};
	size_t limit = is_tcp ? WIRE_MESSAGE_MAX : q->udp_size;
	enum wire_rcode rcode = WIRE_RCODE_NOERROR;
	struct wire_answer answer;
	unsigned int count = 1;

	if (asks(q, "mute"))
		return 0;
	if (asks(q, "big") || asks(q, "onlyudp"))
		count = BIG_SIZE;
	if (asks(q, "nx"))
		rcode = WIRE_RCODE_NXDOMAIN;
	if (asks(q, "fail") || (asks(q, "onlyudp") && is_tcp))
		rcode = WIRE_RCODE_SERVFAIL;
	if (asks(q, "refused"))
		rcode = (enum wire_rcode)5;
	wire_answer_begin(&answer, q, out, limit);
	for (unsigned int i = 0; i < count && rcode == WIRE_RCODE_NOERROR; i++) {
		a.bytes[3] = (uint8_t)(i + 1);
		wire_answer_addr(&answer, &a, 300);
	}
	return wire_answer_end(&answer, rcode);
}

static inline size_t fake_question(struct fake *fake, const uint8_t *msg, size_t size,
				   bool is_tcp, uint8_t *out)
{
	struct wire_query q;

	if (size > sizeof(fake->last) || wire_parse_query(msg, size, &q) < 0)
		return 0;
	memcpy(fake->last, msg, size);
	fake->last_size = size;
	return fake_answer(&q, is_tcp, out);
}

static inline void on_fake_tcp(void *ctx, struct tcp_conn *c, uint8_t *msg, size_t size)
{
	static uint8_t out[WIRE_MESSAGE_MAX];
	struct fake *fake = ctx;
	size_t out_size = fake_question(fake, msg, size, true, out);

	fake->tcp_seen++;
	if (out_size)
		tcp_conn_reply(c, out, out_size);
}

/* "forged": an answer to another question and one with another id come first. */
static inline void fake_forge(int fd, const uint8_t *out, size_t size,
			      const struct sockaddr_in *to)
{
	uint8_t copy[WIRE_UDP_MAX];

	memcpy(copy, out, size);
	copy[WIRE_HEADER_SIZE + 1] ^= 1;
	(void)sendto(fd, copy, size, 0, (const struct sockaddr *)to, sizeof(*to));
	memcpy(copy, out, size);
	copy[0] ^= 0x55;
	(void)sendto(fd, copy, size, 0, (const struct sockaddr *)to, sizeof(*to));
}

static inline int on_fake_udp(sd_event_source *source, int fd, uint32_t revents,
			      void *arg)
{
	uint8_t in[WIRE_UDP_MAX];
	uint8_t out[WIRE_UDP_MAX];
	struct fake *fake = arg;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, in, sizeof(in), 0, (struct sockaddr *)&from, &len);
	size_t size;

	(void)source;
	(void)revents;
	if (n < 0)
		return 0;
	fake->udp_seen++;
	size = fake_question(fake, in, (size_t)n, false, out);
	if (size && !memcmp(in + WIRE_HEADER_SIZE, "\4hold", 5)) {
		struct held *h = &fake->held[fake->held_count++];

		assert_true(fake->held_count <= ARRAY_SIZE(fake->held));
		h->to = from;
		h->size = size;
		memcpy(h->data, out, size);
		return 0;
	}
	if (size && !memcmp(in + WIRE_HEADER_SIZE, "\6forged", 7))
		fake_forge(fd, out, size, &from);
	if (size)
		(void)sendto(fd, out, size, 0, (struct sockaddr *)&from, len);
	return 0;
}

/* Sends what was held, all before the loop turns again. */
static inline void fake_release(struct fake *fake)
{
	for (unsigned int i = 0; i < fake->held_count; i++) {
		const struct held *h = &fake->held[i];

		assert_int_equal(sendto(fake->udp, h->data, h->size, 0,
					(const struct sockaddr *)&h->to, sizeof(h->to)),
				 h->size);
	}
	fake->held_count = 0;
}

static inline int fake_socket(struct fixture *fx, int type, uint16_t port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = ns_socket(fx->nsfd, AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
			   NULL);

	assert_true(fd >= 0);
	sin.sin_addr.s_addr = inet_addr("127.0.0.11");
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	return fd;
}

/* Returns the port. */
static inline uint16_t fake_listen(int fd)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	return ntohs(sin.sin_port);
}

static inline void fake_start(struct fixture *fx)
{
	struct fake *fake = &fx->fake;
	const struct tcp_ops ops = {on_fake_tcp, fake, WAIT_MS};
	int tcp = fake_socket(fx, SOCK_STREAM, 0);

	fake->port = fake_listen(tcp);
	assert_int_equal(tcp_listener_new(fx->event, tcp, &ops, &fake->tcp, NULL), 0);
	fake->udp = fake_socket(fx, SOCK_DGRAM, fake->port);
	assert_true(sd_event_add_io(fx->event, &fake->source, fake->udp, POLLIN,
				    on_fake_udp, fake) >= 0);
}

static inline void fake_stop(struct fixture *fx)
{
	fx->fake.source = sd_event_source_disable_unref(fx->fake.source);
	tcp_listener_free(TAKE(fx->fake.tcp));
	mem_cleanup_close(&fx->fake.udp);
	fx->fake.udp = -1;
}

/* As Docker's: its own table, after ours. */
static inline void fake_divert(struct fixture *fx)
{
	const struct cidr to = {.addr = {AF_INET, {127, 0, 0, 11}}, .prefix = 32};
	static const uint8_t protos[] = {IPPROTO_UDP, IPPROTO_TCP};
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_IPV4, "docker");
	struct nft_sock *sock = NULL;
	struct err e = {.text = ""};

	assert_non_null(b);
	nft_table_add(b, false);
	nft_chain_add_base(b, "OUTPUT", NFT_CHAIN_TYPE_NAT, NFT_HOOK_OUTPUT, -100);
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		nft_rule_begin(b, "OUTPUT", NULL);
		nft_match_addr(b, NFT_FIELD_DADDR, &to, true);
		nft_match_l4proto(b, protos[i]);
		nft_match_dport(b, 53);
		nft_act_dnat(b, &to.addr, fx->fake.port);
		nft_rule_end(b);
	}
	assert_int_equal(nft_open(fx->nsfd, &sock, &e), 0);
	if (nft_commit(sock, b, &e) < 0)
		fail_msg("%s", e.text);
	nft_batch_free(b);
	nft_close(sock);
}

/* ---- the fixture ----------------------------------------------------------- */

static inline void lo_up(int nsfd)
{
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = ns_socket(nsfd, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0, NULL);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	(void)close(fd);
}

static inline struct lb_view *view(uint32_t mark, const char *name, unsigned int count)
{
	struct lb_view *v = lb_view_new(count);

	assert_non_null(v);
	v->mark = mark;
	(void)str_copy(v->network, sizeof(v->network), "net1");
	(void)str_copy(v->name, sizeof(v->name), name);
	for (unsigned int i = 0; i < count; i++) {
		v->backends[i].addr4 =
			(struct addr){AF_INET, {10, 1, (uint8_t)(i >> 8), (uint8_t)i}};
		v->backends[i].weight = 1;
	}
	return v;
}

static inline void zone_fill(struct zone *z)
{
	struct lb_view *v = view(1, "web", 2);

	v->vip4 = (struct addr){AF_INET, {10, 0, 0, 1}};
	assert_int_equal(zone_set(z, v), 0);
	lb_view_put(v);
	v = view(2, "many", 200);
	v->dnsrr = true;
	assert_int_equal(zone_set(z, v), 0);
	lb_view_put(v);
}

static inline void server_start(struct fixture *fx)
{
	static const char networks[1][LB_ID_SIZE] = {"net1"};
	const struct zone_client client = {networks, 1, ""};
	struct dns_sockets sockets;
	struct err e = {.text = ""};

	if (dns_sockets_open(fx->nsfd, &sockets, &e) < 0)
		fail_msg("%s", e.text);
	fx->port = sockets.port;
	assert_int_equal(dns_server_new(fx->event, fx->zone, &fx->server, &e), 0);
	if (dns_server_add(fx->server, TASK, fx->nsfd, &sockets, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(dns_server_set_client(fx->server, TASK, &client), 0);
	assert_int_equal(nft_open(fx->nsfd, &fx->nft, &e), 0);
	if (dns_divert(fx->nft, fx->port, &e) < 0)
		fail_msg("%s", e.text);
}

static inline void server_stop(struct fixture *fx)
{
	dns_server_free(TAKE(fx->server));
	nft_close(TAKE(fx->nft));
}

/* NULL: owner tables and nat chains work here; else what does not. */
static const char *missing_feature(struct fixture *fx)
{
	static struct err e;
	struct nft_sock *sock = NULL;
	int r = nft_open(fx->nsfd, &sock, &e);

	if (r == 0)
		r = dns_divert(sock, 1, &e);
	nft_close(sock);
	return r < 0 ? e.text : NULL;
}

static inline int teardown(void **state)
{
	struct fixture *fx = *state;
	unsigned int fds;

	server_stop(fx);
	zone_free(fx->zone);
	fake_stop(fx);
	sd_event_unref(fx->event);
	mem_cleanup_close(&fx->nsfd);
	(void)ns_remove(fx->path, NULL);
	(void)rmdir(fx->dir);
	fds = count_fds();
	if (fds != fx->fds_before)
		print_error("%u file descriptors before, %u after\n", fx->fds_before,
			    fds);
	fds -= fx->fds_before;
	free(fx);
	return (int)fds;
}

static inline int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	struct err e = {.text = ""};

	assert_non_null(fx);
	*state = fx;
	fx->fds_before = count_fds();
	fx->fake.udp = -1;
	(void)snprintf(fx->dir, sizeof(fx->dir), "/tmp/fairlead-dns-XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	(void)snprintf(fx->path, sizeof(fx->path), "%s/task", fx->dir);
	fx->nsfd = ns_create(fx->path, &e);
	if (fx->nsfd < 0) {
		print_message("skip: %s\n", e.text);
		return 0;
	}
	assert_true(sd_event_new(&fx->event) >= 0);
	fx->zone = zone_new();
	assert_non_null(fx->zone);
	zone_fill(fx->zone);
	if (missing_feature(fx)) {
		print_message("skip: %s\n", missing_feature(fx));
		return 0;
	}
	lo_up(fx->nsfd);
	fake_start(fx);
	fake_divert(fx);
	server_start(fx);
	return 0;
}

/* Each test's begin: skips where set-up could not make the server. */
static inline struct fixture *ready(void **state)
{
	struct fixture *fx = *state;

	if (!fx->server)
		skip();
	return fx;
}

/* ---- clients --------------------------------------------------------------- */

static inline bool is_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* Turns the loop until fd has something to read; false: after ms still nothing. */
static inline bool wait_for(struct fixture *fx, int fd, unsigned int ms)
{
	uint64_t end = clock_us() + ms * 1000ULL;

	while (!is_readable(fd)) {
		if (clock_us() >= end)
			return false;
		assert_true(sd_event_run(fx->event, 5000) >= 0);
	}
	return true;
}

static inline void wait_until_seen(struct fixture *fx, unsigned int count)
{
	uint64_t end = clock_us() + WAIT_MS * 1000ULL;

	while (fx->fake.udp_seen + fx->fake.tcp_seen < count) {
		assert_true(clock_us() < end);
		assert_true(sd_event_run(fx->event, 5000) >= 0);
	}
}

static inline int client_open_port(struct fixture *fx, int type, uint16_t port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = ns_socket(fx->nsfd, AF_INET, type | SOCK_CLOEXEC, 0, NULL);

	assert_true(fd >= 0);
	sin.sin_addr.s_addr = inet_addr("127.0.0.11");
	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	return fd;
}

static inline int client_open(struct fixture *fx, int type)
{
	return client_open_port(fx, type, 53);
}

/* edns: the size that the client takes, or 0. */
static inline size_t question(uint8_t *msg, uint16_t id, const char *name, uint16_t type,
			      uint16_t edns)
{
	size_t size = WIRE_HEADER_SIZE;

	memset(msg, 0, WIRE_HEADER_SIZE);
	wire_put16(msg, id);
	wire_put16(msg + 2, 0x0100);
	wire_put16(msg + 4, 1);
	wire_put16(msg + 10, edns ? 1 : 0);
	while (*name) {
		size_t len = strcspn(name, ".");

		msg[size++] = (uint8_t)len;
		memcpy(msg + size, name, len);
		size += len;
		name += len + (name[len] ? 1 : 0);
	}
	msg[size++] = 0;
	wire_put16(msg + size, type);
	wire_put16(msg + size + 2, WIRE_CLASS_IN);
	size += 4;
	if (edns) {
		memcpy(msg + size, "\0\0\x29\0\0\0\0\0\0\0\0", 11);
		wire_put16(msg + size + 3, edns);
		size += 11;
	}
	return size;
}

struct reply {
	uint8_t data[WIRE_MESSAGE_MAX];
	size_t size;
	uint16_t flags;
	unsigned int rcode;
	unsigned int count;
	uint8_t first[4]; /* address of the first record */
};

static inline void reply_read(struct reply *rp)
{
	size_t at = WIRE_HEADER_SIZE;

	assert_true(rp->size >= WIRE_HEADER_SIZE);
	rp->flags = wire_get16(rp->data + 2);
	rp->rcode = rp->flags & WIRE_RCODE_MASK;
	rp->count = wire_get16(rp->data + 6);
	if (rp->count == 0)
		return;
	while (rp->data[at])
		at += 1 + (size_t)rp->data[at];
	assert_true(at + 5 + 16 <= rp->size);
	memcpy(rp->first, rp->data + at + 5 + 12, 4);
}

static inline bool recv_all(struct fixture *fx, int fd, uint8_t *data, size_t size)
{
	for (size_t got = 0; got < size;) {
		ssize_t n;

		assert_true(wait_for(fx, fd, WAIT_MS));
		n = recv(fd, data + got, size - got, 0);
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

/* false: the server closed the connection. */
static inline bool tcp_recv(struct fixture *fx, int fd, struct reply *rp)
{
	uint8_t prefix[2];

	if (!recv_all(fx, fd, prefix, 2))
		return false;
	rp->size = wire_get16(prefix);
	assert_true(recv_all(fx, fd, rp->data, rp->size));
	reply_read(rp);
	return true;
}

static inline void udp_recv(struct fixture *fx, int fd, struct reply *rp)
{
	ssize_t n;

	assert_true(wait_for(fx, fd, WAIT_MS));
	n = recv(fd, rp->data, sizeof(rp->data), 0);
	assert_true(n > 0);
	rp->size = (size_t)n;
	reply_read(rp);
}

static inline void tcp_send(int fd, const uint8_t *msg, size_t size)
{
	uint8_t data[2 + 512];

	wire_put16(data, (uint16_t)size);
	memcpy(data + 2, msg, size);
	assert_int_equal(send(fd, data, size + 2, MSG_NOSIGNAL), size + 2);
}

/* One question by a socket of its own; the id must come back. */
static inline void ask(struct fixture *fx, int type, const char *name, uint16_t qtype,
		       uint16_t edns, struct reply *rp)
{
	static uint16_t id = 0x4200;
	auto_close int fd = client_open(fx, type);
	uint8_t msg[512];
	size_t size = question(msg, ++id, name, qtype, edns);

	if (type == SOCK_STREAM) {
		tcp_send(fd, msg, size);
		assert_true(tcp_recv(fx, fd, rp));
	} else {
		assert_int_equal(send(fd, msg, size, 0), size);
		udp_recv(fx, fd, rp);
	}
	assert_int_equal(wire_get16(rp->data), id);
	assert_true(rp->flags & WIRE_FLAG_QR);
	assert_memory_equal(rp->data + WIRE_HEADER_SIZE, msg + WIRE_HEADER_SIZE,
			    size - WIRE_HEADER_SIZE - (edns ? 11 : 0));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* Runs the table as root, or says why not. */
#define RUN(tests)                                                  \
	(geteuid() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) \
			: (print_message("1..0 # SKIP needs root\n"), 0))

#endif
