// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What users of Docker's own allocator expect, as far as test_ipam.c and test_pool.c do
 * not say it yet: overlaps, sub-pools, all sizes, the order of addresses. Two things are
 * different by intent: releases of what is unknown succeed, and addresses go round, each
 * resting for a while when it has been released.
 */
#include "tests/unit/ipam/script.h"

/* --- overlaps ---------------------------------------------------------------------- */

/* The second pool is asked for while the first one is held. */
static void test_overlaps(void **state)
{
	static const struct {
		const char *first, *first_sub, *second, *second_sub;
		bool good;
	} cases[] = {
		{"10.0.0.0/8", "", "10.0.0.0/8", "", false},
		{"10.0.0.0/8", "", "10.0.0.0/9", "", false},
		{"10.0.0.0/8", "", "10.0.0.0/16", "", false},
		{"10.0.0.0/8", "", "10.255.255.0/24", "", false},
		{"10.0.0.0/8", "", "10.255.255.255/32", "", false},
		{"10.0.0.0/8", "", "8.0.0.0/6", "", false},
		{"10.0.0.0/8", "", "11.0.0.0/8", "", true},
		{"10.0.0.0/8", "", "9.0.0.0/8", "", true},
		{"10.0.0.0/24", "", "10.0.1.0/24", "", true},
		{"10.0.0.0/24", "", "10.0.0.0/23", "", false},
		{"10.0.1.0/24", "", "10.0.0.0/23", "", false},
		{"10.0.1.0/24", "", "10.0.2.0/23", "", true},
		{"192.168.0.0/16", "", "192.168.255.0/24", "", false},
		{"192.168.0.4/30", "", "192.168.0.6/31", "", false},
		{"192.168.0.4/30", "", "192.168.0.8/31", "", true},
		{"192.168.0.4/32", "", "192.168.0.4/32", "", false},
		{"192.168.0.4/32", "", "192.168.0.5/32", "", true},
		{"10.20.30.40/16", "", "10.20.99.0/24", "", false},
		{"fd00::/48", "", "fd00::/48", "", false},
		{"fd00::/48", "", "fd00::/64", "", false},
		{"fd00::/48", "", "fd00:0:0:ffff::/64", "", false},
		{"fd00::/48", "", "fd00:0:1::/64", "", true},
		{"fd00::/48", "", "fd00::/16", "", false},
		{"fd00::/64", "", "fd00::ffff:0:0:0/80", "", false},
		{"fd00::/64", "", "fd00:0:0:1::/80", "", true},
		{"fd00::1/128", "", "fd00::1/128", "", false},
		{"fd00::a00:0/104", "", "10.0.0.0/8", "", true},
		/* with sub-pools */
		{"10.0.0.0/8", "", "10.0.0.0/8", "10.1.0.0/16", true},
		{"10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "10.2.0.0/16", true},
		{"10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "10.1.0.0/16", false},
		{"10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "10.1.2.0/24", true},
		{"10.0.0.0/8", "10.1.2.0/24", "10.0.0.0/8", "10.1.0.0/16", true},
		{"10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/16", "10.0.9.0/24", true},
		{"10.0.0.0/16", "10.0.9.0/24", "10.0.0.0/8", "10.1.0.0/16", true},
		{"10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16", true},
		{"fd00::/48", "fd00::/64", "fd00::/48", "fd00:0:0:1::/64", true},
		{"fd00::/48", "fd00::/64", "fd00::/48", "fd00::/64", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct script script = {
			cases[i].second,
			{{POOL, LOC, cases[i].first, cases[i].first_sub, NULL},
			 {POOL, LOC, cases[i].second, cases[i].second_sub,
			  cases[i].good ? NULL : "pool ", cases[i].good ? 0 : -EEXIST},
			 {POOL, GLO, cases[i].second, cases[i].second_sub, NULL}}};

		run_script(&script);
	}
}

/* --- sizes ------------------------------------------------------------------------- */

/* Every size: first and last address of a pool and of its half, the reserved ones, the
 * capacity. */
static void check_size(const char *base, unsigned int prefix)
{
	char pool[CIDR_TEXT_SIZE + 4];
	char id[IPAM_POOL_ID_SIZE];
	char text[4][CIDR_TEXT_SIZE];
	char listing[32];
	struct pool_span span;
	struct cidr c;
	bool v4;
	bool reserved;
	uint64_t count;

	(void)snprintf(pool, sizeof(pool), "%s/%u", base, prefix);
	assert_int_equal(cidr_parse(pool, &c), 0);
	c = cidr_network(&c);
	v4 = c.addr.family == AF_INET;
	reserved = prefix + 2U <= addr_bits(&c.addr);
	span = pool_span_of(&c);
	(void)snprintf(id, sizeof(id), LOC "/%s", cidr_format(&c, text[0]));
	c.addr = addrnum_addr(span.family, span.first + reserved);
	(void)cidr_format(&c, text[0]);
	c.addr = addrnum_addr(span.family, span.last - (reserved && v4));
	(void)addr_format(&c.addr, text[1]);
	(void)cidr_format(&c, text[2]);
	c.addr = addrnum_addr(span.family, span.first);
	(void)addr_format(&c.addr, text[3]);
	count = addr_bits(&c.addr) - prefix >= 64
			? UINT64_MAX
			: (uint64_t)(span.last - span.first) + 1 - reserved -
				  (reserved && v4);
	(void)snprintf(listing, sizeof(listing), "%d/%llu", count > 1 ? 2 : 1,
		       (unsigned long long)count);
	{
		bool one = count == 1;
		const struct script script = {
			pool,
			{{VIPPOOL, LOC, pool, "none", id},
			 {GATEWAY, id, "", "", text[0]},
			 {ADDR, id, text[1], "", one ? "is taken" : text[2],
			  one ? -EEXIST : 0},
			 {ADDR, id, text[3], "",
			  reserved ? "address of pool" : "is taken",
			  reserved ? -EINVAL : -EEXIST},
			 {LIST, id, "", "", listing}}};

		run_script(&script);
	}
}

static void test_sizes(void **state)
{
	(void)state;
	for (unsigned int prefix = 2; prefix <= 32; prefix++)
		check_size("128.0.0.4", prefix);
	for (unsigned int prefix = 8; prefix <= 32; prefix++)
		check_size("10.20.30.40", prefix);
	for (unsigned int prefix = 7; prefix <= 128; prefix++)
		check_size("fd12:3456:789a:bcde:f012:3456:789a:bcde", prefix);
}

static const struct script ranges[] = {
	{"a sub-pool's first and last address are usable, with the pool's mask",
	 {{VIPPOOL, LOC, "172.28.0.0/16", "none", NULL},
	  {POOL, LOC, "172.28.0.0/16", "172.28.30.254/31", NULL},
	  {ADDR, LOC "/172.28.0.0/16/172.28.30.254/31", "", "", "172.28.30.254/16"},
	  {ADDR, LOC "/172.28.0.0/16/172.28.30.254/31", "", "", "172.28.30.255/16"},
	  {ADDR, LOC "/172.28.0.0/16/172.28.30.254/31", "", "", "is full", -ENOSPC},
	  {POOL, LOC, "172.28.0.0/16", "172.28.31.0/32", NULL},
	  {ADDR, LOC "/172.28.0.0/16/172.28.31.0/32", "", "", "172.28.31.0/16"}}},
	{"a sub-pool that is the pool",
	 {{POOL, LOC, "192.168.0.0/28", "192.168.0.0/28", NULL},
	  {GATEWAY, LOC "/192.168.0.0/28/192.168.0.0/28", "", "", "192.168.0.1/28"},
	  {ADDR, LOC "/192.168.0.0/28/192.168.0.0/28", "", "", "192.168.0.2/28"},
	  {ADDR, LOC "/192.168.0.0/28/192.168.0.0/28", "192.168.0.15", "", "broadcast",
	   -EINVAL},
	  {LIST, LOC "/192.168.0.0/28/192.168.0.0/28", "", "", "2/11"}}},
	{"gateway, aux and asked-for addresses outside of the sub-pool",
	 {{POOL, LOC, "10.0.0.0/16", "10.0.5.0/24", NULL},
	  {GATEWAY, LOC "/10.0.0.0/16/10.0.5.0/24", "10.0.0.1", "", "10.0.0.1/16"},
	  {ADDR, LOC "/10.0.0.0/16/10.0.5.0/24", "10.0.0.2", "", "10.0.0.2/16"},
	  {ADDR, LOC "/10.0.0.0/16/10.0.5.0/24", "10.0.5.1", "", "10.0.5.1/16"},
	  {ADDR, LOC "/10.0.0.0/16/10.0.5.0/24", "", "", "10.0.5.0/16"},
	  {ADDR, LOC "/10.0.0.0/16/10.0.5.0/24", "", "", "10.0.5.2/16"},
	  {RELEASE, LOC "/10.0.0.0/16/10.0.5.0/24", "10.0.0.2"},
	  {LIST, LOC "/10.0.0.0/16/10.0.5.0/24", "", "", "4/256"}}},
	{"children keep the pool",
	 {{POOL, LOC, "10.0.0.0/8", "", NULL},
	  {POOL, LOC, "10.0.0.0/8", "10.1.0.0/16", NULL},
	  {POOL, LOC, "10.0.0.0/8", "10.1.0.0/16", "invalid pool request", -EEXIST},
	  {ADDR, LOC "/10.0.0.0/8/10.1.0.0/16", "", "", "10.1.0.0/8"},
	  {DROP, LOC "/10.0.0.0/8"},
	  {DROP, LOC "/10.0.0.0/8"},
	  {POOL, LOC, "10.0.0.0/8", "", "overlaps", -EEXIST},
	  {ADDR, LOC "/10.0.0.0/8/10.1.0.0/16", "", "", "10.1.0.1/8"},
	  {DROP, LOC "/10.0.0.0/8/10.1.0.0/16"},
	  {ADDR, LOC "/10.0.0.0/8/10.1.0.0/16", "", "", "is not known", -ENOENT},
	  {POOL, LOC, "10.0.0.0/8", "", NULL}}},
	{"bad input",
	 {{POOL, LOC, "/24", "", "pool \"/24\" is not a subnet", -EINVAL},
	  {POOL, LOC, "0.0.0.0/AB", "", "is not a subnet", -EINVAL},
	  {POOL, LOC, "0.0.0.0/33", "", "is not a subnet", -EINVAL},
	  {POOL, LOC, "::/129", "", "is not a subnet", -EINVAL},
	  {POOL, LOC, "::/0", "", "size of /0", -EINVAL},
	  {POOL, LOC, "10.0.0.0", "", "is not a subnet", -EINVAL},
	  {POOL, LOC, "10.0.0.0/-1", "", "is not a subnet", -EINVAL},
	  {POOL, LOC, "", "10.0.0.0/24", "needs a pool (--subnet)", -EINVAL},
	  {POOL, LOC, "10.0.0.0/24", "10.0.1.0/24", "is not inside pool 10.0.0.0/24",
	   -EINVAL},
	  {POOL, LOC, "10.0.0.0/24", "fd00::/64", "is not inside pool", -EINVAL},
	  {POOL, LOC, "10.0.0.0/24", "10.0.0.255/32", "no usable address", -EINVAL},
	  {POOL, LOC, "127.0.0.0/24", "", "127.0.0.0/8 (loopback)", -EINVAL},
	  {POOL, LOC, "224.1.0.0/16", "", "multicast", -EINVAL},
	  {POOL, "", "", "", "address space \"\" is not known", -EINVAL}}},
	{"tiny pools",
	 {{POOL, LOC, "10.0.0.0/29", "", NULL},
	  {VIP, LOC, "10.0.0.0/29", "", "10.0.0.6/31"},
	  {LIST, LOC "/10.0.0.0/29", "", "", "0/5"},
	  {POOL, LOC, "10.0.1.0/30", "", NULL},
	  {VIP, LOC, "10.0.1.0/30", "", ""},
	  {SETVIP, LOC, "10.0.1.0/30", "10.0.1.2/32",
	   "VIP range \"10.0.1.2/32\" leaves no room for containers in pool 10.0.1.0/30",
	   -EINVAL},
	  {GATEWAY, LOC "/10.0.1.0/30", "", "", "10.0.1.1/30"},
	  {ADDR, LOC "/10.0.1.0/30", "", "", "10.0.1.2/30"},
	  {ADDR, LOC "/10.0.1.0/30", "", "", "pool " LOC "/10.0.1.0/30 is full", -ENOSPC},
	  {POOL, LOC, "10.0.2.0/31", "", NULL},
	  {VIP, LOC, "10.0.2.0/31", "", ""},
	  {VIPPOOL, LOC, "10.0.3.0/31", "10.0.3.0/32", "no room for containers", -EINVAL},
	  {POOL, LOC, "10.0.4.0/32", "", NULL},
	  {VIP, LOC, "10.0.4.0/32", "", ""},
	  {POOL, LOC, "fd00::/125", "", NULL},
	  {VIP, LOC, "fd00::/125", "", "fd00::6/127"},
	  {POOL, LOC, "fd00::8/126", "", NULL},
	  {VIP, LOC, "fd00::8/126", "", ""}}},
};

static void test_ranges(void **state)
{
	(void)state;
	run_all(ranges, ARRAY_SIZE(ranges));
}

/* --- the order of addresses -------------------------------------------------------- */

#define P28 LOC "/10.0.0.0/28"
#define P29 LOC "/10.0.0.0/29"
#define P30 LOC "/10.0.0.0/30"
#define SUB LOC "/10.0.0.0/24/10.0.0.128/29"

static const struct script rests[] = {
	{"one that rests is left out, then is as good as any",
	 {{VIPPOOL, LOC, "10.0.0.0/29", "none", NULL},
	  {ADDR, P29, "", "", "10.0.0.1/29"},
	  {ADDR, P29, "", "", "10.0.0.2/29"},
	  {ADDR, P29, "", "", "10.0.0.3/29"},
	  {RELEASE, P29, "10.0.0.1"},
	  {LIST, P29, "", "", "2/6"},
	  {WAIT, "50"},
	  {RELEASE, P29, "10.0.0.2"},
	  {ADDR, P29, "", "", "10.0.0.4/29"},
	  {ADDR, P29, "", "", "10.0.0.5/29"},
	  {WAIT, "10"},
	  {ADDR, P29, "", "", "10.0.0.6/29"},
	  {ADDR, P29, "", "", "10.0.0.1/29"},
	  {WAIT, "49"},
	  {RELEASE, P29, "10.0.0.6"},
	  {WAIT, "1"},
	  {ADDR, P29, "", "", "10.0.0.2/29"},
	  {LIST, P29, "", "", "5/6"}},
	 60},
	{"when nothing else is free the longest resting one is taken",
	 {{VIPPOOL, LOC, "10.0.0.0/30", "none", NULL},
	  {ADDR, P30, "", "", "10.0.0.1/30"},
	  {ADDR, P30, "", "", "10.0.0.2/30"},
	  {ADDR, P30, "", "", "is full: 2 leases", -ENOSPC},
	  {RELEASE, P30, "10.0.0.2"},
	  {RELEASE, P30, "10.0.0.1"},
	  {RELEASE, P30, "10.0.0.2"}, /* a second time: it does not begin anew */
	  {ADDR, P30, "", "", "10.0.0.2/30"},
	  {ADDR, P30, "", "", "10.0.0.1/30"},
	  {ADDR, P30, "", "", "is full: 2 leases", -ENOSPC},
	  {RELEASE, P30, "10.0.0.1"},
	  {GATEWAY, P30, "", "", "10.0.0.1/30"}},
	 60},
	{"one that is asked for is given",
	 {{VIPPOOL, LOC, "10.0.0.0/28", "none", NULL},
	  {ADDR, P28, "10.0.0.5", "web", "10.0.0.5/28"},
	  {RELEASE, P28, "10.0.0.5"},
	  {ADDR, P28, "10.0.0.5", "db", "10.0.0.5/28"},
	  {ADDR, P28, "10.0.0.5", "web", "taken by \"db\"", -EEXIST},
	  {WAIT, "100"},
	  {ADDR, P28, "10.0.0.5", "web", "taken by \"db\"", -EEXIST},
	  {LIST, P28, "", "", "1/14"},
	  {RELEASE, P28, "10.0.0.5"},
	  {SETVIP, LOC, "10.0.0.0/28", "10.0.0.4/30"}, /* it is in nobody's way */
	  {ADDR, P28, "10.0.0.5", "", "VIP range", -ERANGE},
	  {LIST, P28, "", "", "0/10"}},
	 60},
	{"only what a pool may choose is chosen",
	 {{POOL, LOC, "10.0.0.0/24", "10.0.0.128/31", NULL},
	  {VIP, LOC, "10.0.0.0/24", "", "10.0.0.192/26"},
	  {POOL, LOC, "10.0.0.0/24", "10.0.0.129/32", NULL},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.128/31", "10.0.0.7", "", "10.0.0.7/24"},
	  {RELEASE, LOC "/10.0.0.0/24/10.0.0.128/31", "10.0.0.7"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.128/31", "", "", "10.0.0.128/24"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.128/31", "", "", "10.0.0.129/24"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.128/31", "", "", "is full", -ENOSPC},
	  {RELEASE, LOC "/10.0.0.0/24/10.0.0.128/31", "10.0.0.128"},
	  {RELEASE, LOC "/10.0.0.0/24/10.0.0.128/31", "10.0.0.129"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.129/32", "", "", "10.0.0.129/24"},
	  {RELEASE, LOC "/10.0.0.0/24/10.0.0.128/31", "10.0.0.129"}, /* another's */
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.128/31", "", "", "10.0.0.128/24"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.128/31", "", "", "is full", -ENOSPC},
	  {DROP, LOC "/10.0.0.0/24/10.0.0.129/32"}, /* with what rests, but not ... */
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.128/31", "", "", "10.0.0.129/24"}},
	 60},
	{"around a VIP range in the middle",
	 {{VIPPOOL, LOC, "10.0.0.0/28", "10.0.0.4/30", NULL},
	  {ADDR, P28, "", "", "10.0.0.1/28"},
	  {ADDR, P28, "", "", "10.0.0.2/28"},
	  {ADDR, P28, "", "", "10.0.0.3/28"},
	  {ADDR, P28, "", "", "10.0.0.8/28"},
	  {RELEASE, P28, "10.0.0.2"},
	  {ADDR, P28, "10.0.0.9", "", "10.0.0.9/28"},
	  {ADDR, P28, "10.0.0.10", "", "10.0.0.10/28"},
	  {ADDR, P28, "10.0.0.11", "", "10.0.0.11/28"},
	  {ADDR, P28, "10.0.0.12", "", "10.0.0.12/28"},
	  {ADDR, P28, "10.0.0.13", "", "10.0.0.13/28"},
	  {RELEASE, P28, "10.0.0.8"},
	  {ADDR, P28, "", "", "10.0.0.14/28"},
	  {ADDR, P28, "", "", "10.0.0.2/28"},
	  {ADDR, P28, "", "", "10.0.0.8/28"},
	  {ADDR, P28, "", "", "is full: 10 leases", -ENOSPC}},
	 60},
	{"serial: the next after the last that was chosen, round and round",
	 {{POOL, LOC, "10.0.0.0/24", "10.0.0.128/29", NULL},
	  {SERIAL, SUB, "10.0.0.129", "", "10.0.0.129/24"},
	  {SERIAL, SUB, "", "", "10.0.0.128/24"},
	  {SERIAL, SUB, "", "", "10.0.0.130/24"},
	  {RELEASE, SUB, "10.0.0.128"},
	  {SERIAL, SUB, "", "", "10.0.0.131/24"},
	  {RELEASE, SUB, "10.0.0.129"},
	  {SERIAL, SUB, "", "", "10.0.0.132/24"},
	  {SERIAL, SUB, "10.0.0.135", "", "10.0.0.135/24"},
	  {SERIAL, SUB, "", "", "10.0.0.133/24"},
	  {SERIAL, SUB, "", "", "10.0.0.134/24"},
	  {SERIAL, SUB, "", "", "10.0.0.128/24"},
	  {SERIAL, SUB, "", "", "10.0.0.129/24"},
	  {SERIAL, SUB, "", "", "is full", -ENOSPC},
	  {RELEASE, SUB, "10.0.0.131"},
	  {SERIAL, SUB, "", "", "10.0.0.131/24"}}},
	{"serial, and rest: the same order, without those that rest",
	 {{POOL, LOC, "10.0.0.0/24", "10.0.0.128/29", NULL},
	  {SERIAL, SUB, "10.0.0.129", "", "10.0.0.129/24"},
	  {SERIAL, SUB, "", "", "10.0.0.128/24"},
	  {SERIAL, SUB, "", "", "10.0.0.130/24"},
	  {RELEASE, SUB, "10.0.0.128"},
	  {SERIAL, SUB, "", "", "10.0.0.131/24"},
	  {WAIT, "30"},
	  {RELEASE, SUB, "10.0.0.129"},
	  {SERIAL, SUB, "", "", "10.0.0.132/24"},
	  {SERIAL, SUB, "", "", "10.0.0.133/24"},
	  {SERIAL, SUB, "", "", "10.0.0.134/24"},
	  {RELEASE, SUB, "10.0.0.130"},
	  {SERIAL, SUB, "", "", "10.0.0.135/24"},
	  {WAIT, "30"},
	  {SERIAL, SUB, "", "", "10.0.0.128/24"},
	  {WAIT, "60"},
	  {SERIAL, SUB, "", "", "10.0.0.129/24"},
	  {SERIAL, SUB, "", "", "10.0.0.130/24"},
	  {SERIAL, SUB, "", "", "is full", -ENOSPC}},
	 60},
	{"rows that have had their time do no harm",
	 {{VIPPOOL, LOC, "10.0.0.0/29", "none", NULL},
	  {ADDR, P29, "", "", "10.0.0.1/29"},
	  {ADDR, P29, "", "", "10.0.0.2/29"},
	  {ADDR, P29, "", "", "10.0.0.3/29"},
	  {RELEASE, P29, "10.0.0.1"},
	  {RELEASE, P29, "10.0.0.2"},
	  {RELEASE, P29, "10.0.0.3"},
	  {WAIT, "60"},
	  {ADDR, P29, "", "", "10.0.0.4/29"}, /* wakes the three */
	  {ADDR, P29, "10.0.0.2", "", "10.0.0.2/29"},
	  {RELEASE, P29, "10.0.0.2"},
	  {TIDY},
	  {LIST, P29, "", "", "1/6"},
	  {ADDR, P29, "10.0.0.1", "", "10.0.0.1/29"},
	  {RELOAD},
	  {LIST, P29, "", "", "2/6"},
	  {ADDR, P29, "", "", "10.0.0.5/29"},
	  {ADDR, P29, "", "", "10.0.0.6/29"},
	  {ADDR, P29, "", "", "10.0.0.3/29"},
	  {ADDR, P29, "", "", "10.0.0.2/29"},
	  {ADDR, P29, "", "", "is full", -ENOSPC}},
	 60},
	{"what Docker forgot rests longest",
	 {{VIPPOOL, LOC, "10.0.0.0/29", "none", NULL},
	  {ADDR, P29, "", "", "10.0.0.1/29"},
	  {ADDR, P29, "", "", "10.0.0.2/29"},
	  {FORGET, LOC, "10.0.0.0/29", "10.0.0.1"},
	  {FORGET, LOC, "10.0.0.0/29", "10.0.0.7"},
	  {FORGET, LOC, "10.0.0.0/29", "10.9.0.7"},
	  {FORGET, LOC, "10.7.0.0/29", "10.7.0.1"},
	  {RELEASE, P29, "10.0.0.1"}, /* late */
	  {WAIT, "120"},
	  {RELEASE, P29, "10.0.0.2"},
	  {ADDR, P29, "10.0.0.3", "", "10.0.0.3/29"},
	  {ADDR, P29, "10.0.0.4", "", "10.0.0.4/29"},
	  {ADDR, P29, "10.0.0.5", "", "10.0.0.5/29"},
	  {ADDR, P29, "10.0.0.6", "", "10.0.0.6/29"},
	  {RELOAD},
	  {ADDR, P29, "", "", "10.0.0.2/29"},
	  {RELEASE, P29, "10.0.0.2"},
	  {WAIT, "539"},
	  {ADDR, P29, "", "", "10.0.0.2/29"},
	  {RELEASE, P29, "10.0.0.2"},
	  {WAIT, "1"},
	  {ADDR, P29, "", "", "10.0.0.1/29"}},
	 60},
	{"what an endpoint has is leased",
	 {{VIPPOOL, LOC, "10.0.0.0/29", "none", NULL},
	  {HOLD, LOC, "10.0.0.0/29", "10.0.0.1"},
	  {HOLD, LOC, "10.0.0.0/29", "10.0.0.1"},
	  {HOLD, LOC, "10.0.0.0/29", "10.0.0.0"},
	  {HOLD, LOC, "10.0.0.0/29", "10.1.0.1"},
	  {HOLD, LOC, "10.7.0.0/29", "10.7.0.1"},
	  {LIST, P29, "", "", "1/6"},
	  {ADDR, P29, "", "", "10.0.0.2/29"},
	  {RELEASE, P29, "10.0.0.1"},
	  {RELEASE, P29, "10.0.0.2"},
	  {HOLD, LOC, "10.0.0.0/29", "10.0.0.1"},
	  {ADDR, P29, "10.0.0.1", "", "is taken", -EEXIST},
	  {POOL, LOC, "10.0.0.0/29", "10.0.0.4/30", NULL},
	  {HOLD, LOC, "10.0.0.0/29", "10.0.0.2"}, /* of the pool that it rests in */
	  {RELEASE, P29 "/10.0.0.4/30", "10.0.0.2"},
	  {LIST, P29, "", "", "2/6"},
	  {RELEASE, P29, "10.0.0.2"},
	  {LIST, P29, "", "", "1/6"}},
	 60},
};

static void test_rests(void **state)
{
	(void)state;
	run_all(rests, ARRAY_SIZE(rests));
}

/* --- what Docker does not confirm -------------------------------------------------- */

#define P24 LOC "/10.0.0.0/24"
#define Q24 LOC "/10.1.0.0/24"

static const struct script sweeps[] = {
	{"nothing before the grace is over, and then once",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {GATEWAY, P24, "", "", "10.0.0.1/24"},
	  {ADDR, P24, "", "", "10.0.0.2/24"},
	  {ADDR, P24, "", "", "10.0.0.3/24"},
	  {ADDR, P24, "", "", "10.0.0.4/24"},
	  {WAIT, "1000"},
	  {SWEEP},
	  {REPLAY},
	  {POOL, LOC, "10.0.0.0/24", "", NULL},
	  {ADDR, P24, "10.0.0.2", "", "10.0.0.2/24"},
	  {WAIT, "299"},
	  {SWEEP},
	  {LIST, P24, "", "", "4/191"},
	  {ADDR, P24, "", "", "10.0.0.5/24"},
	  {WAIT, "1"},
	  {SWEEP, "10.0.0.3", "10.0.0.0/24"},
	  {LIST, P24, "", "", "4/191"},
	  {ADDR, P24, "10.0.0.1", "", "10.0.0.1/24"}, /* the gateway stays */
	  {ADDR, P24, "10.0.0.2", "", "is taken", -EEXIST},
	  {ADDR, P24, "10.0.0.3", "", "10.0.0.3/24"}, /* confirmed late */
	  {ADDR, P24, "10.0.0.3", "", "is taken", -EEXIST},
	  {ADDR, P24, "10.0.0.4", "", "10.0.0.4/24"}, /* was free */
	  {ADDR, P24, "10.0.0.5", "", "is taken", -EEXIST}},
	 60},
	{"pools of nobody, if Docker has told of another",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {POOL, LOC, "10.1.0.0/24", "", NULL},
	  {POOL, LOC, "10.2.0.0/24", "", NULL},
	  {POOL, LOC, "10.3.0.0/24", "", NULL},
	  {ADDR, LOC "/10.2.0.0/24", "10.2.0.9", "", "10.2.0.9/24"},
	  {REPLAY},
	  {WAIT, "300"},
	  {SWEEP},
	  {LIST, Q24, "", "", "0/191"}, /* not a replay, as it seems */
	  {REPLAY},
	  {POOL, LOC, "10.0.0.0/24", "", NULL},
	  {POOL, LOC, "10.4.0.0/24", "", NULL},
	  {RELOAD},
	  {WAIT, "300"},
	  {SWEEP, "10.2.0.9", "10.3.0.0/24"},
	  {LIST, P24, "", "", "0/191"},
	  {LIST, Q24, "", "", ""},
	  {LIST, LOC "/10.2.0.0/24", "", "", "1/191"},
	  {LIST, LOC "/10.3.0.0/24", "", "", "0/191"},
	  {LIST, LOC "/10.4.0.0/24", "", "", "0/191"},
	  {POOL, LOC, "10.1.0.0/24", "", Q24}}},
	{"without a replay only what was chosen for a network of ours",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {POOL, LOC, "10.1.0.0/24", "", NULL},
	  {GATEWAY, P24, "", "", "10.0.0.1/24"},
	  {ADDR, P24, "10.0.0.7", "", "10.0.0.7/24"}, /* perhaps an aux address */
	  {ADDR, P24, "", "", "10.0.0.2/24"},
	  {ADDR, P24, "", "", "10.0.0.3/24"},
	  {ADDR, Q24, "", "", "10.1.0.1/24"},
	  {REPLAY},
	  {WAIT, "300"},
	  {SWEEP, "10.0.0.2", "10.0.0.0/24"},
	  {LIST, P24, "", "", "3/191"},
	  {LIST, Q24, "", "", "1/191"},
	  {ADDR, P24, "10.0.0.3", "", "10.0.0.3/24"}}},
	{"a leader's memory",
	 {{POOL, GLO, "10.0.0.0/24", "", NULL},
	  {POOL, GLO, "10.1.0.0/24", "", NULL},
	  {ADDR, GLO "/10.0.0.0/24", "", "", "10.0.0.1/24"},
	  {ADDR, GLO "/10.0.0.0/24", "", "", "10.0.0.2/24"},
	  {ADDR, GLO "/10.1.0.0/24", "", "", "10.1.0.1/24"},
	  {REPLAY},
	  {POOL, GLO, "10.0.0.0/24", "", NULL},
	  {ADDR, GLO "/10.0.0.0/24", "10.0.0.2", "", "10.0.0.2/24"},
	  {WAIT, "300"},
	  {SWEEP},
	  {LIST, GLO "/10.0.0.0/24", "", "", "1/191"},
	  {LIST, GLO "/10.1.0.0/24", "", "", "1/191"}}},
};

static void test_sweeps(void **state)
{
	(void)state;
	run_all(sweeps, ARRAY_SIZE(sweeps));
}

/* --- many of them ------------------------------------------------------------------ */

static struct ipam *ipam_with(struct db **db, uint32_t rest_s, const char *pool)
{
	struct ipam_config config = test_config();
	struct ipam_pool_request rq = {.space = LOC, .pool = pool, .vip_range = "none"};
	struct ipam_pool_answer answer;
	struct ipam *m = NULL;

	config.rest_s = rest_s;
	assert_int_equal(db_open(":memory:", db, NULL), 0);
	assert_int_equal(ipam_new(*db, &config, script_now_ms, &m, NULL), 0);
	assert_int_equal(ipam_pool_request(m, &rq, &answer, NULL), 0);
	return m;
}

static void choose(struct ipam *m, const char *id, char text[ADDR_TEXT_SIZE])
{
	struct ipam_address_request rq = {
		.pool_id = id, .address = "", .now_ms = script_now_ms};
	struct cidr c = {0};

	assert_int_equal(ipam_address_request(m, &rq, &c, NULL), 0);
	(void)addr_format(&c.addr, text);
}

/* .0 and .255 are like any other inside of a wide pool, and what is released in a full
 * one comes back. */
static void test_wide_pool(void **state)
{
	static const char *const id = LOC "/192.168.0.0/16";
	char text[ADDR_TEXT_SIZE];
	char want[ADDR_TEXT_SIZE];
	struct db *db;
	struct ipam *m = ipam_with(&db, 60, "192.168.0.0/16");

	(void)state;
	assert_int_equal(db_begin(db, NULL), 0);
	for (unsigned int i = 1; i < 65535; i++) {
		choose(m, id, text);
		(void)snprintf(want, sizeof(want), "192.168.%u.%u", i / 256, i % 256);
		assert_string_equal(text, want);
	}
	for (unsigned int i = 255; i < 65535; i += 4001) {
		(void)snprintf(want, sizeof(want), "192.168.%u.%u", i / 256, i % 256);
		assert_int_equal(ipam_address_release(m, id, want, script_now_ms, NULL),
				 0);
		choose(m, id, text);
		assert_string_equal(text, want);
	}
	assert_int_equal(db_commit(db, NULL), 0);
	ipam_free(m);
	db_close(db);
}

/* Given and given back over and over, as by two that race: never one twice. */
static void test_never_twice(void **state)
{
	static const char *const id = LOC "/10.0.0.0/28";
	char held[2][ADDR_TEXT_SIZE] = {"", ""};
	struct db *db;
	struct ipam *m = ipam_with(&db, 60, "10.0.0.0/28");

	(void)state;
	assert_int_equal(db_begin(db, NULL), 0);
	for (unsigned int i = 0; i < 20000; i++) {
		if (i >= 2)
			assert_int_equal(ipam_address_release(m, id, held[i % 2],
							      script_now_ms, NULL),
					 0);
		choose(m, id, held[i % 2]);
		assert_string_not_equal(held[0], held[1]);
		script_now_ms += i % 7 * 1000;
	}
	assert_int_equal(db_commit(db, NULL), 0);
	ipam_free(m);
	db_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overlaps),    cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_ranges),	    cmocka_unit_test(test_rests),
		cmocka_unit_test(test_sweeps),	    cmocka_unit_test(test_wide_pool),
		cmocka_unit_test(test_never_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
