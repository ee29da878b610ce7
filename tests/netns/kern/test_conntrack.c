// SPDX-License-Identifier: GPL-2.0-or-later
/* Entries of real flows through a balancing table: counted, deleted, moved. */
#include "tests/netns/kern/traffic.h"

#include "driver/kern/conntrack.h"
#include "driver/kern/nft.h"

static const int both[2] = {0, 1};
static const int only[2][2] = {{0, 0}, {1, 1}};

static struct nft_sock *table;
static struct conntrack_sock *sock;
static int server[2];

static int setup(void **state)
{
	int i;

	if (fixture_setup(state) < 0)
		return -1;
	lan_setup();
	if (nft_open(fixture.fd[lan_ns[0]], &table, &fixture_err) < 0 ||
	    conntrack_open(fixture.fd[lan_ns[0]], &sock, &fixture_err) < 0) {
		print_error("%s\n", fixture_err.text);
		return -1;
	}
	for (i = 0; i < 2; i++)
		server[i] = serve(lan_ns[i + 1], SOCK_DGRAM, lan_addr4[i + 1], 53);
	return 0;
}

static int teardown(void **state)
{
	close(server[0]);
	close(server[1]);
	conntrack_close(sock);
	nft_close(table);
	return fixture_teardown(state);
}

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static void removal_moves_a_udp_flow(void **state)
{
	struct addr vip = addr_of(VIP4);
	struct addr backend;
	int fd;
	int i;

	(void)state;
	lan_balance(table, AF_INET, NFT_SPREAD_INC, both);
	fd = dial(SOCK_DGRAM, VIP4, 53);
	i = ask_udp(fd, server);
	lan_balance(table, AF_INET, NFT_SPREAD_INC, only[!i]);
	assert_int_equal(ask_udp(fd, server), i); /* it sticks */
	backend = addr_of(lan_addr4[i + 1]);
	assert_int_equal(conntrack_del_nat(sock, &vip, &backend, &fixture_err), 1);
	assert_int_equal(ask_udp(fd, server), !i);
	assert_int_equal(conntrack_del_nat(sock, &vip, &backend, &fixture_err), 0);
	assert_int_equal(ask_udp(fd, server), !i);
	close(fd);
}

static void other_entries_stay(void **state)
{
	struct addr vip = addr_of(VIP4);
	struct addr other_vip = addr_of("10.1.0.201");
	struct addr backend = addr_of(lan_addr4[1]);
	struct addr none = {0};
	int through;
	int direct;

	(void)state;
	lan_balance(table, AF_INET, NFT_SPREAD_INC, only[0]);
	through = dial(SOCK_DGRAM, VIP4, 53);
	direct = dial(SOCK_DGRAM, lan_addr4[1], 53);
	assert_int_equal(ask_udp(through, server), 0);
	assert_int_equal(ask_udp(direct, server), 0);
	assert_int_equal(conntrack_del_nat(sock, &other_vip, &backend, &fixture_err), 0);
	assert_int_equal(conntrack_del_nat(sock, &none, &backend, &fixture_err), 1);
	assert_int_equal(conntrack_del_nat(sock, NULL, &backend, &fixture_err), 0);
	assert_int_equal(fixture_run(lan_ns[0], "conntrack -L -p udp"), 0);
	assert_output("dst=10.1.0.11 sport=");
	assert_no_output("dst=" VIP4);
	assert_int_equal(ask_udp(through, server), 0);
	assert_int_equal(conntrack_del_nat(sock, &vip, &backend, &fixture_err), 1);
	close(through);
	close(direct);
}

static void many_flows_are_deleted(void **state)
{
	struct addr vip = addr_of(VIP4);
	struct addr backend[2] = {addr_of(lan_addr4[1]), addr_of(lan_addr4[2])};
	int got[2] = {0};
	int fd[500]; /* open at once: no port is used twice */
	int i;

	(void)state;
	lan_balance(table, AF_INET, NFT_SPREAD_INC, both);
	for (i = 0; i < 500; i++) {
		fd[i] = dial(SOCK_DGRAM, VIP4, 53);
		got[ask_udp(fd[i], server)]++;
	}
	for (i = 0; i < 500; i++)
		close(fd[i]);
	assert_int_equal(got[0], 250);
	for (i = 0; i < 2; i++)
		assert_int_equal(conntrack_del_nat(sock, &vip, &backend[i], &fixture_err),
				 got[i]);
	assert_int_equal(fixture_run(lan_ns[0], "conntrack -L -p udp"), 0);
	assert_no_output("dst=" VIP4);
}

static void ipv6_is_the_same(void **state)
{
	struct addr vip = addr_of(VIP6);
	struct addr backend;
	int server6[2];
	int fd;
	int i;

	(void)state;
	for (i = 0; i < 2; i++)
		server6[i] = serve(lan_ns[i + 1], SOCK_DGRAM, lan_addr6[i + 1], 53);
	lan_balance(table, AF_INET6, NFT_SPREAD_INC, both);
	fd = dial(SOCK_DGRAM, VIP6, 53);
	i = ask_udp(fd, server6);
	lan_balance(table, AF_INET6, NFT_SPREAD_INC, only[!i]);
	backend = addr_of(lan_addr6[i + 1]);
	assert_int_equal(conntrack_del_nat(sock, &vip, &backend, &fixture_err), 1);
	assert_int_equal(ask_udp(fd, server6), !i);
	close(fd);
	close(server6[0]);
	close(server6[1]);
}

static void a_list_is_deleted_in_one_go(void **state)
{
	const struct conntrack_nat list[] = {
		{addr_of(VIP6), addr_of(lan_addr6[1])},
		{addr_of(VIP4), addr_of(lan_addr4[2])},
		{{0}, addr_of(lan_addr4[1])},
		{addr_of("10.1.0.201"), addr_of(lan_addr4[1])},
	};
	int fd[8];
	int i;

	(void)state;
	assert_int_equal(conntrack_del_nat_list(sock, list, 4, &fixture_err), 0);
	lan_balance(table, AF_INET, NFT_SPREAD_INC, both);
	for (i = 0; i < 8; i++) {
		fd[i] = dial(SOCK_DGRAM, VIP4, 53);
		(void)ask_udp(fd[i], server); /* either backend */
	}
	assert_int_equal(conntrack_del_nat_list(sock, list, 2, &fixture_err), 4);
	assert_int_equal(conntrack_del_nat_list(sock, list + 3, 1, &fixture_err), 0);
	assert_int_equal(conntrack_del_nat_list(sock, list, 4, &fixture_err), 4);
	assert_int_equal(conntrack_del_nat_list(sock, list, 0, &fixture_err), 0);
	for (i = 0; i < 8; i++)
		close(fd[i]);
}

/* Waits until the kernel has seen the end of a connection, too. */
static void wait_for_count(struct conntrack_count *c, size_t index, unsigned int want)
{
	uint64_t end = clock_us() + 3000000;

	do {
		assert_ok(conntrack_count_nat(sock, c, 3, &fixture_err));
		if (c[index].active == want)
			return;
	} while (clock_us() < end);
	fail_msg("%u connections instead of %u", c[index].active, want);
}

static void connections_are_counted(void **state)
{
	struct conntrack_count c[] = {
		{.vip = addr_of(VIP4), .backend = addr_of(lan_addr4[1]), .active = 99},
		{.vip = addr_of(VIP6), .backend = addr_of(lan_addr6[1]), .active = 99},
		{.vip = addr_of(VIP4), .backend = addr_of(lan_addr4[2]), .active = 99},
	};
	int listener[2];
	int accepted;
	int udp;
	int fd;
	int i;

	(void)state;
	for (i = 0; i < 2; i++)
		listener[i] = serve(lan_ns[i + 1], SOCK_STREAM, lan_addr4[i + 1], 80);
	lan_balance(table, AF_INET, NFT_SPREAD_INC, only[1]);
	fd = dial(SOCK_STREAM, VIP4, 80);
	assert_int_equal(accept_tcp(fd, listener, &accepted), 1);
	udp = dial(SOCK_DGRAM, VIP4, 53);
	assert_int_equal(ask_udp(udp, server), 1);
	wait_for_count(c, 2, 2);
	assert_int_equal(c[0].active, 0);
	assert_int_equal(c[1].active, 0);
	close(fd);
	close(accepted);
	wait_for_count(c, 2, 1); /* a closed one does not count */
	assert_ok(conntrack_count_nat(sock, c, 0, &fixture_err));
	close(udp);
	close(listener[0]);
	close(listener[1]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(removal_moves_a_udp_flow),	   TEST(other_entries_stay),
		TEST(many_flows_are_deleted),	   TEST(ipv6_is_the_same),
		TEST(a_list_is_deleted_in_one_go), TEST(connections_are_counted),
	};

	return fixture_enter() < 0 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
