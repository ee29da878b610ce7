// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Claims on host ports: sharing, conflict and take-over, moving targets, picking, and
 * random use against a naive model (FAIRLEAD_SEED repeats a run). Always: what was told
 * by the callback, played back, gives what is open.
 */
#include "driver/ports.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define OPEN_MAX  64
#define TRACE_MAX 1024

/* What the kernel would have by now. */
struct kernel {
	unsigned int count;
	struct firewall_port open[OPEN_MAX];
	char trace[TRACE_MAX]; /* since the last assert_trace */
};

static bool same_key(const struct firewall_port *a, const struct firewall_port *b)
{
	return a->proto == b->proto && a->host_port == b->host_port &&
	       addr_equal(&a->host_addr, &b->host_addr);
}

static bool same_port(const struct firewall_port *a, const struct firewall_port *b)
{
	return same_key(a, b) && a->target_port == b->target_port &&
	       addr_equal(&a->target4, &b->target4) &&
	       addr_equal(&a->target6, &b->target6);
}

static int find_open(const struct kernel *k, const struct firewall_port *port)
{
	for (unsigned int i = 0; i < k->count; i++)
		if (same_key(&k->open[i], port))
			return (int)i;
	return -1;
}

static const char *show(const struct firewall_port *p)
{
	static char text[2][128];
	static int next;
	char host[ADDR_TEXT_SIZE];
	char target[ADDR_TEXT_SIZE];

	next = !next;
	(void)snprintf(text[next], sizeof(text[next]), "%s:%u/%u>%s:%u",
		       addr_format(&p->host_addr, host), p->host_port, p->proto,
		       addr_format(&p->target4, target), p->target_port);
	return text[next];
}

/* Refuses what a kernel would: a second opening, closing what is not as it says. */
static void on_changed(void *ctx, const struct firewall_port *old,
		       const struct firewall_port *new_port)
{
	struct kernel *k = ctx;
	size_t len = strlen(k->trace);

	assert_true(old || new_port);
	if (old) {
		int i = find_open(k, old);

		assert_true(i >= 0);
		assert_true(same_port(&k->open[i], old));
		k->open[i] = k->open[--k->count];
	}
	if (new_port) {
		assert_int_equal(find_open(k, new_port), -1);
		assert_in_range(k->count, 0, OPEN_MAX - 1);
		k->open[k->count++] = *new_port;
	}
	if (old && new_port)
		assert_true(same_key(old, new_port));
	(void)snprintf(k->trace + len, sizeof(k->trace) - len, "%s%s ",
		       !new_port ? "-"
		       : !old	 ? "+"
				 : "=",
		       show(new_port ? new_port : old));
}

static void assert_trace(struct kernel *k, const char *want)
{
	assert_string_equal(k->trace, want);
	k->trace[0] = '\0';
}

struct compare {
	const struct kernel *kernel;
	unsigned int count;
};

static void compare_one(void *ctx, const struct firewall_port *port)
{
	struct compare *c = ctx;
	int i = find_open(c->kernel, port);

	assert_true(i >= 0);
	assert_true(same_port(&c->kernel->open[i], port));
	c->count++;
}

static void check_kernel(const struct ports *p, struct kernel *k)
{
	struct compare c = {k, 0};

	ports_each(p, compare_one, &c);
	assert_int_equal(c.count, k->count);
	k->trace[0] = '\0';
}

static struct ports *new_ports(struct kernel *k)
{
	const struct ports_callbacks callbacks = {on_changed, k};
	struct ports *p;

	memset(k, 0, sizeof(*k));
	p = ports_new(&callbacks);
	assert_non_null(p);
	return p;
}

static struct addr address(const char *text)
{
	struct addr a = {0};

	if (*text)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static struct ports_target target(uint32_t mark, const char *addr)
{
	return (struct ports_target){.mark = mark, .addr4 = address(addr)};
}

static struct ports_claim claim(const char *host, uint16_t host_port, uint16_t port)
{
	return (struct ports_claim){.proto = IPPROTO_TCP,
				    .host_addr = address(host),
				    .host_port = host_port,
				    .port = port};
}

static void add(struct ports *p, const char *endpoint, struct ports_claim c,
		struct ports_target t)
{
	assert_int_equal(ports_add(p, endpoint, &c, &t), 0);
}

static const char *holder_seen;
static unsigned int claims_seen;

static void see_claim(void *ctx, const struct ports_claim *c, const char *holder)
{
	const uint16_t *host_port = ctx;

	claims_seen++;
	if (c->host_port == *host_port)
		holder_seen = holder ? holder : "itself";
}

/* Who has the port that the endpoint claims: "itself", another one, NULL: no claim. */
static const char *holder_of(const struct ports *p, const char *endpoint,
			     uint16_t host_port)
{
	holder_seen = NULL;
	claims_seen = 0;
	ports_each_claim(p, endpoint, see_claim, &host_port);
	return holder_seen;
}

static void test_one(void **state)
{
	struct kernel k;
	struct ports *p = new_ports(&k);

	(void)state;
	add(p, "a", claim("", 8080, 80), target(0, "10.1.0.2"));
	assert_trace(&k, "+:8080/6>10.1.0.2:80 ");
	add(p, "a", claim("", 8080, 80), target(0, "10.1.0.2"));
	add(p, "a", claim("", 8080, 81), target(0, "10.1.0.2")); /* the first counts */
	assert_trace(&k, "");
	add(p, "a", claim("192.0.2.1", 8080, 82), target(0, "10.1.0.2"));
	assert_trace(&k, "+192.0.2.1:8080/6>10.1.0.2:82 ");
	assert_string_equal(holder_of(p, "a", 8080), "itself");
	assert_int_equal(claims_seen, 2);
	check_kernel(p, &k);
	ports_del(p, "b");
	assert_trace(&k, "");
	ports_del(p, "a");
	assert_int_equal(k.count, 0);
	assert_null(holder_of(p, "a", 8080));
	ports_del(p, "a");
	check_kernel(p, &k);
	ports_free(p);
	ports_free(NULL);
}

/* The same number is another port for another protocol or address. */
static void test_keys(void **state)
{
	struct ports_claim udp = claim("", 53, 53);
	struct kernel k;
	struct ports *p = new_ports(&k);

	(void)state;
	udp.proto = IPPROTO_UDP;
	add(p, "a", claim("", 53, 53), target(0, "10.1.0.2"));
	add(p, "b", udp, target(0, "10.1.0.3"));
	add(p, "c", claim("192.0.2.1", 53, 53), target(0, "10.1.0.4"));
	add(p, "d", claim("2001:db8::1", 53, 53), target(0, "10.1.0.5"));
	assert_int_equal(k.count, 4);
	assert_string_equal(holder_of(p, "d", 53), "itself");
	check_kernel(p, &k);
	ports_free(p);
}

/* Replicas of a service: one opening, and nothing happens when one of them goes. */
static void test_share(void **state)
{
	struct kernel k;
	struct ports *p = new_ports(&k);

	(void)state;
	add(p, "a", claim("", 8080, 80), target(256, "10.1.0.200"));
	add(p, "b", claim("", 8080, 80), target(256, "10.1.0.200"));
	add(p, "c", claim("", 8080, 80), target(256, "10.1.0.200"));
	assert_trace(&k, "+:8080/6>10.1.0.200:80 ");
	assert_string_equal(holder_of(p, "b", 8080), "itself");
	ports_del(p, "a");
	ports_del(p, "c");
	assert_trace(&k, "");
	ports_del(p, "b");
	assert_trace(&k, "-:8080/6>10.1.0.200:80 ");
	ports_free(p);
}

static void test_take_over(void **state)
{
	struct kernel k;
	struct ports *p = new_ports(&k);

	(void)state;
	add(p, "a1", claim("", 8080, 80), target(256, "10.1.0.200"));
	add(p, "b", claim("", 8080, 81), target(257, "10.1.0.201"));
	add(p, "a2", claim("", 8080, 80), target(256, "10.1.0.200"));
	add(p, "c", claim("", 8080, 82), target(0, "10.1.0.5"));
	assert_trace(&k, "+:8080/6>10.1.0.200:80 ");
	assert_string_equal(holder_of(p, "b", 8080), "a1");
	assert_string_equal(holder_of(p, "c", 8080), "a1");
	assert_string_equal(holder_of(p, "a2", 8080), "itself");
	/* In order of arrival. */
	ports_del(p, "a1");
	assert_trace(&k, "=:8080/6>10.1.0.201:81 ");
	assert_string_equal(holder_of(p, "a2", 8080), "b");
	ports_del(p, "b");
	assert_trace(&k, "=:8080/6>10.1.0.200:80 ");
	ports_del(p, "a2");
	assert_trace(&k, "=:8080/6>10.1.0.5:82 ");
	/* Two without a service are two parties. */
	add(p, "d", claim("", 8080, 83), target(0, "10.1.0.6"));
	assert_string_equal(holder_of(p, "d", 8080), "c");
	ports_del(p, "c");
	assert_trace(&k, "=:8080/6>10.1.0.6:83 ");
	check_kernel(p, &k);
	ports_free(p);
}

static void test_retarget(void **state)
{
	const struct ports_target vip = target(256, "10.1.0.200");
	const struct ports_target self = target(0, "10.1.0.2");
	struct kernel k;
	struct ports *p = new_ports(&k);

	(void)state;
	ports_retarget(p, "a", &vip);
	add(p, "a", claim("", 8080, 80), self);
	add(p, "a", claim("", 8443, 443), self);
	add(p, "b", claim("", 8080, 80), target(256, "10.1.0.200"));
	k.trace[0] = '\0';
	ports_retarget(p, "a", &self);
	assert_trace(&k, "");
	/* Its container is known now: it belongs to the service of b. */
	ports_retarget(p, "a", &vip);
	assert_trace(&k, "=:8443/6>10.1.0.200:443 =:8080/6>10.1.0.200:80 ");
	assert_string_equal(holder_of(p, "b", 8080), "itself");
	/* Who waits may move as he likes. */
	add(p, "c", claim("", 8080, 81), target(257, "10.1.0.201"));
	ports_retarget(p, "c", &self);
	assert_trace(&k, "");
	ports_retarget(p, "a", &self);
	assert_string_equal(holder_of(p, "b", 8080), "a");
	check_kernel(p, &k);
	ports_free(p);
}

static void test_pick(void **state)
{
	struct ports_claim any = claim("", 0, 80);
	struct ports_claim one = claim("192.0.2.1", 0, 80);
	struct kernel k;
	struct ports *p = new_ports(&k);

	(void)state;
	assert_int_equal(ports_pick(p, &any, 0, 0, 0), PORTS_PICK_FIRST);
	assert_int_equal(ports_pick(p, &any, 8000, 8001, 0), 8000);
	add(p, "a", claim("", 8000, 80), target(256, "10.1.0.200"));
	assert_int_equal(ports_pick(p, &any, 8000, 8001, 0), 8001);
	assert_int_equal(ports_pick(p, &any, 8000, 8001, 257), 8001);
	assert_int_equal(ports_pick(p, &any, 8000, 8001, 256), 8000);
	assert_int_equal(ports_pick(p, &one, 8000, 8001, 0), 8000);
	add(p, "b", claim("", 8001, 80), target(0, "10.1.0.3"));
	assert_int_equal(ports_pick(p, &any, 8000, 8001, 0), 0);
	assert_int_equal(ports_pick(p, &any, 8001, 8001, 256), 0);
	/* Nobody shares with those who stand for themselves. */
	add(p, "c", claim("", 9000, 80), target(0, "10.1.0.4"));
	assert_int_equal(ports_pick(p, &any, 9000, 9000, 0), 0);
	assert_int_equal(ports_pick(p, &any, 65535, 65535, 0), 65535);
	assert_int_equal(ports_pick(p, &any, 1, 1, 0), 1);
	add(p, "d", claim("", 65535, 80), target(0, "10.1.0.4"));
	assert_int_equal(ports_pick(p, &any, 65535, 65535, 0), 0);
	ports_free(p);
}

static void test_pick_all(void **state)
{
	struct ports_claim any = claim("", 0, 80);
	struct ports *p = ports_new(NULL);
	const struct ports_target t = target(0, "10.1.0.3");

	(void)state;
	assert_non_null(p);
	for (uint32_t n = PORTS_PICK_FIRST; n <= PORTS_PICK_FIRST + 500; n++) {
		any.host_port = ports_pick(p, &any, 0, 0, 0);
		assert_int_equal(any.host_port, n);
		assert_int_equal(ports_add(p, "a", &any, &t), 0);
	}
	ports_free(p);
}

static void test_replace(void **state)
{
	struct kernel k;
	struct ports *p = new_ports(&k);
	struct ports *next = ports_new(NULL);

	(void)state;
	assert_non_null(next);
	add(p, "a", claim("", 1, 80), target(0, "10.1.0.2"));
	add(p, "a", claim("", 2, 80), target(0, "10.1.0.2"));
	add(p, "b", claim("", 3, 80), target(256, "10.1.0.200"));
	add(next, "c", claim("", 4, 80), target(0, "10.1.0.4"));
	add(next, "b", claim("", 3, 80), target(256, "10.1.0.200"));
	add(next, "b", claim("", 2, 80), target(256, "10.1.0.200"));
	k.trace[0] = '\0';
	ports_replace(p, next);
	assert_trace(&k, "-:1/6>10.1.0.2:80 =:2/6>10.1.0.200:80 +:4/6>10.1.0.4:80 ");
	check_kernel(p, &k);
	/* It is as good as the old one. */
	assert_null(holder_of(p, "a", 1));
	ports_del(p, "b");
	assert_trace(&k, "-:2/6>10.1.0.200:80 -:3/6>10.1.0.200:80 ");
	next = ports_new(NULL);
	assert_non_null(next);
	ports_replace(p, next);
	assert_int_equal(k.count, 0);
	ports_free(p);
}

/* --- random use ------------------------------------------------------------------ */

#define ENDPOINTS  6
#define KEYS	   5
#define MARKS	   3
#define OPERATIONS 20000

struct model_claim {
	bool used;
	int endpoint;
	uint16_t port;
};

struct model {
	struct model_claim queue[KEYS][ENDPOINTS]; /* in order of arrival */
	struct ports_target target[ENDPOINTS];
	bool known[ENDPOINTS]; /* has claims: its target is fixed */
};

static const char *const names[ENDPOINTS] = {"e0", "e1", "e2", "e3", "e4", "e5"};

static struct ports_claim key_claim(int key, uint16_t port)
{
	struct ports_claim c = claim(key & 1 ? "192.0.2.1" : "", 8000, port);

	c.proto = key & 2 ? IPPROTO_UDP : IPPROTO_TCP;
	c.host_port = (uint16_t)(8000 + key / 4);
	return c;
}

static void model_remove(struct model *m, int endpoint)
{
	for (int key = 0; key < KEYS; key++) {
		int to = 0;

		for (int i = 0; i < ENDPOINTS; i++)
			if (m->queue[key][i].used &&
			    m->queue[key][i].endpoint != endpoint)
				m->queue[key][to++] = m->queue[key][i];
		while (to < ENDPOINTS)
			m->queue[key][to++].used = false;
	}
	m->known[endpoint] = false;
}

static void model_add(struct model *m, int endpoint, int key, uint16_t port)
{
	int i = 0;

	for (; i < ENDPOINTS && m->queue[key][i].used; i++)
		if (m->queue[key][i].endpoint == endpoint)
			return;
	m->queue[key][i] = (struct model_claim){true, endpoint, port};
	m->known[endpoint] = true;
}

static struct ports_target random_target(unsigned int *seed, int endpoint)
{
	uint32_t mark = (uint32_t)rand_r(seed) % MARKS;
	struct ports_target t = {.mark = mark, .addr4 = {AF_INET, {10, 1}}};

	t.addr4.bytes[2] = mark ? 1 : 0;
	t.addr4.bytes[3] = (uint8_t)(mark ? mark : (uint32_t)endpoint);
	return t;
}

static void check_model(const struct ports *p, const struct model *m, struct kernel *k)
{
	unsigned int open = 0;

	check_kernel(p, k);
	for (int key = 0; key < KEYS; key++) {
		const struct model_claim *first = &m->queue[key][0];
		const struct ports_claim c = key_claim(key, first->port);
		struct firewall_port want = {.proto = c.proto,
					     .host_addr = c.host_addr,
					     .host_port = c.host_port,
					     .target4 = m->target[first->endpoint].addr4,
					     .target_port = first->port};
		int i = find_open(k, &want);

		assert_int_equal(i >= 0, first->used);
		if (!first->used)
			continue;
		open++;
		assert_true(same_port(&k->open[i], &want));
	}
	assert_int_equal(k->count, open);
}

static void step(struct ports *p, struct model *m, unsigned int *seed)
{
	int endpoint = rand_r(seed) % ENDPOINTS;
	int key = rand_r(seed) % KEYS;
	uint16_t port = (uint16_t)(80 + rand_r(seed) % 2);
	struct ports_target t = random_target(seed, endpoint);

	switch (rand_r(seed) % 5) {
	case 0:
		ports_del(p, names[endpoint]);
		model_remove(m, endpoint);
		break;
	case 1:
		ports_retarget(p, names[endpoint], &t);
		if (m->known[endpoint])
			m->target[endpoint] = t;
		break;
	default:
		if (m->known[endpoint])
			t = m->target[endpoint];
		add(p, names[endpoint], key_claim(key, port), t);
		m->target[endpoint] = t;
		model_add(m, endpoint, key, port);
	}
}

/* The model's claims in another object, as after reading them from a database. */
static struct ports *rebuilt(const struct model *m)
{
	struct ports *next = ports_new(NULL);

	assert_non_null(next);
	for (int key = 0; key < KEYS; key++)
		for (int i = 0; i < ENDPOINTS && m->queue[key][i].used; i++)
			add(next, names[m->queue[key][i].endpoint],
			    key_claim(key, m->queue[key][i].port),
			    m->target[m->queue[key][i].endpoint]);
	return next;
}

static void test_random(void **state)
{
	const char *text = getenv("FAIRLEAD_SEED");
	unsigned int seed =
		text ? (unsigned int)strtoul(text, NULL, 10) : (unsigned int)time(NULL);
	struct kernel k;
	struct ports *p = new_ports(&k);
	struct model m = {0};

	(void)state;
	print_message("FAIRLEAD_SEED=%u\n", seed);
	for (int i = 0; i < OPERATIONS; i++) {
		step(p, &m, &seed);
		check_model(p, &m, &k);
		if (i % 50 == 0) { /* some changes are lost on the way */
			struct model before = m;
			struct ports *next = rebuilt(&before);

			for (int n = rand_r(&seed) % 4; n > 0; n--)
				step(p, &m, &seed);
			m = before;
			ports_replace(p, next);
			check_model(p, &m, &k);
		}
	}
	ports_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),	 cmocka_unit_test(test_keys),
		cmocka_unit_test(test_share),	 cmocka_unit_test(test_take_over),
		cmocka_unit_test(test_retarget), cmocka_unit_test(test_pick),
		cmocka_unit_test(test_pick_all), cmocka_unit_test(test_replace),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
