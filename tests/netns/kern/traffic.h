/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_NETNS_KERN_TRAFFIC_H
#define TESTS_NETNS_KERN_TRAFFIC_H
/*
 * A client and two backends, each in its namespace, joined by a bridge in the
 * client's; servers are sockets of the test itself. The client reaches the virtual
 * address through its table, as a task does.
 */
#include "tests/netns/kern/fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "driver/kern/link.h"
#include "driver/kern/nft.h"
#include "plugin/base/addr.h"

#define WAIT_MS 3000

#define VIP4 "10.1.0.200"
#define VIP6 "fd00::c8"

static const char *const lan_addr4[] = {"10.1.0.1", "10.1.0.11", "10.1.0.12"};
static const char *const lan_addr6[] = {"fd00::1", "fd00::11", "fd00::12"};

static int lan_ns[3]; /* the client, two backends */

static inline void lan_set_addrs(struct link_sock *ls, const char *link, int i)
{
	struct cidr c4 = {.prefix = 24};
	struct cidr c6 = {.prefix = 64};

	assert_int_equal(addr_parse(lan_addr4[i], &c4.addr), 0);
	assert_int_equal(addr_parse(lan_addr6[i], &c6.addr), 0);
	assert_ok(link_up(ls, "lo", NULL, &fixture_err));
	assert_ok(link_up(ls, link, NULL, &fixture_err));
	assert_ok(link_addr_add(ls, link, &c4, LINK_SCOPE_GLOBAL, &fixture_err));
	assert_ok(link_addr_add(ls, link, &c6, LINK_SCOPE_GLOBAL, &fixture_err));
}

static inline void lan_setup(void)
{
	struct link_sock *client;
	struct link_sock *backend;
	char port[IFNAMSIZ];
	int i;

	for (i = 0; i < 3; i++)
		lan_ns[i] = fixture_add();
	assert_ok(link_open(fixture.fd[lan_ns[0]], &client, &fixture_err));
	assert_ok(link_bridge_add(client, "br0", NULL, 0, &fixture_err));
	lan_set_addrs(client, "br0", 0);
	for (i = 1; i < 3; i++) {
		struct link_veth v = {
			.name = port, .peer = "eth0", .peer_nsfd = fixture.fd[lan_ns[i]]};

		(void)snprintf(port, sizeof(port), "p%d", i);
		assert_ok(link_veth_add(client, &v, &fixture_err));
		assert_ok(link_up(client, port, "br0", &fixture_err));
		assert_ok(link_open(fixture.fd[lan_ns[i]], &backend, &fixture_err));
		lan_set_addrs(backend, "eth0", i);
		link_close(backend);
	}
	link_close(client);
}

static inline socklen_t sock_address(const char *addr, uint16_t port,
				     struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, addr, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	assert_int_equal(inet_pton(AF_INET6, addr, &v6->sin6_addr), 1);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}

/* A bound socket; SOCK_STREAM: listening. */
static inline int serve(int ns, int type, const char *addr, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t size = sock_address(addr, port, &sa);
	int fd = ns_socket(fixture.fd[ns], sa.ss_family, type | SOCK_NONBLOCK, 0,
			   &fixture_err);
	int one = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, size), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 64), 0);
	return fd;
}

/* A socket of the client on its way to addr. */
static inline int dial(int type, const char *addr, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t size = sock_address(addr, port, &sa);
	int fd = ns_socket(fixture.fd[lan_ns[0]], sa.ss_family, type | SOCK_NONBLOCK, 0,
			   &fixture_err);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&sa, size) < 0)
		assert_int_equal(errno, EINPROGRESS);
	return fd;
}

/* Which of the two servers has something to read? */
static inline int wait_for(const int server[2])
{
	struct pollfd p[2] = {{.fd = server[0], .events = POLLIN},
			      {.fd = server[1], .events = POLLIN}};

	if (poll(p, 2, WAIT_MS) <= 0)
		fail_msg("nothing arrived at any backend");
	return p[0].revents ? 0 : 1;
}

/* Sends one datagram over fd, answers it, takes the answer; returns the backend. */
static inline int ask_udp(int fd, const int server[2])
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	char c = 'q';
	int i;

	assert_int_equal(send(fd, &c, 1, 0), 1);
	i = wait_for(server);
	assert_int_equal(recvfrom(server[i], &c, 1, 0, (struct sockaddr *)&from, &size),
			 1);
	assert_int_equal(sendto(server[i], "a", 1, 0, (struct sockaddr *)&from, size), 1);
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_int_equal(recv(fd, &c, 1, 0), 1);
	assert_int_equal(c, 'a');
	return i;
}

/* Takes the connection of fd; returns the backend, its end in *ret_fd. */
static inline int accept_tcp(int fd, const int server[2], int *ret_fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int i = wait_for(server);
	int error = -1;
	socklen_t size = sizeof(error);

	*ret_fd = accept(server[i], NULL, NULL);
	assert_true(*ret_fd >= 0);
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
	assert_int_equal(error, 0);
	return i;
}

/* The client's table: the VIP goes to count slots, slot i to backend slots[i]. */
static inline void lan_balance(struct nft_sock *sock, uint8_t family,
			       enum nft_spread spread, const int slots[2])
{
	const char *const *addrs = family == AF_INET ? lan_addr4 : lan_addr6;
	enum nft_type type = family == AF_INET ? NFT_TYPE_IPV4 : NFT_TYPE_IPV6;
	struct nft_set vip = {"vip", type, NFT_TYPE_VERDICT, false};
	struct nft_set slot = {"be-256", NFT_TYPE_MARK, type, false};
	struct nft_value key = {.type = type};
	struct nft_value value = {.type = NFT_TYPE_VERDICT, .name = "be-256"};
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	uint32_t i;

	assert_non_null(b);
	nft_table_del(b);
	nft_table_add(b, false);
	nft_chain_add(b, "be-256");
	nft_set_add(b, &vip);
	nft_set_add(b, &slot);
	assert_int_equal(addr_parse(family == AF_INET ? VIP4 : VIP6, &key.addr), 0);
	nft_elem_add(b, &vip, &key, &value);
	for (i = 0; i < 2; i++) {
		key = (struct nft_value){.type = NFT_TYPE_MARK, .number = i};
		value = (struct nft_value){.type = type};
		assert_int_equal(addr_parse(addrs[slots[i] + 1], &value.addr), 0);
		nft_elem_add(b, &slot, &key, &value);
	}
	nft_rule_begin(b, "be-256", NULL);
	nft_match_l4_ports(b);
	nft_act_dnat_spread(b, family, spread, 2, "be-256");
	nft_rule_end(b);
	nft_chain_add_base(b, "balance", NFT_CHAIN_TYPE_NAT, NFT_HOOK_OUTPUT, -105);
	nft_rule_begin(b, "balance", NULL);
	nft_act_daddr_vmap(b, family, "vip");
	nft_rule_end(b);
	assert_ok(nft_commit(sock, b, &fixture_err));
	nft_batch_free(b);
}

#endif
