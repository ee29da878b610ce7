// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the kernel worker does for DNS in a task's namespace: the two sockets, and the
 * nftables rules that lead questions to them. Docker's own rules (iptables nat OUTPUT or
 * table "ip docker-dns", both priority -100) see only what ours let pass: the first
 * translation of a connection wins.
 */
#include "lb/dns/server.h"

#include "driver/kern/nft.h"
#include "driver/kern/ns.h"
#include "lb/dns/forward.h"
#include "plugin/base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define CHAIN	       "output"
#define CHAIN_PRIORITY (-110)
#define DNS_PORT       53
#define LISTEN_BACKLOG 64
#define PORT_DRAWS     16

/*
 * Wanted in each namespace: conntrack goes on sending a client that keeps its socket
 * (nginx, Envoy) to the port of the daemon before this one. Any other does where a
 * program of the container has it.
 */
#define PORT_WANTED 40053

static int socket_bind(int fd, uint16_t port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	const int on = 1;

	sin.sin_addr.s_addr = inet_addr(FORWARD_ADDR);
	/* The loopback device may still be down. */
	if (setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) < 0)
		return -errno;
	return bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ? -errno : 0;
}

static int socket_port(int fd, uint16_t *ret)
{
	struct sockaddr_in sin = {0};
	socklen_t len = sizeof(sin);

	if (getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		return -errno;
	*ret = ntohs(sin.sin_port);
	return 0;
}

/* Connections of an earlier daemon may still be in TIME_WAIT on the port. */
static int listen_tcp(int nsfd, uint16_t wanted, uint16_t *ret_port, struct err *e)
{
	auto_close int fd = -1;
	const int on = 1;
	int r;

	fd = ns_socket(nsfd, AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, e);
	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return err_sys(e, -errno, "DNS socket (tcp)");
	r = socket_bind(fd, wanted);
	if (r < 0)
		return err_sys(e, r, "DNS socket (tcp) on %s:%u", FORWARD_ADDR, wanted);
	if (listen(fd, LISTEN_BACKLOG) < 0)
		return err_sys(e, -errno, "listening on %s:%u", FORWARD_ADDR, wanted);
	r = socket_port(fd, ret_port);
	return r < 0 ? err_sys(e, r, "port of the DNS socket") : TAKE_FD(fd);
}

static int open_udp(int nsfd, uint16_t port, struct err *e)
{
	auto_close int fd = -1;
	int r;

	fd = ns_socket(nsfd, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, e);
	if (fd < 0)
		return fd;
	r = socket_bind(fd, port);
	if (r < 0)
		return err_sys(e, r, "DNS socket (udp) on %s:%u", FORWARD_ADDR, port);
	return TAKE_FD(fd);
}

int dns_sockets_open(int nsfd, struct dns_sockets *ret, struct err *e)
{
	uint16_t wanted = PORT_WANTED;
	int r = 0;

	for (int i = 0; i < PORT_DRAWS; i++, wanted = 0) {
		auto_close int tcp = -1;
		uint16_t port = 0;

		r = tcp = listen_tcp(nsfd, wanted, &port, e);
		if (r >= 0)
			r = open_udp(nsfd, port, e);
		if (r >= 0) {
			*ret = (struct dns_sockets){r, TAKE_FD(tcp), port};
			return 0;
		}
		if (r != -EADDRINUSE)
			break;
	}
	return r;
}

void dns_sockets_close(struct dns_sockets *s)
{
	mem_cleanup_close(&s->udp);
	mem_cleanup_close(&s->tcp);
	s->udp = -1;
	s->tcp = -1;
}

static void rule_add(struct nft_batch *b, uint8_t proto, uint16_t port)
{
	const struct cidr resolver = {.addr = {AF_INET, {127, 0, 0, 11}}, .prefix = 32};

	nft_rule_begin(b, CHAIN, "fairlead dns");
	nft_match_addr(b, NFT_FIELD_DADDR, &resolver, true);
	nft_match_l4proto(b, proto);
	nft_match_dport(b, DNS_PORT);
	nft_match_mark(b, DNS_FORWARD_MARK, false);
	nft_act_dnat(b, &resolver.addr, port);
	nft_rule_end(b);
}

int dns_divert(struct nft_sock *ns, uint16_t port, struct err *e)
{
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, DNS_TABLE);
	int r;

	if (!b)
		return err_sys(e, -ENOMEM, "table %s", DNS_TABLE);
	nft_table_del(b);
	nft_table_add(b, true);
	nft_chain_add_base(b, CHAIN, NFT_CHAIN_TYPE_NAT, NFT_HOOK_OUTPUT, CHAIN_PRIORITY);
	rule_add(b, IPPROTO_UDP, port);
	rule_add(b, IPPROTO_TCP, port);
	r = nft_commit(ns, b, e);
	nft_batch_free(b);
	return r < 0 ? err_wrap(e, r, "table %s", DNS_TABLE) : 0;
}
