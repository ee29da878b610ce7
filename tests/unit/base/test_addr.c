// SPDX-License-Identifier: GPL-2.0-or-later
/* Addresses and prefixes: what is understood, borders at /0 /31 /32 /127 /128, both
 * families, and random arithmetic against 128-bit numbers. */
#include "plugin/base/addr.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct addr address(const char *text)
{
	struct addr a;

	if (addr_parse(text, &a) < 0)
		fail_msg("not an address: %s", text);
	return a;
}

static struct cidr prefix(const char *text)
{
	struct cidr c;

	if (cidr_parse(text, &c) < 0)
		fail_msg("not a prefix: %s", text);
	return c;
}

static const char *show(struct addr a)
{
	static char text[2][ADDR_TEXT_SIZE];
	static int next;

	next = !next;
	return addr_format(&a, text[next]);
}

static void test_addr_parse(void **state)
{
	static const struct {
		const char *text;
		const char *shown; /* NULL: refused */
	} cases[] = {
		{"10.1.2.3", "10.1.2.3"},
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"::", "::"},
		{"FD00:0:0::1", "fd00::1"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"::ffff:10.1.2.3", "::ffff:10.1.2.3"},
		{"", NULL},
		{"10.1.2", NULL},
		{"10.1.2.256", NULL},
		{"10.1.2.3.4", NULL},
		{"10.1.2.3 ", NULL},
		{" 10.1.2.3", NULL},
		{"010.1.2.3", NULL}, /* octal for some, decimal for others */
		{"0x0a.1.2.3", NULL},
		{"10.1.2.3/24", NULL},
		{"fd00::1%eth0", NULL},
		{"fd00:::1", NULL},
		{"[::1]", NULL},
		{"1:2:3:4:5:6:7", NULL},
		{"localhost", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct addr before = {.family = 99};
		struct addr a = before;
		int r = addr_parse(cases[i].text, &a);

		print_message("'%s'\n", cases[i].text);
		assert_int_equal(r, cases[i].shown ? 0 : -EINVAL);
		if (r == 0)
			assert_string_equal(show(a), cases[i].shown);
		else
			assert_memory_equal(&a, &before, sizeof(a));
	}
	assert_string_equal(show((struct addr){0}), "");
	assert_string_equal(show((struct addr){.family = 99}), "");
}

static void test_addr_size(void **state)
{
	const struct addr v4 = address("10.0.0.1");
	const struct addr v6 = address("::1");
	const struct addr none = {0};

	(void)state;
	assert_int_equal(addr_size(&v4), 4);
	assert_int_equal(addr_bits(&v4), 32);
	assert_int_equal(addr_size(&v6), 16);
	assert_int_equal(addr_bits(&v6), 128);
	assert_true(addr_is_set(&v4));
	assert_false(addr_is_set(&none));
	assert_true(addr_equal(&v4, &v4));
	assert_false(addr_equal(&v4, &v6));
	assert_false(addr_equal(&v4, &none));
	/* The same bytes in another family are another address. */
	assert_false(
		addr_equal(&(struct addr){AF_INET, {0}}, &(struct addr){AF_INET6, {0}}));
}

static void test_cidr_parse(void **state)
{
	static const struct {
		const char *text;
		const char *shown; /* NULL: refused */
	} cases[] = {
		{"10.1.2.0/24", "10.1.2.0/24"},
		{"10.1.2.3/24", "10.1.2.3/24"}, /* host bits stay */
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"10.1.2.3/32", "10.1.2.3/32"},
		{"10.1.2.3/33", NULL},
		{"::/0", "::/0"},
		{"fd00::1/128", "fd00::1/128"},
		{"fd00::1/129", NULL},
		{"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"},
		{"10.1.2.0", NULL},
		{"10.1.2.0/", NULL},
		{"10.1.2.0/-1", NULL},
		{"10.1.2.0/+8", NULL},
		{"10.1.2.0/8 ", NULL},
		{"10.1.2.0/255.255.255.0", NULL},
		{"10.1.2.0/4294967320", NULL},
		{"10.1.2.0/24/24", NULL},
		{"/24", NULL},
		{"/", NULL},
		{"", NULL},
		{"0000000000000000000000000000000000000000000000000000010.1.2.0/24",
		 NULL},
	};
	char text[CIDR_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct cidr before = {.prefix = 99};
		struct cidr c = before;
		int r = cidr_parse(cases[i].text, &c);

		print_message("'%s'\n", cases[i].text);
		assert_int_equal(r, cases[i].shown ? 0 : -EINVAL);
		if (r == 0)
			assert_string_equal(cidr_format(&c, text), cases[i].shown);
		else
			assert_memory_equal(&c, &before, sizeof(c));
	}
	assert_string_equal(cidr_format(&(struct cidr){.prefix = 8}, text), "");
}

static void test_cidr_borders(void **state)
{
	static const struct {
		const char *cidr;
		const char *network;
		const char *last;
		uint64_t count;
	} cases[] = {
		{"10.1.2.3/0", "0.0.0.0/0", "255.255.255.255", UINT64_C(1) << 32},
		{"10.1.2.3/1", "0.0.0.0/1", "127.255.255.255", UINT64_C(1) << 31},
		{"10.129.2.3/9", "10.128.0.0/9", "10.255.255.255", 1U << 23},
		{"10.1.2.200/24", "10.1.2.0/24", "10.1.2.255", 256},
		{"10.1.2.200/25", "10.1.2.128/25", "10.1.2.255", 128},
		{"10.1.2.201/31", "10.1.2.200/31", "10.1.2.201", 2},
		{"10.1.2.201/32", "10.1.2.201/32", "10.1.2.201", 1},
		{"fd00::1/0", "::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 UINT64_MAX},
		{"fd00:1:2:3::1/63", "fd00:1:2:2::/63", "fd00:1:2:3:ffff:ffff:ffff:ffff",
		 UINT64_MAX},
		{"fd00:1:2:3::1/64", "fd00:1:2:3::/64", "fd00:1:2:3:ffff:ffff:ffff:ffff",
		 UINT64_MAX},
		{"fd00::f000:0:0:1/65", "fd00::8000:0:0:0/65",
		 "fd00::ffff:ffff:ffff:ffff", UINT64_C(1) << 63},
		{"fd00::1ab/120", "fd00::100/120", "fd00::1ff", 256},
		{"fd00::1ab/127", "fd00::1aa/127", "fd00::1ab", 2},
		{"fd00::1ab/128", "fd00::1ab/128", "fd00::1ab", 1},
	};
	char text[CIDR_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct cidr c = prefix(cases[i].cidr);
		const struct cidr network = cidr_network(&c);
		const struct addr last = cidr_last(&c);

		print_message("%s\n", cases[i].cidr);
		assert_string_equal(cidr_format(&network, text), cases[i].network);
		assert_string_equal(show(last), cases[i].last);
		assert_true(cidr_count(&c) == cases[i].count);
		assert_true(cidr_contains(&c, &network.addr));
		assert_true(cidr_contains(&c, &last));
		assert_true(cidr_covers(&c, &network));
		assert_true(cidr_covers(&network, &c));
		assert_true(cidr_overlaps(&c, &network));
	}
}

static void test_cidr_relations(void **state)
{
	static const struct {
		const char *a;
		const char *b;
		bool a_covers;
		bool b_covers;
		bool overlap;
	} cases[] = {
		{"10.0.0.0/8", "10.1.0.0/16", true, false, true},
		{"10.0.0.0/8", "10.0.0.0/8", true, true, true},
		{"10.0.0.0/8", "10.9.9.9/8", true, true, true},
		{"10.0.0.0/24", "10.0.1.0/24", false, false, false},
		{"10.0.0.0/31", "10.0.0.1/32", true, false, true},
		{"10.0.0.0/31", "10.0.0.2/31", false, false, false},
		{"10.0.0.1/32", "10.0.0.1/32", true, true, true},
		{"10.0.0.1/32", "10.0.0.2/32", false, false, false},
		{"0.0.0.0/0", "255.255.255.255/32", true, false, true},
		{"0.0.0.0/0", "::/0", false, false, false},
		{"::/0", "fd00::/64", true, false, true},
		{"fd00::/64", "fd00:0:0:1::/64", false, false, false},
		{"fd00::/127", "fd00::1/128", true, false, true},
		{"fd00::1/128", "fd00::2/128", false, false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct cidr a = prefix(cases[i].a);
		const struct cidr b = prefix(cases[i].b);

		print_message("%s %s\n", cases[i].a, cases[i].b);
		assert_int_equal(cidr_covers(&a, &b), cases[i].a_covers);
		assert_int_equal(cidr_covers(&b, &a), cases[i].b_covers);
		assert_int_equal(cidr_overlaps(&a, &b), cases[i].overlap);
		assert_int_equal(cidr_overlaps(&b, &a), cases[i].overlap);
		assert_int_equal(cidr_equal(&a, &b), !strcmp(cases[i].a, cases[i].b));
	}
}

static void test_contains(void **state)
{
	static const struct {
		const char *cidr;
		const char *addr;
		bool in;
	} cases[] = {
		{"10.1.2.0/24", "10.1.2.0", true},
		{"10.1.2.0/24", "10.1.2.255", true},
		{"10.1.2.0/24", "10.1.3.0", false},
		{"10.1.2.0/24", "10.1.1.255", false},
		{"10.1.2.0/24", "::10.1.2.0", false},
		{"0.0.0.0/0", "1.2.3.4", true},
		{"0.0.0.0/0", "::", false},
		{"10.1.2.4/31", "10.1.2.5", true},
		{"10.1.2.4/31", "10.1.2.6", false},
		{"fd00::/128", "fd00::", true},
		{"fd00::/128", "fd00::1", false},
		{"::/0", "ffff::", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct cidr c = prefix(cases[i].cidr);
		const struct addr a = address(cases[i].addr);

		print_message("%s %s\n", cases[i].cidr, cases[i].addr);
		assert_int_equal(cidr_contains(&c, &a), cases[i].in);
	}
}

static void test_arithmetic(void **state)
{
	static const struct {
		const char *base;
		uint64_t offset;
		const char *sum;
	} cases[] = {
		{"10.0.0.0", 0, "10.0.0.0"},
		{"10.0.0.0", 1, "10.0.0.1"},
		{"10.0.0.255", 1, "10.0.1.0"},
		{"0.0.0.0", UINT32_MAX, "255.255.255.255"},
		{"10.255.255.255", 1, "11.0.0.0"},
		{"fd00::", 0, "fd00::"},
		{"fd00::ffff", 1, "fd00::1:0"},
		{"fd00::ffff:ffff", 1, "fd00::1:0:0"},
		{"fd00::", UINT64_MAX, "fd00::ffff:ffff:ffff:ffff"},
		{"fd00:0:0:7::", 5, "fd00:0:0:7::5"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct addr base = address(cases[i].base);
		const struct addr sum = addr_add(&base, cases[i].offset);

		print_message("%s\n", cases[i].base);
		assert_string_equal(show(sum), cases[i].sum);
		assert_true(addr_offset(&base, &sum) == cases[i].offset);
	}
}

static uint64_t number(const struct addr *a, size_t from, size_t to)
{
	uint64_t n = 0;

	for (size_t i = from; i < to; i++)
		n = n << 8 | a->bytes[i];
	return n;
}

/* As numbers: network <= any address of the prefix <= last, and nothing else is in. */
static void check_prefix(const struct cidr *c, const struct addr *a)
{
	const struct cidr network = cidr_network(c);
	const struct addr last = cidr_last(c);
	size_t size = addr_size(a);
	size_t half = size / 2;
	uint64_t low[2] = {number(&network.addr, 0, half),
			   number(&network.addr, half, size)};
	uint64_t high[2] = {number(&last, 0, half), number(&last, half, size)};
	uint64_t is[2] = {number(a, 0, half), number(a, half, size)};
	bool above = is[0] > low[0] || (is[0] == low[0] && is[1] >= low[1]);
	bool below = is[0] < high[0] || (is[0] == high[0] && is[1] <= high[1]);

	assert_int_equal(cidr_contains(c, a), above && below);
}

static void test_random(void **state)
{
	unsigned int seed = (unsigned int)time(NULL);

	(void)state;
	print_message("seed %u\n", seed);
	for (unsigned int i = 0; i < 20000; i++) {
		struct cidr c = {.addr.family = rand_r(&seed) & 1 ? AF_INET : AF_INET6};
		struct addr a;
		char text[CIDR_TEXT_SIZE];
		struct cidr back;

		for (size_t k = 0; k < addr_size(&c.addr); k++)
			c.addr.bytes[k] = (uint8_t)rand_r(&seed);
		c.prefix =
			(uint8_t)((unsigned int)rand_r(&seed) % (addr_bits(&c.addr) + 1));
		a = c.addr;
		/* Mostly near the prefix: one bit of the address turned. */
		a.bytes[(unsigned int)rand_r(&seed) % addr_size(&a)] ^=
			(uint8_t)(1U << (rand_r(&seed) & 7));
		check_prefix(&c, &a);
		check_prefix(&c, &c.addr);
		assert_int_equal(cidr_parse(cidr_format(&c, text), &back), 0);
		assert_true(cidr_equal(&back, &c));
	}
}

static void test_mac(void **state)
{
	static const struct {
		const char *text;
		const char *shown; /* NULL: refused */
	} cases[] = {
		{"02:42:0a:80:00:02", "02:42:0a:80:00:02"},
		{"FF:ff:Ff:fF:00:aB", "ff:ff:ff:ff:00:ab"},
		{"", NULL},
		{"02:42:0a:80:00", NULL},
		{"02:42:0a:80:00:02:03", NULL},
		{"02:42:0a:80:00:02 ", NULL},
		{" 02:42:0a:80:00:02", NULL},
		{"02: 2:0a:80:00:02", NULL},
		{"02:-1:0a:80:00:02", NULL},
		{"02:+1:0a:80:00:02", NULL},
		{"02:0x:0a:80:00:02", NULL},
		{"2:42:a:80:0:2", NULL},
		{"02:42:0a:80:00:2", NULL},
		{"02:42:0a:80:00:002", NULL},
		{"02-42-0a-80-00-02", NULL},
		{"02420a800002", NULL},
		{"02:42:0a:80:00:0g", NULL},
	};
	char text[MAC_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t mac[MAC_SIZE] = {1, 2, 3, 4, 5, 6};
		int r = mac_parse(cases[i].text, mac);

		print_message("'%s'\n", cases[i].text);
		assert_int_equal(r, cases[i].shown ? 0 : -EINVAL);
		assert_string_equal(mac_format(mac, text),
				    r == 0 ? cases[i].shown : "01:02:03:04:05:06");
	}
}

static void test_mac_from_addr(void **state)
{
	const struct addr v4 = address("10.128.0.2");
	const struct addr v6 = address("fd00::1:2:a0b:c0d");
	uint8_t mac[MAC_SIZE];
	char text[MAC_TEXT_SIZE];

	(void)state;
	mac_from_addr(&v4, mac);
	assert_string_equal(mac_format(mac, text), "02:42:0a:80:00:02");
	mac_from_addr(&v6, mac);
	assert_string_equal(mac_format(mac, text), "02:42:0a:0b:0c:0d");
	/* Never a group address, always a local one. */
	assert_int_equal(mac[0] & 3, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addr_parse),
		cmocka_unit_test(test_addr_size),
		cmocka_unit_test(test_cidr_parse),
		cmocka_unit_test(test_cidr_borders),
		cmocka_unit_test(test_cidr_relations),
		cmocka_unit_test(test_contains),
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_mac_from_addr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
