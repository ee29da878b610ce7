// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random operations on the registry, with what must always hold: a VIP is in its range
 * and belongs to one service, a mark too, an endpoint is a backend of at most one
 * service, what was told is what is, memory and database agree, and a transaction that
 * is rolled back leaves nothing. SEED=n repeats a run.
 */
#include "plugin/base/log.h"
#include "tests/unit/lb/fixture.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#define NETWORKS   4
#define ENDPOINTS  14
#define CONTAINERS 6
#define ROUNDS	   4000

static unsigned int seed;
static uint64_t now_ms;

static unsigned int pick(unsigned int n)
{
	return (unsigned int)rand_r(&seed) % n;
}

static const char *name_of(char *buf, size_t size, char kind, unsigned int n)
{
	assert_int_equal(str_printf(buf, size, "%c%u", kind, n), 0);
	return buf;
}

/* Ranges of the networks; family 0 where there is none. Small, so that they fill up. */
static struct cidr range4_of(unsigned int network)
{
	static const char *const texts[NETWORKS] = {"10.1.0.240/29", "10.2.0.252/30", "",
						    ""};

	return prefix(texts[network]);
}

static struct cidr range6_of(unsigned int network)
{
	static const char *const texts[NETWORKS] = {"", "fd00::10/125", "fd00::4/126",
						    ""};

	return prefix(texts[network]);
}

static int put_network(struct fixture *f, unsigned int n, const char *options)
{
	struct cidr range4 = range4_of(n);
	struct cidr range6 = range6_of(n);
	char text4[CIDR_TEXT_SIZE];
	char text6[CIDR_TEXT_SIZE];
	char id[16];

	return try_network(f, name_of(id, sizeof(id), 'n', n),
			   cidr_format(&range4, text4), cidr_format(&range6, text6),
			   options);
}

static const char *random_options(char *buf, size_t size)
{
	static const char *const services[] = {
		"",
		"",
		"fairlead.service=a",
		"fairlead.service=b",
		"fairlead.service=B",
		"com.docker.compose.service=a com.docker.compose.project=p",
		"com.docker.compose.service=c com.docker.compose.project=q",
		"com.docker.compose.service=c com.docker.compose.oneoff=True",
		"com.docker.swarm.service.name=d",
		"fairlead.service=bad.name com.docker.swarm.service.name=e",
	};
	static const char *const rest[] = {
		"",
		"",
		"",
		" fairlead.weight=5",
		" fairlead.weight=0",
		" fairlead.weight=x",
		" fairlead.mode=dnsrr",
		" fairlead.vip=10.1.0.242",
		" fairlead.vip=10.2.0.253",
		" fairlead.vip=10.9.9.9",
		" fairlead.vip=fd00::5",
		" fairlead.vip=fd00::11",
		" fairlead.vip=10.1.0.243",
		" fairlead.vip=10.1.0.242,fd00::6",
		" fairlead.vip=fd00::12,10.2.0.254",
		" fairlead.scheduler=lc",
		" fairlead.scheduler=nonsense",
		" fairlead.health=none",
		" fairlead.enable=false",
		" fairlead.unknown=1",
	};

	assert_int_equal(str_printf(buf, size, "%s%s",
				    services[pick(ARRAY_SIZE(services))],
				    rest[pick(ARRAY_SIZE(rest))]),
			 0);
	return buf;
}

static void random_network(struct fixture *f)
{
	unsigned int n = pick(NETWORKS);
	char id[16];

	if (pick(3) == 0)
		del_network(f, name_of(id, sizeof(id), 'n', n));
	else
		assert_int_equal(put_network(f, n, pick(3) ? NULL : "fairlead.weight=9"),
				 0);
}

static void random_endpoint(struct fixture *f)
{
	char network[16];
	char id[16];
	char addr[32];
	char options[160];
	int r;

	(void)name_of(id, sizeof(id), 'e', pick(ENDPOINTS));
	if (pick(3) == 0) {
		del_endpoint(f, id);
		return;
	}
	(void)name_of(network, sizeof(network), 'n', pick(NETWORKS));
	(void)snprintf(addr, sizeof(addr), "10.1.0.%u", pick(200));
	r = try_endpoint(f, network, id, addr,
			 pick(2) ? random_options(options, sizeof(options)) : NULL);
	assert_true(r == 0 || r == -ENOENT);
}

static void random_container(struct fixture *f)
{
	const char *ids[3] = {NULL};
	char names[3][16];
	char id[16];
	char labels[160];
	struct registry_container c = container(NULL, ids);

	c.id = c.name = name_of(id, sizeof(id), 'c', pick(CONTAINERS));
	c.running = pick(5) != 0;
	c.paused = pick(10) == 0;
	c.health = (enum registry_health)pick(4);
	c.endpoint_count = pick(4);
	for (unsigned int i = 0; i < c.endpoint_count; i++)
		ids[i] = name_of(names[i], sizeof(names[i]), 'e', pick(ENDPOINTS));
	see(f, c, random_options(labels, sizeof(labels)));
}

static void random_event(struct fixture *f)
{
	static const int signals[] = {SIGTERM, SIGKILL, SIGHUP};
	const struct registry_notice notice = {
		(enum registry_event)pick(5),
		signals[pick(ARRAY_SIZE(signals))],
		(enum registry_health)pick(4),
	};
	struct err e;
	char id[16];

	(void)name_of(id, sizeof(id), 'c', pick(CONTAINERS));
	assert_int_equal(registry_container_event(f->registry, id, &notice, now_ms, &e),
			 0);
}

static void random_time(struct fixture *f)
{
	now_ms += pick(20000);
	assert_int_equal(registry_expire(f->registry, now_ms, NULL), 0);
	assert_true(registry_deadline(f->registry) > now_ms);
}

static void random_operation(struct fixture *f)
{
	static void (*const operations[])(struct fixture *) = {
		random_endpoint,  random_endpoint, random_endpoint, random_container,
		random_container, random_event,	   random_event,    random_time,
	};

	if (pick(40) == 0)
		random_network(f);
	else
		operations[pick(ARRAY_SIZE(operations))](f);
}

/* --- what must hold --- */

static bool has_backend(const struct lb_view *v, const char *endpoint)
{
	for (unsigned int i = 0; i < v->count; i++) {
		if (!strcmp(v->backends[i].endpoint, endpoint))
			return true;
	}
	return false;
}

static void check_vip(const struct addr *vip, const struct cidr *range)
{
	struct addr last = cidr_last(range);

	if (!addr_is_set(vip))
		return;
	assert_true(cidr_contains(range, vip));
	assert_false(addr_equal(vip, &range->addr));
	assert_false(vip->family == AF_INET && addr_equal(vip, &last));
}

static void check_view(const struct lb_view *v)
{
	unsigned int network = (unsigned int)(v->network[1] - '0');
	struct cidr range4 = range4_of(network);
	struct cidr range6 = range6_of(network);

	assert_true(v->mark >= LB_MARK_FIRST && v->mark < LB_MARK_FIRST + 100);
	assert_int_equal(v->dnsrr, !addr_is_set(&v->vip4) && !addr_is_set(&v->vip6));
	assert_true(v->count > 0 || !v->dnsrr);
	check_vip(&v->vip4, &range4);
	check_vip(&v->vip6, &range6);
}

static void check_pair(const struct lb_view *a, const struct lb_view *b)
{
	assert_true(strcmp(a->network, b->network) || strcmp(a->project, b->project) ||
		    strcmp(a->name, b->name));
	if (!strcmp(a->network, b->network)) {
		assert_false(addr_is_set(&a->vip4) && addr_equal(&a->vip4, &b->vip4));
		assert_false(addr_is_set(&a->vip6) && addr_equal(&a->vip6, &b->vip6));
	}
	for (unsigned int i = 0; i < a->count; i++)
		assert_false(has_backend(b, a->backends[i].endpoint));
}

static void check_all(struct fixture *f)
{
	struct seen_view *a;
	struct seen_view *next;

	HASH_ITER (hh, f->views, a, next) {
		struct seen_view *b = next;

		check_view(a->view);
		for (; b; b = b->hh.next)
			check_pair(a->view, b->view);
		for (unsigned int i = 0; i < a->view->count; i++) {
			struct seen_endpoint *ep;

			HASH_FIND_STR(f->endpoints, a->view->backends[i].endpoint, ep);
			assert_non_null(ep);
			assert_int_equal(ep->mark, a->view->mark);
		}
	}
	check_witness(f);
}

/* A reload finds nothing to tell: memory and tables say the same. */
static void check_reload(struct fixture *f)
{
	unsigned int calls = f->changed_calls + f->assigned_calls;

	assert_int_equal(registry_reload(f->registry, NULL), 0);
	assert_int_equal(f->changed_calls + f->assigned_calls, calls);
}

static struct seen_view *copy_views(struct fixture *f)
{
	struct seen_view *copy = NULL;
	struct seen_view *s;
	struct seen_view *next;

	HASH_ITER (hh, f->views, s, next) {
		struct seen_view *c = calloc(1, sizeof(*c));

		assert_non_null(c);
		c->mark = s->mark;
		c->view = lb_view_get(s->view);
		HASH_ADD(hh, copy, mark, sizeof(c->mark), c);
	}
	return copy;
}

static void compare_views(struct fixture *f, struct seen_view *copy)
{
	struct seen_view *c;
	struct seen_view *next;

	assert_int_equal(HASH_COUNT(copy), HASH_COUNT(f->views));
	HASH_ITER (hh, copy, c, next) {
		assert_non_null(find_seen(f, c->mark));
		assert_true(same_view(find_seen(f, c->mark)->view, c->view));
		HASH_DEL(copy, c);
		lb_view_put(c->view);
		free(c);
	}
}

/* Some operations, and the transaction around them is lost. */
static void lose_transaction(struct fixture *f)
{
	struct seen_view *before = copy_views(f);

	assert_int_equal(db_begin(f->db, NULL), 0);
	for (unsigned int i = pick(10); i > 0; i--)
		random_operation(f);
	db_rollback(f->db);
	assert_int_equal(registry_reload(f->registry, NULL), 0);
	compare_views(f, before);
}

static void set_read_only(struct fixture *f, bool read_only)
{
	const char *sql = read_only ? "PRAGMA query_only=1" : "PRAGMA query_only=0";
	struct db_stmt **st;

	assert_int_equal(db_prepare(f->db, &sql, 1, &st, NULL), 0);
	assert_int_equal(db_run(st[0], NULL), 0);
	db_finalize(st, 1);
}

/* Removals while nothing can be written; later it is made good, or taken back. */
static void fail_writes(struct fixture *f)
{
	struct seen_view *before = copy_views(f);
	bool back = pick(2) == 0;
	char id[16];

	set_read_only(f, true);
	for (unsigned int i = pick(4); i > 0; i--)
		(void)registry_endpoint_del(
			f->registry, name_of(id, sizeof(id), 'e', pick(ENDPOINTS)), NULL);
	if (pick(8) == 0)
		(void)registry_network_del(
			f->registry, name_of(id, sizeof(id), 'n', pick(NETWORKS)), NULL);
	(void)try_endpoint(f, "n0", name_of(id, sizeof(id), 'e', pick(ENDPOINTS)),
			   "10.1.0.7", "fairlead.service=late");
	compare_views(f, before);
	set_read_only(f, false);
	if (back)
		assert_int_equal(registry_reload(f->registry, NULL), 0);
	else
		assert_int_equal(registry_expire(f->registry, now_ms, NULL), 0);
}

static void test_random(void **state)
{
	struct fixture *f = *state;
	const char *given = getenv("SEED");

	seed = given ? (unsigned int)strtoul(given, NULL, 10) : (unsigned int)time(NULL);
	print_message("SEED=%u\n", seed);
	now_ms = 1000;
	for (unsigned int i = 0; i < NETWORKS; i++)
		assert_int_equal(put_network(f, i, NULL), 0);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		random_operation(f);
		if (pick(50) == 0)
			lose_transaction(f);
		if (pick(50) == 0)
			fail_writes(f);
		if (pick(50) == 0)
			fixture_restart(f);
		check_all(f);
		if (pick(5) == 0)
			check_reload(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	/* Errors of users are meant here. */
	assert_int_equal(log_setup("error"), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
