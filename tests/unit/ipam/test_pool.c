// SPDX-License-Identifier: GPL-2.0-or-later
/* The rules of pools: texts, bounds, VIP ranges, the next address, the next prefix. */
#include "ipam/pool.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct cidr cidr(const char *text)
{
	struct cidr c = {0};

	if (*text)
		assert_int_equal(cidr_parse(text, &c), 0);
	return c;
}

static struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static struct pool_shape shape(const char *pool, const char *sub, const char *vip)
{
	static const struct addrset empty = {0};
	struct pool_shape s = {.pool = cidr(pool), .sub = cidr(sub)};
	struct err e;

	assert_int_equal(pool_vip_set(&s, vip, &empty, NULL, &e), 0);
	return s;
}

static void assert_cidr(const struct cidr *c, const char *want)
{
	char text[CIDR_TEXT_SIZE];

	assert_string_equal(cidr_format(c, text), want);
}

static void assert_number(uint8_t family, addrnum n, const char *want)
{
	struct addr a = addrnum_addr(family, n);
	char text[ADDR_TEXT_SIZE];

	assert_string_equal(addr_format(&a, text), want);
}

static void assert_shape(const struct pool_shape *a, const struct pool_shape *b)
{
	assert_true(cidr_equal(&a->pool, &b->pool));
	assert_true(cidr_equal(&a->sub, &b->sub));
	assert_true(cidr_equal(&a->vip, &b->vip));
	assert_int_equal(a->vip_mode, b->vip_mode);
}

static void test_wish(void **state)
{
	static const struct {
		const char *pool;
		const char *sub;
		bool v6;
		bool choose;
		const char *want_pool;
		const char *want_sub;
	} cases[] = {
		{"", "", false, true, "0.0.0.0/0", ""},
		{"", "", true, true, "::/0", ""},
		{NULL, NULL, false, true, "0.0.0.0/0", ""},
		{"0.0.0.0/24", "", false, true, "0.0.0.0/24", ""},
		{"0.0.0.0/32", "", false, true, "0.0.0.0/32", ""},
		{"::/64", "", false, true, "::/64", ""},
		{"10.1.0.0/16", "", false, false, "10.1.0.0/16", ""},
		{"10.1.2.3/16", "", false, false, "10.1.0.0/16", ""},
		{"192.168.0.2/31", "", false, false, "192.168.0.2/31", ""},
		{"192.168.0.3/32", "", false, false, "192.168.0.3/32", ""},
		{"fd00:1::/64", "", false, false, "fd00:1::/64", ""},
		{"fd00:1::/64", "", true, false, "fd00:1::/64", ""},
		{"10.1.0.0/16", "", true, false, "10.1.0.0/16", ""},
		{"10.1.0.0/16", "10.1.5.7/24", false, false, "10.1.0.0/16",
		 "10.1.5.0/24"},
		{"10.1.0.0/16", "10.1.0.0/16", false, false, "10.1.0.0/16",
		 "10.1.0.0/16"},
		{"fd00::/48", "fd00:0:0:5::/64", false, false, "fd00::/48",
		 "fd00:0:0:5::/64"},
		{"128.0.0.0/2", "", false, false, "128.0.0.0/2", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pool_wish w;
		struct err e = {0};
		int r = pool_wish_parse(cases[i].pool, cases[i].sub, cases[i].v6, &w, &e);

		print_message("%s %s\n", cases[i].pool, e.text);
		assert_int_equal(r, 0);
		assert_int_equal(w.choose, cases[i].choose);
		assert_cidr(&w.pool, cases[i].want_pool);
		assert_cidr(&w.sub, cases[i].want_sub);
	}
}

static void test_wish_bad(void **state)
{
	static const struct {
		const char *pool;
		const char *sub;
		const char *text; /* part of the error */
	} cases[] = {
		{"/24", "", "\"/24\" is not a subnet"},
		{"0.0.0.0/AB", "", "\"0.0.0.0/AB\" is not a subnet"},
		{"0.0.0.0/0", "", "size of /0"},
		{"::/0", "", "size of /0"},
		{"10.0.0.0", "", "is not a subnet"},
		{"10.0.0.0/33", "", "is not a subnet"},
		{"10.0.0.0/-1", "", "is not a subnet"},
		{"10.0.0.0/8 ", "", "is not a subnet"},
		{" 10.0.0.0/8", "", "is not a subnet"},
		{"10.0.0/8", "", "is not a subnet"},
		{"fd00::/129", "", "is not a subnet"},
		{"fd00::/64/64", "", "is not a subnet"},
		{"10.0.0.0/8\n\"x", "", "\"10.0.0.0/8??x\" is not a subnet"},
		{"\xc3\x28/8", "", "\"?(/8\" is not a subnet"},
		{"%s%s%n/8", "", "\"%s%s%n/8\" is not a subnet"},
		{"127.1.0.0/16", "", "loopback"},
		{"64.0.0.0/2", "", "loopback"},
		{"224.0.0.0/24", "", "multicast"},
		{"0.0.0.1/8", "", "this network"},
		{"1.0.0.0/0", "", "this network"},
		{"ff02::/16", "", "multicast"},
		{"::1/128", "", "loopback"},
		{"::5/120", "", "unspecified"},
		{"::ffff:10.0.0.0/104", "", "mapped"},
		{"255.255.255.255/32", "", "broadcast"},
		{"", "10.0.0.0/24", "needs a pool"},
		{"0.0.0.0/24", "10.0.0.0/25", "needs a pool"},
		{"10.0.0.0/8", "11.0.0.0/16", "\"11.0.0.0/16\" is not inside pool 10."},
		{"10.0.0.0/16", "10.0.0.0/8", "is not inside pool 10.0.0.0/16"},
		{"10.0.0.0/8", "fd00::/64", "is not inside"},
		{"10.0.0.0/8", "nonsense", "\"nonsense\" is not a subnet"},
		{"10.0.0.0/24", "10.0.0.0/32", "holds no usable address"},
		{"10.0.0.0/24", "10.0.0.255/32", "holds no usable address"},
		{"fd00::/64", "fd00::/128", "holds no usable address"},
	};
	char big[5000];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pool_wish w = {.choose = true};
		struct err e = {0};
		int r = pool_wish_parse(cases[i].pool, cases[i].sub, false, &w, &e);

		print_message("%s: %s\n", cases[i].pool, e.text);
		assert_int_equal(r, -EINVAL);
		assert_non_null(strstr(e.text, cases[i].text));
		assert_true(w.choose);
	}
	memset(big, '1', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(pool_wish_parse(big, "", false, &(struct pool_wish){0}, NULL),
			 -EINVAL);
	assert_int_equal(
		pool_wish_parse("10.0.0.0/8", big, false, &(struct pool_wish){0}, NULL),
		-EINVAL);
}

static void test_bounds(void **state)
{
	static const struct {
		const char *pool;
		const char *sub;
		const char *first;
		const char *last;
		uint64_t count;
	} cases[] = {
		{"10.0.0.0/24", "", "10.0.0.1", "10.0.0.254", 254},
		{"10.0.0.0/30", "", "10.0.0.1", "10.0.0.2", 2},
		{"10.0.0.2/31", "", "10.0.0.2", "10.0.0.3", 2},
		{"10.0.0.3/32", "", "10.0.0.3", "10.0.0.3", 1},
		{"10.0.0.0/8", "", "10.0.0.1", "10.255.255.254", (1 << 24) - 2},
		{"172.28.0.0/16", "172.28.30.0/24", "172.28.30.0", "172.28.30.255", 256},
		{"172.28.0.0/16", "172.28.0.0/24", "172.28.0.1", "172.28.0.255", 255},
		{"172.28.0.0/16", "172.28.255.0/24", "172.28.255.0", "172.28.255.254",
		 255},
		{"172.28.0.0/16", "172.28.0.0/16", "172.28.0.1", "172.28.255.254", 65534},
		{"fd00::/64", "", "fd00::1", "fd00::ffff:ffff:ffff:ffff", UINT64_MAX},
		{"fd00::/48", "", "fd00::1", "fd00::ffff:ffff:ffff:ffff:ffff",
		 UINT64_MAX},
		{"fd00::/126", "", "fd00::1", "fd00::3", 3},
		{"fd00::/127", "", "fd00::", "fd00::1", 2},
		{"fd00::1/128", "", "fd00::1", "fd00::1", 1},
		{"fd00::/64", "fd00::100/120", "fd00::100", "fd00::1ff", 256},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pool_shape s = shape(cases[i].pool, cases[i].sub, "none");
		addrnum first;
		addrnum last;

		print_message("%s %s\n", cases[i].pool, cases[i].sub);
		assert_true(pool_bounds(&s, &first, &last));
		assert_number(s.pool.addr.family, first, cases[i].first);
		assert_number(s.pool.addr.family, last, cases[i].last);
		assert_int_equal(pool_capacity(&s), cases[i].count);
	}
}

static void test_check_address(void **state)
{
	static const struct {
		const char *pool;
		const char *address;
		int want;
		const char *text;
	} cases[] = {
		{"10.0.0.0/24", "10.0.0.1", 0, ""},
		{"10.0.0.0/24", "10.0.0.254", 0, ""},
		{"10.0.0.0/24", "10.0.0.0", -EINVAL, "network address of pool 10.0.0.0/"},
		{"10.0.0.0/24", "10.0.0.255", -EINVAL, "broadcast address of pool 10.0."},
		{"10.0.0.0/24", "10.0.1.1", -ERANGE, "10.0.1.1 is outside pool 10.0.0."},
		{"10.0.0.0/24", "fd00::1", -ERANGE, "outside"},
		{"10.0.0.0/16", "10.0.0.255", 0, ""},
		{"10.0.0.0/16", "10.0.1.0", 0, ""},
		{"10.0.0.2/31", "10.0.0.2", 0, ""},
		{"10.0.0.2/31", "10.0.0.3", 0, ""},
		{"10.0.0.2/31", "10.0.0.4", -ERANGE, "outside"},
		{"10.0.0.2/32", "10.0.0.2", 0, ""},
		{"fd00::/64", "fd00::", -EINVAL, "anycast"},
		{"fd00::/64", "fd00::ffff:ffff:ffff:ffff", 0, ""},
		{"fd00::/64", "fd00::1:0:0:0:0", -ERANGE, "outside"},
		{"fd00::/127", "fd00::", 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pool_shape s = shape(cases[i].pool, "", "");
		struct addr a = addr(cases[i].address);
		struct err e = {0};

		assert_int_equal(pool_check_address(&s, &a, &e), cases[i].want);
		assert_non_null(strstr(e.text, cases[i].text));
	}
}

static void test_vip_automatic(void **state)
{
	static const struct {
		const char *pool;
		const char *sub;
		const char *gateway;
		const char *used;
		const char *want;
	} cases[] = {
		{"10.0.0.0/24", "", "", "", "10.0.0.192/26"},
		{"10.0.0.0/29", "", "", "", "10.0.0.6/31"},
		{"10.0.0.0/30", "", "", "", ""},
		{"10.0.0.0/31", "", "", "", ""},
		{"10.0.0.0/32", "", "", "", ""},
		{"10.0.0.0/8", "", "", "", "10.192.0.0/10"},
		{"fd00::/64", "", "", "", "fd00::c000:0:0:0/66"},
		{"fd00::/48", "", "", "", "fd00:0:0:c000::/50"},
		{"fd00::/125", "", "", "", "fd00::6/127"},
		{"fd00::/126", "", "", "", ""},
		{"128.0.0.0/2", "", "", "", "176.0.0.0/4"},
		/* the sub-pool is the top */
		{"10.0.0.0/24", "10.0.0.192/26", "", "", "10.0.0.128/26"},
		{"10.0.0.0/24", "10.0.0.128/25", "", "", "10.0.0.64/26"},
		{"10.0.0.0/24", "10.0.0.240/28", "", "", "10.0.0.128/26"},
		{"10.0.0.0/24", "10.0.0.0/25", "", "", "10.0.0.192/26"},
		{"10.0.0.0/24", "10.0.0.0/24", "", "", "10.0.0.192/26"},
		/* the gateway is in the top */
		{"10.0.0.0/24", "", "10.0.0.254", "", "10.0.0.128/26"},
		{"10.0.0.0/24", "10.0.0.128/26", "10.0.0.254", "", "10.0.0.64/26"},
		{"10.0.0.0/24", "10.0.0.128/25", "10.0.0.65", "", "10.0.0.0/26"},
		/* somebody is in the top */
		{"10.0.0.0/24", "", "", "10.0.0.200", "10.0.0.128/26"},
		{"10.0.0.0/24", "10.0.0.0/25", "10.0.0.129", "10.0.0.200", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pool_shape s = {.pool = cidr(cases[i].pool),
				       .sub = cidr(cases[i].sub)};
		struct addrset used = {0};
		struct addr gateway;

		if (*cases[i].used) {
			struct addr a = addr(cases[i].used);

			assert_int_equal(addrset_reserve(&used), 0);
			addrset_add(&used, addrnum_get(&a));
		}
		if (*cases[i].gateway)
			gateway = addr(cases[i].gateway);
		print_message("%s %s %s\n", cases[i].pool, cases[i].sub,
			      cases[i].gateway);
		assert_int_equal(pool_vip_set(&s, "", &used,
					      *cases[i].gateway ? &gateway : NULL, NULL),
				 0);
		assert_cidr(&s.vip, cases[i].want);
		assert_int_equal(s.vip_mode, POOL_VIP_AUTO);
		addrset_fini(&used);
	}
}

static void test_vip_told(void **state)
{
	static const struct {
		const char *pool;
		const char *sub;
		const char *text;
		const char *gateway;
		const char *want; /* NULL: an error with part of error */
		const char *error;
	} cases[] = {
		{"10.0.0.0/24", "", "none", "", "", ""},
		{"10.0.0.0/24", "", "10.0.0.16/28", "", "10.0.0.16/28", ""},
		{"10.0.0.0/24", "", "10.0.0.17/28", "", "10.0.0.16/28", ""},
		{"10.0.0.0/24", "", "10.0.0.0/25", "", "10.0.0.0/25", ""},
		{"10.0.0.0/24", "", "10.0.0.9/32", "", "10.0.0.9/32", ""},
		{"10.0.0.0/30", "10.0.0.2/32", "10.0.0.1/32", "", "10.0.0.1/32", ""},
		{"fd00::/64", "", "fd00::8000:0:0:0/65", "", "fd00::8000:0:0:0/65", ""},
		{"10.0.0.0/24", "", "10.0.1.0/28", "", NULL, "is not inside pool 10.0."},
		{"10.0.0.0/24", "", "10.0.0.0/23", "", NULL, "is not inside pool"},
		{"10.0.0.0/24", "", "fd00::/64", "", NULL, "is not inside pool"},
		{"10.0.0.0/24", "", "10.0.0.0/24", "", NULL, "leaves no room"},
		{"10.0.0.0/30", "", "10.0.0.2/32", "", NULL, "leaves no room"},
		{"10.0.0.0/24", "10.0.0.16/30", "10.0.0.0/25", "", NULL, "no room"},
		{"10.0.0.0/24", "", "Some", "", NULL, "\"Some\" is neither"},
		{"10.0.0.0/24", "", "10.0.0.7", "", NULL, "is neither"},
		{"10.0.0.0/24", "", "10.0.0.16/28", "10.0.0.17", NULL, "the gateway"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pool_shape s = {.pool = cidr(cases[i].pool),
				       .sub = cidr(cases[i].sub)};
		const struct pool_shape before = s;
		const struct addrset empty = {0};
		struct addr gateway;
		struct err e = {0};
		int r;

		if (*cases[i].gateway)
			gateway = addr(cases[i].gateway);
		r = pool_vip_set(&s, cases[i].text, &empty,
				 *cases[i].gateway ? &gateway : NULL, &e);
		print_message("%s %s: %s\n", cases[i].pool, cases[i].text, e.text);
		assert_int_equal(r, cases[i].want ? 0 : -EINVAL);
		assert_non_null(strstr(e.text, cases[i].error));
		if (cases[i].want)
			assert_cidr(&s.vip, cases[i].want);
		else
			assert_shape(&s, &before);
	}
}

/* Takes the next address over and over: every one once, none of the VIP range. */
static void test_next_free_takes_all(void **state)
{
	static const struct {
		const char *pool;
		const char *sub;
		const char *vip;
		const char *from;
	} cases[] = {
		{"10.0.0.0/24", "", "", "10.0.0.0"},
		{"10.0.0.0/24", "", "10.0.0.64/26", "10.0.0.100"},
		{"10.0.0.0/24", "", "10.0.0.0/26", "10.0.0.250"},
		{"10.0.0.0/24", "10.0.0.128/25", "10.0.0.128/26", "10.0.0.0"},
		{"10.0.0.0/24", "", "none", "255.255.255.255"},
		{"10.0.0.0/31", "", "", "10.0.0.1"},
		{"10.0.0.9/32", "", "", "10.0.0.9"},
		{"fd00::/120", "", "", "fd00::70"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pool_shape s = shape(cases[i].pool, cases[i].sub, cases[i].vip);
		struct addr start = addr(cases[i].from);
		addrnum n = addrnum_get(&start);
		struct addrset used = {0};
		uint64_t count = 0;

		while (pool_next_free(&s, &used, n, &n)) {
			struct addr a = addrnum_addr(s.pool.addr.family, n);

			assert_false(addrset_has(&used, n));
			assert_int_equal(pool_check_address(&s, &a, NULL), 0);
			assert_false(addr_is_set(&s.vip.addr) &&
				     cidr_contains(&s.vip, &a));
			assert_int_equal(addrset_reserve(&used), 0);
			addrset_add(&used, n++);
			count++;
		}
		assert_int_equal(count, pool_capacity(&s));
		addrset_fini(&used);
	}
}

#define SPANS_MAX 16

static void test_choice(void **state)
{
	static const struct {
		const char *base;
		uint8_t size;
		const char *held[SPANS_MAX];
		const char *want[4]; /* "" ends */
	} cases[] = {
		{"10.128.0.0/9",
		 24,
		 {NULL},
		 {"10.128.0.0/24", "10.128.1.0/24", "10.128.2.0/24"}},
		{"10.0.0.0/22",
		 24,
		 {"10.0.1.0/24", "10.0.3.0/24"},
		 {"10.0.0.0/24", "10.0.2.0/24", ""}},
		{"10.0.0.0/22", 24, {"10.0.0.0/8"}, {""}},
		{"10.0.0.0/22",
		 24,
		 {"10.0.0.77/32", "10.0.1.0/25"},
		 {"10.0.2.0/24", "10.0.3.0/24", ""}},
		/* one inside the other, as sub-pools may have it */
		{"10.0.0.0/22",
		 24,
		 {"10.0.0.0/23", "10.0.0.0/24", "10.0.0.0/26", "10.0.1.128/25"},
		 {"10.0.2.0/24", "10.0.3.0/24", ""}},
		{"10.0.0.0/22",
		 30,
		 {"10.0.0.0/24", "10.0.1.0/30"},
		 {"10.0.1.4/30", "10.0.1.8/30"}},
		{"10.0.0.0/22", 22, {NULL}, {"10.0.0.0/22", ""}},
		{"10.0.0.0/22", 22, {"10.0.3.255/32"}, {""}},
		{"10.0.0.0/22",
		 24,
		 {"fd00::/8", "9.0.0.0/8", "11.0.0.0/8"},
		 {"10.0.0.0/24", "10.0.1.0/24"}},
		{"fd00::/48",
		 64,
		 {"fd00::/64", "10.0.0.0/8"},
		 {"fd00:0:0:1::/64", "fd00:0:0:2::/64"}},
		{"10.0.0.0/31", 32, {NULL}, {"10.0.0.0/32", "10.0.0.1/32", ""}},
		/* the end of the number range */
		{"255.255.255.0/24",
		 25,
		 {NULL},
		 {"255.255.255.0/25", "255.255.255.128/25", ""}},
		{"ffff::/16", 17, {NULL}, {"ffff::/17", "ffff:8000::/17", ""}},
		{"ffff::/16", 17, {"ffff:8000::/17"}, {"ffff::/17", ""}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pool_span spans[SPANS_MAX];
		const struct pool_span *sorted[SPANS_MAX];
		struct cidr base = cidr(cases[i].base);
		struct pool_choice choice;
		size_t count = 0;
		struct cidr c;

		for (; count < SPANS_MAX && cases[i].held[count]; count++) {
			struct cidr held = cidr(cases[i].held[count]);
			size_t at = count;

			spans[count] = pool_span_of(&held);
			for (; at && pool_span_compare(sorted[at - 1], &spans[count]) > 0;
			     at--)
				sorted[at] = sorted[at - 1];
			sorted[at] = &spans[count];
		}
		pool_choice_init(&choice, &base, cases[i].size, sorted, count);
		for (size_t j = 0; j < ARRAY_SIZE(cases[i].want) && cases[i].want[j];
		     j++) {
			bool found = pool_choice_next(&choice, &c);

			print_message("%s: %s\n", cases[i].base, cases[i].want[j]);
			assert_int_equal(found, *cases[i].want[j] != '\0');
			if (found)
				assert_cidr(&c, cases[i].want[j]);
		}
	}
}

static void test_id(void **state)
{
	struct cidr pool = cidr("10.0.0.0/8");
	struct cidr sub = cidr("10.1.0.0/16");
	struct cidr none = {0};
	char id[64];

	(void)state;
	assert_int_equal(pool_id("s", &pool, &none, id, sizeof(id)), 0);
	assert_string_equal(id, "s/10.0.0.0/8");
	assert_int_equal(pool_id("s", &pool, &sub, id, sizeof(id)), 0);
	assert_string_equal(id, "s/10.0.0.0/8/10.1.0.0/16");
	assert_int_equal(pool_id("s", &pool, &sub, id, 10), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wish),
		cmocka_unit_test(test_wish_bad),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_check_address),
		cmocka_unit_test(test_vip_automatic),
		cmocka_unit_test(test_vip_told),
		cmocka_unit_test(test_next_free_takes_all),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
