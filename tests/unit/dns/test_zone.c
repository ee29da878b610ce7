// SPDX-License-Identifier: GPL-2.0-or-later
/* The zone's meaning: who sees which service under which name, and what changes do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lb/dns/answer.h"
#include "lb/dns/zone.h"
#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX 8

static const char networks_ab[2][LB_ID_SIZE] = {"neta", "netb"};
static const char networks_b[1][LB_ID_SIZE] = {"netb"};

static const struct zone_client client_none = {networks_ab, 0, ""};
static const struct zone_client client_a = {networks_ab, 1, ""};
static const struct zone_client client_b = {networks_b, 1, ""};
static const struct zone_client client_ab = {networks_ab, 2, ""};
static const struct zone_client client_a_shop = {networks_ab, 1, "shop"};
static const struct zone_client client_a_Blog = {networks_ab, 1, "Blog"};
static const struct zone_client client_ab_blog = {networks_ab, 2, "blog"};

static struct addr ip(const char *text)
{
	struct addr a = {.family = 0};

	if (text)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static struct lb_view *view(uint32_t mark, const char *network, const char *project,
			    const char *name, unsigned int count)
{
	struct lb_view *v = lb_view_new(count);

	assert_non_null(v);
	v->mark = mark;
	assert_int_equal(str_copy(v->network, sizeof(v->network), network), 0);
	assert_int_equal(str_copy(v->project, sizeof(v->project), project), 0);
	assert_int_equal(str_copy(v->name, sizeof(v->name), name), 0);
	for (unsigned int i = 0; i < count; i++) {
		struct addr base = ip("10.0.9.0");

		v->backends[i].addr4 = addr_add(&base, i + 1);
		v->backends[i].weight = 1;
	}
	return v;
}

/* Sets the view and gives the caller's reference away. */
static void put(struct zone *z, struct lb_view *v)
{
	assert_int_equal(zone_set(z, v), 0);
	lb_view_put(v);
}

static void put_vip(struct zone *z, uint32_t mark, const char *network,
		    const char *project, const char *name, const char *vip)
{
	struct lb_view *v = view(mark, network, project, name, 2);

	v->vip4 = ip(vip);
	put(z, v);
}

static struct zone *zone_filled(void)
{
	struct zone *z = zone_new();

	assert_non_null(z);
	put_vip(z, 1, "neta", "shop", "web", "10.0.0.1");
	put_vip(z, 2, "neta", "blog", "web", "10.0.0.2");
	put_vip(z, 3, "neta", "", "cache", "10.0.0.3");
	put_vip(z, 4, "neta", "blog", "cache", "10.0.0.4");
	put_vip(z, 5, "neta", "shop", "api", "10.0.0.5");
	put_vip(z, 6, "netb", "", "web", "10.1.0.6");
	put_vip(z, 7, "netb", "", "My.Name", "10.1.0.7");
	put_vip(z, 8, "netb", "blog", "tasks", "10.1.0.8");
	put_vip(z, 9, "netb", "", "novip", NULL);
	return z;
}

static const struct {
	const struct zone_client *client;
	const char *name;
	const char *addr; /* NULL: unknown; "": no address */
} cases[] = {
	/* own project, then none, then the only other one */
	{&client_a_shop, "web", "10.0.0.1"},
	{&client_a_Blog, "web", "10.0.0.2"},
	{&client_a, "web", NULL},
	{&client_a, "cache", "10.0.0.3"},
	{&client_a_shop, "cache", "10.0.0.3"},
	{&client_a_Blog, "cache", "10.0.0.4"},
	{&client_a, "api", "10.0.0.5"},
	{&client_a_Blog, "api", "10.0.0.5"},
	/* only its own networks */
	{&client_none, "web", NULL},
	{&client_none, "api", NULL},
	{&client_b, "api", NULL},
	{&client_b, "web", "10.1.0.6"},
	{&client_ab, "web", "10.1.0.6"},
	{&client_ab_blog, "web", "10.0.0.2"},
	{&client_ab, "api", "10.0.0.5"},
	/* with a project */
	{&client_a, "web.shop", "10.0.0.1"},
	{&client_a_shop, "web.blog", "10.0.0.2"},
	{&client_a_shop, "cache.shop", NULL},
	{&client_b, "web.shop", NULL},
	/* case and the final dot */
	{&client_a_shop, "WEB", "10.0.0.1"},
	{&client_a_shop, "web.", "10.0.0.1"},
	{&client_a_shop, "Web.SHOP.", "10.0.0.1"},
	{&client_a_shop, "web..", NULL},
	/* names with dots or of a prefix */
	{&client_b, "my.name", "10.1.0.7"},
	{&client_b, "name", NULL},
	{&client_b, "tasks", "10.1.0.8"},
	{&client_b, "tasks.blog", "10.1.0.8"},
	{&client_b, "novip", ""},
	/* no such thing */
	{&client_a, "", NULL},
	{&client_a, ".", NULL},
	{&client_a, ".shop", NULL},
	{&client_a, "web.", NULL},
	{&client_a, "tasks.", NULL},
	{&client_a, "tasks.nope", NULL},
	{&client_a, "docker.com", NULL},
	{&client_a, "web.shop.example", NULL},
	{&client_a,
	 "0123456789012345678901234567890123456789012345678901234567890123456789.shop",
	 NULL},
	{&client_a,
	 "web.0123456789012345678901234567890123456789012345678901234567890123456789",
	 NULL},
};

static void test_names(void **state)
{
	struct zone *z = zone_filled();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr got[MAX] = {{0}};
		struct zone_answer found = {got, MAX, 99};
		enum zone_result r = zone_lookup(z, cases[i].client, cases[i].name,
						 AF_INET, 1, &found);
		char text[ADDR_TEXT_SIZE];

		if ((r == ZONE_RESULT_FOUND) != (cases[i].addr != NULL))
			fail_msg("%zu \"%s\": result %d", i, cases[i].name, (int)r);
		if (!cases[i].addr)
			continue;
		assert_int_equal(found.count, *cases[i].addr ? 1 : 0);
		if (found.count > 0 && strcmp(addr_format(got, text), cases[i].addr) != 0)
			fail_msg("%zu \"%s\": %s", i, cases[i].name, text);
	}
	zone_free(z);
}

static unsigned int lookup(const struct zone *z, const char *name, uint8_t family,
			   uint32_t random, struct addr *got)
{
	struct zone_answer found = {got, MAX, 0};

	assert_int_equal(zone_lookup(z, &client_a, name, family, random, &found),
			 ZONE_RESULT_FOUND);
	return found.count;
}

static void test_families(void **state)
{
	struct zone *z = zone_new();
	struct addr got[MAX];
	struct lb_view *v = view(1, "neta", "", "web", 1);
	struct addr vip6 = ip("fd00::1");

	(void)state;
	v->vip4 = ip("10.0.0.1");
	put(z, v);
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 1);
	assert_int_equal(lookup(z, "web", AF_INET6, 1, got), 0);
	v = view(1, "neta", "", "web", 1);
	v->vip6 = vip6;
	put(z, v);
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 0);
	assert_int_equal(lookup(z, "web", AF_INET6, 1, got), 1);
	assert_true(addr_equal(got, &vip6));
	assert_int_equal(lookup(z, "tasks.web", AF_INET6, 1, got), 0);
	zone_free(z);
}

static void test_backends(void **state)
{
	struct zone *z = zone_new();
	struct addr got[MAX];
	struct lb_view *v = view(1, "neta", "shop", "web", 5);
	struct addr first = v->backends[0].addr4;

	(void)state;
	v->vip4 = ip("10.0.0.1");
	v->backends[1].weight = 0;
	v->backends[2].weight = 0;
	v->backends[4].addr4.family = 0;
	put(z, v);
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 1);
	assert_int_equal(lookup(z, "tasks.web", AF_INET, 1, got), 2);
	assert_int_equal(lookup(z, "Tasks.web.SHOP.", AF_INET, 1, got), 2);
	assert_int_equal(lookup(z, "tasks.web", AF_INET6, 1, got), 0);

	/* all weights 0: all of them */
	v = view(1, "neta", "shop", "web", 3);
	v->dnsrr = true;
	for (int i = 0; i < 3; i++)
		v->backends[i].weight = 0;
	put(z, v);
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 3);
	assert_int_equal(lookup(z, "tasks.web", AF_INET, 1, got), 3);

	/* the only active one has no such address: none, not the inactive ones */
	v = view(1, "neta", "shop", "web", 3);
	v->dnsrr = true;
	v->backends[0].weight = 0;
	v->backends[2].weight = 0;
	v->backends[1].addr4 = ip(NULL);
	put(z, v);
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 0);

	v = view(1, "neta", "shop", "web", 0);
	v->dnsrr = true;
	put(z, v);
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 0);
	v = view(1, "neta", "shop", "web", 1);
	v->dnsrr = true;
	put(z, v);
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 1);
	assert_true(addr_equal(got, &first));
	zone_free(z);
}

/* Each backend comes at each place about as often, also where not all have room. */
static void test_random_order(void **state)
{
	enum {
		BACKENDS = 12,
		ROUNDS = 24000
	};
	unsigned int seen[BACKENDS][MAX] = {{0}};
	struct zone *z = zone_new();
	struct lb_view *v = view(1, "neta", "", "web", BACKENDS);

	(void)state;
	v->dnsrr = true;
	put(z, v);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct addr got[MAX];
		unsigned int taken = 0;

		assert_int_equal(lookup(z, "web", AF_INET, i * 2654435761U, got), MAX);
		for (unsigned int k = 0; k < MAX; k++) {
			unsigned int b = got[k].bytes[3] - 1U;

			assert_true(b < BACKENDS);
			assert_false(taken & 1U << b);
			taken |= 1U << b;
			seen[b][k]++;
		}
	}
	for (unsigned int b = 0; b < BACKENDS; b++)
		for (unsigned int k = 0; k < MAX; k++)
			assert_in_range(seen[b][k], ROUNDS / BACKENDS * 8 / 10,
					ROUNDS / BACKENDS * 12 / 10);
	zone_free(z);
}

static void test_changes(void **state)
{
	struct zone *z = zone_new();
	struct addr got[MAX];
	struct zone_answer found = {got, MAX, 0};

	(void)state;
	/* a new address, a new name, gone */
	put_vip(z, 1, "neta", "", "web", "10.0.0.1");
	put_vip(z, 1, "neta", "", "web", "10.0.0.2");
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 1);
	assert_int_equal(got[0].bytes[3], 2);
	put_vip(z, 1, "neta", "", "www", "10.0.0.2");
	assert_int_equal(zone_lookup(z, &client_a, "web", AF_INET, 1, &found),
			 ZONE_RESULT_UNKNOWN);
	assert_int_equal(lookup(z, "www", AF_INET, 1, got), 1);
	zone_del(z, 1);
	zone_del(z, 1);
	assert_int_equal(zone_lookup(z, &client_a, "www", AF_INET, 1, &found),
			 ZONE_RESULT_UNKNOWN);

	/* made anew under another mark before the old one goes */
	put_vip(z, 2, "neta", "p", "web", "10.0.0.2");
	put_vip(z, 3, "neta", "p", "web", "10.0.0.3");
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 1);
	assert_int_equal(got[0].bytes[3], 3);
	zone_del(z, 2);
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 1);
	assert_int_equal(got[0].bytes[3], 3);

	/* a second project makes the name ambiguous; it goes again */
	put_vip(z, 4, "neta", "q", "web", "10.0.0.4");
	assert_int_equal(zone_lookup(z, &client_a, "web", AF_INET, 1, &found),
			 ZONE_RESULT_UNKNOWN);
	zone_del(z, 3);
	assert_int_equal(lookup(z, "web", AF_INET, 1, got), 1);
	assert_int_equal(got[0].bytes[3], 4);
	zone_free(z);
}

static void test_reverse(void **state)
{
	struct zone *z = zone_filled();
	struct addr a = ip("10.0.0.1");
	struct addr b = ip("10.1.0.7");
	struct addr backend = ip("10.0.9.1");
	struct lb_view *v = view(20, "neta", "", "six", 0);
	struct addr six = ip("fd00::6");

	(void)state;
	v->vip6 = six;
	put(z, v);
	assert_string_equal(zone_reverse(z, &client_a, &a), "web");
	assert_string_equal(zone_reverse(z, &client_ab, &b), "My.Name");
	assert_string_equal(zone_reverse(z, &client_ab, &six), "six");
	assert_null(zone_reverse(z, &client_a, &b));
	assert_null(zone_reverse(z, &client_none, &a));
	assert_null(zone_reverse(z, &client_ab, &backend));
	/* the address moves to another service before the old one goes */
	put_vip(z, 21, "neta", "", "new", "10.0.0.1");
	zone_del(z, 1);
	assert_string_equal(zone_reverse(z, &client_a, &a), "new");
	zone_del(z, 21);
	assert_null(zone_reverse(z, &client_a, &a));
	zone_free(z);
}

static void test_null(void **state)
{
	(void)state;
	zone_free(NULL);
}

/* ---- whole answers --------------------------------------------------------- */

static size_t ask(const struct zone *z, const char *labels, size_t len, uint16_t type,
		  uint16_t class, uint8_t *out)
{
	uint8_t msg[300] = {0x12, 0x34, 1, 0, 0, 1};
	struct wire_query q;

	memcpy(msg + 12, labels, len);
	wire_put16(msg + 12 + len, type);
	wire_put16(msg + 14 + len, class);
	assert_int_equal(wire_parse_query(msg, 16 + len, &q), 0);
	return answer_write(z, &client_a_shop, &q, 7, out, 512);
}
#define ASK(labels, type) ask(z, labels, sizeof(labels), type, 1, out)

/* A known name is answered for every type; never NXDOMAIN, never forwarded. */
static void test_answers(void **state)
{
	static const uint16_t empty[] = {2, 5, 6, 12, 15, 16, 28, 33, 65, 255};
	struct zone *z = zone_filled();
	uint8_t out[512];
	size_t size;

	(void)state;
	size = ASK("\3web", 1);
	assert_int_equal(size, 21 + 16);
	assert_int_equal(wire_get16(out + 2) & WIRE_RCODE_MASK, 0);
	assert_int_equal(wire_get16(out + 6), 1);
	assert_memory_equal(out + size - 4, "\x0a\0\0\1", 4);
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
		assert_int_equal(ASK("\3web", empty[i]), 21);
		assert_int_equal(wire_get16(out + 2) & WIRE_RCODE_MASK, 0);
		assert_int_equal(wire_get16(out + 6), 0);
	}
	size = ASK("\1"
		   "1\1"
		   "0\1"
		   "0\2"
		   "10\7in-addr\4arpa",
		   12);
	assert_memory_equal(out + size - 5, "\3web", 5);
	assert_int_equal(ASK("\1"
			     "9\1"
			     "0\1"
			     "0\2"
			     "10\7in-addr\4arpa",
			     12),
			 0);
	assert_int_equal(ASK("\7example\3org", 1), 0);
	assert_int_equal(ASK("\5_http\4_tcp\3web", 33), 0);
	assert_int_equal(ASK("", 2), 0);
	assert_int_equal(ask(z, "\3web", 5, 1, 3 /* CHAOS */, out), 0);
	zone_free(z);
}

static uint64_t time_lookups(unsigned int services)
{
	enum {
		ROUNDS = 20000
	};
	struct zone *z = zone_new();
	uint64_t start;

	for (unsigned int i = 0; i < services; i++) {
		char name[LB_NAME_SIZE];
		char project[LB_NAME_SIZE];

		(void)snprintf(name, sizeof(name), "svc%u", i / 2);
		(void)snprintf(project, sizeof(project), "p%u", i);
		put_vip(z, i + 1, "neta", project, i % 2 ? "web" : name, "10.0.0.1");
	}
	start = clock_ns();
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct addr got[MAX];
		struct zone_answer found = {got, MAX, 0};

		(void)zone_lookup(z, &client_a, i % 2 ? "web.p1" : "nope.example.org",
				  AF_INET, i, &found);
	}
	start = (clock_ns() - start) / ROUNDS;
	zone_free(z);
	return start;
}

/* Not linear: a thousand times the services must not cost twenty times as much. */
static void test_flat(void **state)
{
	uint64_t few = time_lookups(20);
	uint64_t many = time_lookups(20000);

	(void)state;
	print_message("# look-up: %llu ns with 20 services, %llu ns with 20000\n",
		      (unsigned long long)few, (unsigned long long)many);
	assert_true(many < 20 * few + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	 cmocka_unit_test(test_families),
		cmocka_unit_test(test_backends), cmocka_unit_test(test_random_order),
		cmocka_unit_test(test_changes),	 cmocka_unit_test(test_reverse),
		cmocka_unit_test(test_null),	 cmocka_unit_test(test_answers),
		cmocka_unit_test(test_flat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
