// SPDX-License-Identifier: GPL-2.0-or-later
/* The store's side of the node, request by request. After each batch the changes told so
 * far are compared with what a new start on the same database tells. */
#include "tests/unit/plugin/desired_fixture.h"

#include <limits.h>

#define NET  "net1"
#define POOL "10.1.0.1/24"

/* --- networks ---------------------------------------------------------------------- */

static void test_network(void **state)
{
	struct fixture *f = *state;
	struct net_request rq = {.id = NET,
				 .pools = {"10.1.0.1/24", "fd00:1::1/64"},
				 .options = {"com.docker.network.driver.mtu", "1400"}};
	struct cidr pool;

	assert_run(run(f, verb_network_create, &rq));
	assert_string_equal(rq.config.id, NET);
	assert_int_equal(rq.config.mtu, 1400);
	assert_false(rq.config.internal);
	assert_int_equal(rq.config.subnet_count, 2);
	assert_int_equal(cidr_parse("10.1.0.0/24", &pool), 0);
	assert_true(cidr_equal(&rq.config.subnets[0].pool, &pool));
	assert_int_equal(rq.config.subnets[1].pool.addr.family, AF_INET6);
	assert_int_equal(f->follower.network_count, 1);
	assert_memory_equal(&f->follower.networks[0], &rq.config, sizeof(rq.config));
	/* Asked once more, a little different: the last one counts. */
	rq.internal = true;
	rq.pools[1] = NULL;
	rq.options[0] = NULL;
	assert_run(run(f, verb_network_create, &rq));
	assert_int_equal(f->follower.network_count, 1);
	assert_true(f->follower.networks[0].internal);
	assert_int_equal(f->follower.networks[0].mtu, 1500); /* of the node */
	assert_int_equal(f->follower.networks[0].subnet_count, 1);
	assert_run(run(f, verb_network_delete, NET));
	assert_int_equal(f->follower.network_count, 0);
	assert_run(run(f, verb_network_delete, NET));
}

static void test_network_refused(void **state)
{
	static const struct {
		struct net_request rq;
		int result;
		const char *text;
	} cases[] = {
		{{.id = NET}, -EINVAL, "no address pool"},
		{{.id = NET, .pools = {"10.1.0.1/0"}}, -EINVAL, "all addresses"},
		{{.id = NET, .pools = {POOL}, .options = {"mtu", "67"}}, -EINVAL, "=67"},
		{{.id = NET, .pools = {POOL}, .options = {"mtu", "65536"}},
		 -EINVAL,
		 "68 to 65535"},
		{{.id = NET, .pools = {POOL}, .options = {"mtu", ""}}, -EINVAL, "mtu"},
		{{.id = NET, .pools = {POOL}, .options = {"mtu", "-1500"}},
		 -EINVAL,
		 "mtu"},
		{{.id = NET,
		  .pools = {POOL},
		  .options = {"com.docker.network.driver.mtu", "9k", "mtu", "1500"}},
		 -EINVAL,
		 "=9k"},
		{{.id = NET, .pools = {POOL}, .options = {"vip-range", "some"}},
		 -EINVAL,
		 "not a prefix"},
		{{.id = NET, .pools = {"fd00::1/64"}, .options = {"vip-range", "some"}},
		 -EINVAL,
		 "not a prefix"},
		{{.id = NET, .pools = {POOL}, .options = {"vip-range", "10.1.0.128"}},
		 -EINVAL,
		 "not a prefix"},
		{{.id = NET,
		  .pools = {POOL},
		  .options = {"vip-range", "0000:0000:0000:0000:0000:0000:0000:0000:"
					   "0000:0000:0000:0000/64"}},
		 -EINVAL,
		 "not a prefix"},
		{{.id = NET, .pools = {POOL}, .options = {"vip-range", "10.2.0.0/25"}},
		 -EINVAL,
		 "not inside a pool"},
		{{.id = NET, .pools = {POOL}, .options = {"vip-range", "10.1.0.0/23"}},
		 -EINVAL,
		 "not inside a pool"},
		{{.id = NET, .pools = {POOL}, .options = {"vip-range", "fd00::/120"}},
		 -EINVAL,
		 "not inside a pool"},
		{{.id = NET, .pools = {POOL}, .options = {"vip-range", "10.1.0.0/25"}},
		 -EINVAL,
		 "gateway"},
		{{.id = NET,
		  .pools = {POOL, "10.2.0.1/24", "10.3.0.1/24", "10.4.0.1/24",
			    "10.5.0.1/24", "10.6.0.1/24", "10.7.0.1/24", "10.8.0.1/24",
			    "10.9.0.1/24"}},
		 -E2BIG,
		 "more than 8"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_request rq = cases[i].rq;
		int r = run(f, verb_network_create, &rq);

		print_message("%d %s\n", r, error_text);
		assert_int_equal(r, cases[i].result);
		assert_error_text(cases[i].text);
		assert_int_equal(f->follower.network_count, 0);
	}
}

static const char *range_of(const struct net_request *rq, unsigned int i)
{
	static char text[2][CIDR_TEXT_SIZE];
	static int next;

	next = !next;
	return cidr_format(&rq->config.subnets[i].vip_range, text[next]);
}

struct reason {
	const char *id;
	char text[128];
};

static void note_reason(void *ctx, const struct store_network *n, unsigned int endpoints)
{
	struct reason *r = ctx;

	(void)endpoints;
	if (!strcmp(n->config.id, r->id))
		(void)str_copy(r->text, sizeof(r->text), n->no_vip_reason);
}

static void assert_reason(struct fixture *f, const char *id, const char *part)
{
	struct reason r = {.id = id};

	desired_each_network(f->d, note_reason, &r);
	if (part ? !strstr(r.text, part) : r.text[0])
		fail_msg("reason of %s: %s", id, r.text);
}

static int verb_pool_release(struct desired *d, void *arg, struct err *e)
{
	return ipam_pool_release(desired_ipam(d), arg, e);
}

#define POOL_ID IPAM_SPACE_LOCAL "/10.1.0.0/24"

/* A pool is one network's: what is not a ghost keeps it. */
static void test_network_keeps_its_pool(void **state)
{
	static const struct {
		const char *space; /* of the newcomer */
		const char *pool;
	} cases[] = {
		{"LocalDefault", "10.1.0.1/24"},
		{"LocalDefault", "10.1.0.1/25"},
		{"LocalDefault", "10.1.0.129/25"},
		{"LocalDefault", "10.1.0.1/16"},
		{NULL, "10.1.0.1/24"},
		{"", "10.1.0.1/24"},
		{IPAM_SPACE_GLOBAL, "10.1.0.1/24"},
	};
	static const char *const spaces[] = {NULL, "LocalDefault"};
	struct fixture *f = *state;
	struct net_request rq = {.id = NET, .pools = {"fd00:1::1/64", POOL}};

	assert_run(run(f, verb_pool, "10.1.0.0/24"));
	for (size_t s = 0; s < ARRAY_SIZE(spaces); s++) {
		rq.space = spaces[s];
		assert_run(run(f, verb_network_create, &rq));
		assert_run(create_endpoint(f, NET, "ep1", "10.1.0.2"));
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			struct net_request second = {.id = "net2",
						     .pools = {cases[i].pool},
						     .space = cases[i].space};

			assert_int_equal(run(f, verb_network_create, &second), -EEXIST);
			assert_error_text("overlaps 10.1.0.0/24 of network net1");
			assert_int_equal(f->follower.network_count, 1);
		}
		assert_run(run(f, verb_endpoint_delete, "ep1"));
		/* Without endpoints too, of another address management. */
		rq.id = "net2";
		rq.pools[0] = POOL;
		rq.pools[1] = NULL;
		rq.space = spaces[s] ? IPAM_SPACE_GLOBAL : "LocalDefault";
		assert_int_equal(run(f, verb_network_create, &rq), -EEXIST);
		assert_run(create_network(f, "net3", "10.1.1.1/24")); /* a neighbour */
		assert_run(run(f, verb_network_delete, "net3"));
		assert_run(run(f, verb_network_delete, NET));
		rq = (struct net_request){.id = NET, .pools = {"fd00:1::1/64", POOL}};
	}
}

struct next_request {
	bool release;
	bool pool_again;
	struct net_request *network;
};

/* In one batch: in between, a start would drop the ghost. */
static int verb_next(struct desired *d, void *arg, struct err *e)
{
	struct next_request *rq = arg;
	int r = rq->release ? verb_pool_release(d, POOL_ID, e) : 0;

	if (r == 0 && rq->pool_again)
		r = verb_pool(d, "10.1.0.0/24", e);
	return r < 0 ? r : verb_network_create(d, rq->network, e);
}

/* Docker forgot the first network: its pool was given back and given again. */
static void test_ghost_network_is_replaced(void **state)
{
	static const struct {
		const char *space;
		bool pool_again;
		const char *next; /* gateway of the new one */
	} cases[] = {
		{NULL, true, "10.1.0.1/24"},
		{NULL, false, "10.1.0.1/25"},
		{"LocalDefault", false, "10.1.0.1/24"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_request ghost = {
			.id = "ghost", .pools = {POOL}, .space = cases[i].space};
		struct net_request next = {
			.id = "next", .pools = {cases[i].next}, .space = cases[i].space};
		struct next_request rq = {!cases[i].space, cases[i].pool_again, &next};

		if (!cases[i].space)
			assert_run(run(f, verb_pool, "10.1.0.0/24"));
		assert_run(run(f, verb_network_create, &ghost));
		assert_int_equal(ghost.ghost_count, 0);
		assert_run(run(f, verb_next, &rq));
		assert_int_equal(next.ghost_count, 1);
		assert_string_equal(next.ghost, "ghost");
		assert_int_equal(f->follower.network_count, 1);
		assert_string_equal(f->follower.networks[0].id, "next");
		assert_run(run(f, verb_network_delete, "next"));
		if (cases[i].pool_again)
			assert_run(run(f, verb_pool_release, POOL_ID));
	}
}

/* Two ranges of one subnet are two pools: the first network is none that was forgotten.
 */
static void test_sub_pools_are_no_ghosts(void **state)
{
	struct fixture *f = *state;
	struct ipam_pool_request rq = {.space = IPAM_SPACE_LOCAL,
				       .pool = "10.1.0.0/24",
				       .sub_pool = "10.1.0.0/26",
				       .vip_range = ""};
	struct ipam_pool_answer answer;
	struct err e = {0};

	assert_int_equal(desired_batch_begin(f->d, &e), 0);
	assert_int_equal(ipam_pool_request(desired_ipam(f->d), &rq, &answer, &e), 0);
	rq.sub_pool = "10.1.0.64/26";
	assert_int_equal(ipam_pool_request(desired_ipam(f->d), &rq, &answer, &e), 0);
	assert_int_equal(desired_batch_end(f->d, &e), 0);
	assert_run(create_network(f, NET, POOL));
	assert_int_equal(create_network(f, "net2", POOL), -EEXIST);
	assert_int_equal(f->follower.network_count, 1);
}

/* Nobody asks for the ghost's pool: it goes at the next start. */
static void test_ghost_network_goes_at_start(void **state)
{
	struct fixture *f = *state;
	struct net_request foreign = {
		.id = "foreign", .pools = {"10.3.0.1/24"}, .space = "LocalDefault"};

	assert_run(run(f, verb_pool, "10.1.0.0/24"));
	assert_run(run(f, verb_pool, "10.2.0.0/24"));
	assert_run(run(f, verb_pool, "10.4.0.0/24"));
	assert_run(create_network(f, "ghost", POOL));
	assert_run(create_network(f, "alive", "10.2.0.1/24"));
	assert_run(create_network(f, "busy", "10.4.0.1/24"));
	assert_run(create_endpoint(f, "busy", "ep1", "10.4.0.2"));
	assert_run(run(f, verb_network_create, &foreign));
	assert_run(run(f, verb_pool_release, IPAM_SPACE_LOCAL "/10.4.0.0/24"));
	assert_int_equal(f->follower.network_count, 4);
	assert_run(run(f, verb_pool_release, POOL_ID));
	restart(f);
	follow_visit(&f->follower, f->d);
	assert_int_equal(f->follower.network_count, 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_string_not_equal(f->follower.networks[i].id, "ghost");
	assert_reason(f, "ghost", NULL); /* not there */
	assert_reason(f, "foreign", "not from fairlead");
}

/* Pools that are not ours have VIPs where the user says so. */
static void test_foreign_vip_range(void **state)
{
	static const struct {
		const char *option;
		const char *v4;
		const char *v6;
		const char *reason;
	} cases[] = {
		{NULL, "", "", "not from fairlead"},
		{"", "", "", "not from fairlead"},
		{"none", "", "", "vip-range=none"},
		{"10.1.0.128/25", "10.1.0.128/25", "", NULL},
		{"10.1.0.200/25", "10.1.0.128/25", "", NULL},
		{"fd00:1::8000/113", "", "fd00:1::8000/113", NULL},
		{"10.1.0.192/26,fd00:1::8000/113", "10.1.0.192/26", "fd00:1::8000/113",
		 NULL},
		{"fd00:1::8000/113,10.1.0.192/26", "10.1.0.192/26", "fd00:1::8000/113",
		 NULL},
		{"none,10.1.0.192/26", "10.1.0.192/26", "", NULL},
		{",10.1.0.192/26,", "10.1.0.192/26", "", NULL},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_request rq = {.id = NET, .pools = {POOL, "fd00:1::1/64"}};

		if (cases[i].option) {
			rq.options[0] = "vip-range";
			rq.options[1] = cases[i].option;
		}
		print_message("%s\n", cases[i].option ? cases[i].option : "-");
		assert_run(run(f, verb_network_create, &rq));
		assert_string_equal(range_of(&rq, 0), cases[i].v4);
		assert_string_equal(range_of(&rq, 1), cases[i].v6);
		assert_reason(f, NET, cases[i].reason);
	}
}

/* Each prefix goes to the pool that it lies in. */
static void test_vip_range_of_two_pools(void **state)
{
	struct fixture *f = *state;
	struct net_request rq = {.id = NET,
				 .pools = {"10.1.0.1/24", "10.2.0.1/24"},
				 .options = {"vip-range", "10.2.0.128/25"}};

	assert_run(run(f, verb_network_create, &rq));
	assert_string_equal(range_of(&rq, 0), "");
	assert_string_equal(range_of(&rq, 1), "10.2.0.128/25");
	rq.options[1] = "10.2.0.192/26,10.1.0.64/26";
	assert_run(run(f, verb_network_create, &rq));
	assert_string_equal(range_of(&rq, 0), "10.1.0.64/26");
	assert_string_equal(range_of(&rq, 1), "10.2.0.192/26");
}

static void test_own_vip_range(void **state)
{
	struct fixture *f = *state;
	struct net_request rq = {.id = NET, .pools = {POOL}};

	assert_run(run(f, verb_pool, "10.1.0.0/24"));
	assert_run(run(f, verb_network_create, &rq));
	assert_string_equal(range_of(&rq, 0), "10.1.0.192/26");
	assert_reason(f, NET, NULL);
	rq.options[0] = "vip-range";
	rq.options[1] = "10.1.0.129/25";
	assert_run(run(f, verb_network_create, &rq));
	assert_string_equal(range_of(&rq, 0), "10.1.0.128/25");
	assert_run(run(f, verb_network_create, &rq)); /* the same once more */
	rq.options[1] = "none";
	assert_run(run(f, verb_network_create, &rq));
	assert_string_equal(range_of(&rq, 0), "");
	assert_reason(f, NET, "vip-range=none");
	/* A refused one undoes what it had set on the way. */
	rq.options[1] = "10.1.0.128/25,10.9.0.0/24";
	assert_int_equal(run(f, verb_network_create, &rq), -EINVAL);
	rq.options[0] = NULL;
	assert_run(run(f, verb_network_create, &rq));
	assert_string_equal(range_of(&rq, 0), "");
	/* Too small for VIPs: not the user's fault, and no foreign pool. */
	assert_run(run(f, verb_pool, "10.3.0.0/31"));
	rq = (struct net_request){.id = "net3", .pools = {"10.3.0.0/31"}};
	assert_run(run(f, verb_network_create, &rq));
	assert_reason(f, "net3", "has no VIP range");
}

static void test_network_delete(void **state)
{
	struct fixture *f = *state;

	assert_run(run(f, verb_pool, "10.1.0.0/24"));
	assert_run(create_network(f, NET, POOL));
	assert_run(create_network(f, "net2", "10.2.0.1/24"));
	assert_run(create_endpoint(f, NET, "e1", "10.1.0.2"));
	assert_run(create_endpoint(f, NET, "e2", "10.1.0.3"));
	assert_run(create_endpoint(f, "net2", "e3", "10.2.0.2"));
	assert_run(join(f, NET, "e1", "/k1"));
	assert_run(join(f, "net2", "e3", "/k1"));
	assert_run(label(f, "c1", "e1", "p", "web"));
	assert_run(publish(f, "e1", 8080, 80));
	assert_non_null(service(f, "web"));
	assert_int_equal(f->follower.client_count, 2);
	assert_run(run(f, verb_network_delete, NET));
	assert_null(service(f, "web"));
	assert_string_equal(port_leads_to(f, 8080), "");
	assert_int_equal(f->follower.client_count, 1);
	assert_int_equal(f->follower.endpoint_count, 1);
	assert_string_equal(f->follower.networks[0].id, "net2");
}

static unsigned int endpoints_seen;

static void count_endpoints(void *ctx, const struct store_network *n,
			    unsigned int endpoints)
{
	(void)ctx;
	if (!strcmp(n->config.id, NET))
		endpoints_seen = endpoints;
}

static void test_each_network(void **state)
{
	struct fixture *f = *state;

	assert_run(create_network(f, NET, POOL));
	assert_run(create_network(f, "net2", "10.2.0.1/24"));
	assert_run(create_endpoint(f, NET, "e1", "10.1.0.2"));
	assert_run(create_endpoint(f, NET, "e2", "10.1.0.3"));
	assert_run(create_endpoint(f, "net2", "e3", "10.2.0.2"));
	desired_each_network(f->d, count_endpoints, NULL);
	assert_int_equal(endpoints_seen, 2);
}

/* --- endpoints -----------------------------------------------------------------------
 */

static void test_macs(void **state)
{
	static const struct {
		const char *addr4;
		const char *addr6;
		const char *mac;
		const char *want;
	} cases[] = {
		{"10.1.0.2", NULL, NULL, "02:42:0a:01:00:02"},
		{"10.1.0.2", "fd00:1::5", NULL, "02:42:0a:01:00:02"},
		{NULL, "fd00:1::a0b:c0d", NULL, "02:42:0a:0b:0c:0d"},
		{"10.1.0.2", NULL, "02:11:22:33:44:55", "02:11:22:33:44:55"},
	};
	struct fixture *f = *state;
	char text[MAC_TEXT_SIZE];

	assert_run(create_network(f, NET, POOL));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ep_request rq = {.network = NET,
					.id = "e1",
					.addr4 = cases[i].addr4,
					.addr6 = cases[i].addr6,
					.mac = cases[i].mac};

		assert_run(run(f, verb_endpoint_create, &rq));
		assert_string_equal(mac_format(rq.created.mac, text), cases[i].want);
		/* What Docker chose must not be told back. */
		assert_int_equal(rq.created.ours, !cases[i].mac);
		assert_run(join(f, NET, "e1", "/k"));
		assert_string_equal(mac_format(f->follower.endpoints[0].base.mac, text),
				    cases[i].want);
		assert_run(run(f, verb_endpoint_delete, "e1"));
	}
}

static void test_life(void **state)
{
	struct fixture *f = *state;
	struct join_request rq = {.network = NET, .id = "e1", .key = "/k1"};
	struct net_request net = {.id = NET, .pools = {POOL, "fd00:1::1/64"}};
	struct ep_request ep = {
		.network = NET, .id = "e1", .addr4 = "10.1.0.2", .addr6 = "fd00:1::2"};
	char text[ADDR_TEXT_SIZE];

	assert_run(run(f, verb_network_create, &net));
	assert_run(run(f, verb_endpoint_create, &ep));
	assert_int_equal(f->follower.endpoint_count, 0); /* not joined yet */
	assert_run(run(f, verb_join, &rq));
	assert_string_equal(rq.joined.endpoint.base.id, "e1");
	assert_string_equal(rq.joined.endpoint.network, NET);
	assert_string_equal(rq.joined.endpoint.key, "/k1");
	assert_string_equal(addr_format(&rq.joined.endpoint.addr6, text), "fd00:1::2");
	assert_string_equal(addr_format(&rq.joined.gateway4, text), "10.1.0.1");
	assert_string_equal(addr_format(&rq.joined.gateway6, text), "fd00:1::1");
	assert_int_equal(f->follower.endpoint_count, 1);
	assert_int_equal(f->follower.client_count, 1);
	assert_run(run(f, verb_join, &rq)); /* repeated */
	rq.key = "/k2";			    /* into another sandbox */
	assert_run(run(f, verb_join, &rq));
	assert_string_equal(f->follower.clients[0].key, "/k2");
	rq.key = "";
	assert_run(run(f, verb_join, &rq));
	assert_int_equal(f->follower.client_count, 0);
	rq.key = "/k1";
	assert_run(run(f, verb_join, &rq));
	assert_run(run(f, verb_leave, "e1"));
	assert_int_equal(f->follower.endpoint_count + f->follower.client_count, 0);
	assert_run(run(f, verb_leave, "e1"));
	assert_run(run(f, verb_join, &rq)); /* it is still known */
	assert_run(run(f, verb_endpoint_delete, "e1"));
	assert_int_equal(f->follower.endpoint_count + f->follower.client_count, 0);
	assert_run(run(f, verb_endpoint_delete, "e1"));
	assert_run(run(f, verb_leave, "e1"));
	assert_int_equal(run(f, verb_join, &rq), -ENOENT);
}

static void test_no_gateway(void **state)
{
	struct fixture *f = *state;
	struct net_request net = {.id = NET, .internal = true, .pools = {POOL}};
	struct join_request rq = {.network = NET, .id = "e1", .key = "/k1"};

	assert_run(run(f, verb_network_create, &net));
	assert_run(create_endpoint(f, NET, "e1", "10.1.0.2"));
	assert_run(run(f, verb_join, &rq));
	assert_false(addr_is_set(&rq.joined.gateway4)); /* internal: no way out */
	assert_false(addr_is_set(&rq.joined.gateway6));
}

static void test_endpoint_refused(void **state)
{
	struct fixture *f = *state;
	char key[STORE_KEY_SIZE + 1];

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	assert_int_equal(create_endpoint(f, NET, "e1", "10.1.0.2"), -ENOENT);
	assert_error_text("no such network: net1");
	assert_int_equal(join(f, NET, "e1", "/k"), -ENOENT);
	assert_error_text("no such endpoint: e1");
	assert_int_equal(publish(f, "e1", 80, 80), -ENOENT);
	assert_run(run(f, verb_unpublish, "e1"));
	assert_run(create_network(f, NET, POOL));
	assert_run(create_network(f, "net2", "10.2.0.1/24"));
	assert_run(create_endpoint(f, NET, "e1", "10.1.0.2"));
	assert_int_equal(join(f, "net2", "e1", "/k"), -ENOENT);
	assert_int_equal(join(f, NET, "e1", key), -ENAMETOOLONG);
	assert_int_equal(f->follower.client_count, 0);
	key[sizeof(key) - 2] = '\0';
	assert_run(join(f, NET, "e1", key));
	key[sizeof(key) - 2] = 'k';
	assert_int_equal(join(f, NET, "e1", key), -ENAMETOOLONG);
	assert_int_equal(f->follower.client_count, 1); /* as before */
}

/* The same request again, with other values: the last one counts. */
static void test_create_again(void **state)
{
	struct fixture *f = *state;
	struct ep_request rq = {.network = NET,
				.id = "e1",
				.addr4 = "10.1.0.2",
				.options = {"fairlead.service", "web"}};

	assert_run(run(f, verb_pool, "10.1.0.0/24"));
	assert_run(create_network(f, NET, POOL));
	assert_run(run(f, verb_endpoint_create, &rq));
	assert_run(join(f, NET, "e1", "/k1"));
	assert_int_equal(service(f, "web")->count, 1); /* at once, by its option */
	rq.addr4 = "10.1.0.9";
	assert_run(run(f, verb_endpoint_create, &rq));
	assert_int_equal(service(f, "web")->count, 0);
	assert_int_equal(f->follower.client_count, 0);
	assert_run(join(f, NET, "e1", "/k1"));
	assert_int_equal(service(f, "web")->backends[0].addr4.bytes[3], 9);
}

static void test_ghosts(void **state)
{
	struct fixture *f = *state;
	struct ep_request rq = {
		.network = NET, .id = "e3", .addr4 = "10.1.0.2", .addr6 = "fd00:1::7"};
	struct ep_request six = {.network = NET, .id = "e2", .addr6 = "fd00:1::7"};
	struct net_request net = {.id = NET, .pools = {POOL, "fd00:1::1/64"}};

	assert_run(run(f, verb_network_create, &net));
	assert_run(create_network(f, "net2", "10.2.0.1/24"));
	assert_run(create_endpoint(f, NET, "e1", "10.1.0.2"));
	assert_run(create_endpoint(f, "net2", "other", "10.1.0.2"));
	assert_run(run(f, verb_endpoint_create, &six));
	assert_run(join(f, NET, "e1", "/k1"));
	assert_run(join(f, NET, "e2", "/k2"));
	assert_run(join(f, "net2", "other", "/k3"));
	assert_run(publish(f, "e1", 8080, 80));
	/* Docker gives both addresses to a new endpoint: it has forgotten two. */
	assert_run(run(f, verb_endpoint_create, &rq));
	assert_string_equal(rq.created.ghosts[0], "e1");
	assert_string_equal(rq.created.ghosts[1], "e2");
	assert_int_equal(f->follower.client_count, 1);
	assert_string_equal(f->follower.endpoints[0].base.id, "other");
	assert_string_equal(port_leads_to(f, 8080), "");
	assert_int_equal(join(f, NET, "e1", "/k1"), -ENOENT);
	assert_run(join(f, NET, "e3", "/k4"));
	/* One ghost with both addresses is removed once; nobody else is. */
	rq.id = "e4";
	assert_run(run(f, verb_endpoint_create, &rq));
	assert_string_equal(rq.created.ghosts[0], "e3");
	assert_string_equal(rq.created.ghosts[1], "");
	rq = (struct ep_request){.network = NET, .id = "e5", .addr4 = "10.1.0.5"};
	assert_run(run(f, verb_endpoint_create, &rq));
	assert_string_equal(rq.created.ghosts[0], "");
	/* After a restart they are found all the same. */
	restart(f);
	rq.id = "e6";
	assert_run(run(f, verb_endpoint_create, &rq));
	assert_string_equal(rq.created.ghosts[0], "e5");
}

/* Only our own options are kept; too many of them are an error. */
static void test_options(void **state)
{
	struct fixture *f = *state;
	struct ep_request rq = {.network = NET,
				.id = "e1",
				.addr4 = "10.1.0.2",
				.options = {"fairlead.service", "web", "other", "x",
					    "fairlead.weight", "7"}};

	assert_run(run(f, verb_pool, "10.1.0.0/24"));
	assert_run(create_network(f, NET, POOL));
	assert_run(run(f, verb_endpoint_create, &rq));
	assert_run(join(f, NET, "e1", "/k1"));
	assert_int_equal(service(f, "web")->backends[0].weight, 7);
}

static int verb_many_options(struct desired *d, void *arg, struct err *e)
{
	struct api_endpoint_create rq = {.network = NET, .endpoint = "e1"};
	struct desired_created created;
	char name[32];
	int r;

	for (int i = 0; i < *(int *)arg; i++) {
		(void)snprintf(name, sizeof(name), "fairlead.x%d", i);
		assert_int_equal(api_options_set(&rq.options.list, name, ""), 0);
	}
	r = desired_endpoint_create(d, &rq, &created, e);
	api_options_fini(&rq.options.list);
	return r;
}

static void test_many_options(void **state)
{
	struct fixture *f = *state;
	int count = STORE_OPTIONS_MAX;

	assert_run(create_network(f, NET, POOL));
	assert_run(run(f, verb_many_options, &count));
	count++;
	assert_int_equal(run(f, verb_many_options, &count), -E2BIG);
	assert_error_text("fairlead.x128");
}

/* --- published ports ------------------------------------------------------------------
 */

static void two_endpoints(struct fixture *f)
{
	assert_run(run(f, verb_pool, "10.1.0.0/24"));
	assert_run(create_network(f, NET, POOL));
	assert_run(create_endpoint(f, NET, "e1", "10.1.0.2"));
	assert_run(create_endpoint(f, NET, "e2", "10.1.0.3"));
	assert_run(join(f, NET, "e1", "/k1"));
	assert_run(join(f, NET, "e2", "/k2"));
}

static const char *vip_text(const struct fixture *f, const char *name, unsigned int port)
{
	static char text[ADDR_TEXT_SIZE + 8];
	char addr[ADDR_TEXT_SIZE];

	(void)snprintf(text, sizeof(text), "%s:%u",
		       addr_format(&service(f, name)->vip4, addr), port);
	return text;
}

static void test_publish(void **state)
{
	struct fixture *f = *state;

	two_endpoints(f);
	assert_run(publish(f, "e1", 8080, 80));
	assert_string_equal(port_leads_to(f, 8080), "10.1.0.2:80");
	/* Its service becomes known: all of it shares the port. */
	assert_run(label(f, "c1", "e1", "p", "web"));
	assert_string_equal(port_leads_to(f, 8080), vip_text(f, "web", 80));
	assert_run(label(f, "c2", "e2", "p", "web"));
	assert_run(publish(f, "e2", 8080, 80));
	f->follower.trace[0] = '\0';
	assert_run(run(f, verb_unpublish, "e1"));
	assert_string_equal(f->follower.trace, ""); /* the other one holds it */
	assert_string_equal(port_leads_to(f, 8080), vip_text(f, "web", 80));
	assert_run(run(f, verb_leave, "e2"));
	assert_string_equal(port_leads_to(f, 8080), "");
}

/* A service gets another VIP: what is published follows at once. */
static void test_publish_follows_vip(void **state)
{
	struct fixture *f = *state;
	struct seen_request rq = {.container = "c1",
				  .endpoints = {"e1"},
				  .labels = {"fairlead.service", "web", NULL}};

	two_endpoints(f);
	assert_run(run(f, verb_seen, &rq));
	assert_run(publish(f, "e1", 8080, 80));
	assert_string_equal(port_leads_to(f, 8080), vip_text(f, "web", 80));
	rq.labels[2] = "fairlead.vip";
	rq.labels[3] = "10.1.0.222";
	assert_run(run(f, verb_seen, &rq));
	assert_string_equal(port_leads_to(f, 8080), "10.1.0.222:80");
	rq.labels[2] = "fairlead.mode";
	rq.labels[3] = "dnsrr";
	assert_run(run(f, verb_seen, &rq));
	assert_string_equal(port_leads_to(f, 8080), "10.1.0.2:80");
}

static void test_publish_conflict(void **state)
{
	struct fixture *f = *state;

	two_endpoints(f);
	assert_run(publish(f, "e1", 8080, 80));
	assert_run(publish(f, "e2", 8080, 81));
	assert_string_equal(port_leads_to(f, 8080), "10.1.0.2:80");
	/* The holder repeats itself (Engine 29+): it stays the holder. */
	f->follower.trace[0] = '\0';
	assert_run(publish(f, "e1", 8080, 80));
	assert_string_equal(f->follower.trace, "");
	assert_string_equal(port_leads_to(f, 8080), "10.1.0.2:80");
	restart(f);
	assert_string_equal(port_leads_to(f, 8080), "10.1.0.2:80");
	assert_run(run(f, verb_endpoint_delete, "e1"));
	assert_string_equal(port_leads_to(f, 8080), "10.1.0.3:81");
}

/* The last list counts, as a whole. */
static void test_publish_again(void **state)
{
	struct fixture *f = *state;
	struct publish_request rq = {.id = "e1", .count = 3};

	two_endpoints(f);
	rq.map[0] = map("", 8080, 8080, 80);
	rq.map[1] = map("", 0, 0, 81);
	rq.map[2] = map("", 9000, 9010, 82);
	assert_run(run(f, verb_publish, &rq));
	assert_string_equal(port_leads_to(f, PORTS_PICK_FIRST), "10.1.0.2:81");
	assert_string_equal(port_leads_to(f, 9000), "10.1.0.2:82");
	f->follower.trace[0] = '\0';
	assert_run(run(f, verb_publish, &rq));
	assert_string_equal(f->follower.trace, "");
	rq.count = 2; /* one less */
	assert_run(run(f, verb_publish, &rq));
	assert_int_equal(f->follower.port_count, 2);
	assert_string_equal(port_leads_to(f, 9000), "");
	rq.map[1] = map("", 9005, 9010, 82); /* another one */
	assert_run(run(f, verb_publish, &rq));
	assert_string_equal(port_leads_to(f, 9005), "10.1.0.2:82");
	assert_int_equal(f->follower.port_count, 2);
	rq.count = 0;
	assert_run(run(f, verb_publish, &rq));
	assert_int_equal(f->follower.port_count, 0);
}

static void test_publish_addresses(void **state)
{
	struct fixture *f = *state;
	struct publish_request rq = {.id = "e1", .count = 4};

	two_endpoints(f);
	/* Docker says "everywhere" in two ways: one opening. */
	rq.map[0] = map("0.0.0.0", 8080, 8080, 80);
	rq.map[1] = map("::", 8080, 8080, 80);
	rq.map[2] = map("192.0.2.1", 8080, 8080, 81);
	rq.map[3] = map("", 8081, 8081, 80);
	rq.map[3].proto = IPPROTO_UDP;
	assert_run(run(f, verb_publish, &rq));
	assert_int_equal(f->follower.port_count, 3);
	f->follower.trace[0] = '\0';
	assert_run(run(f, verb_publish, &rq));
	assert_string_equal(f->follower.trace, "");
}

static void test_publish_picks(void **state)
{
	struct fixture *f = *state;
	struct publish_request rq = {.id = "e1", .count = 1};

	two_endpoints(f);
	rq.map[0] = map("", 9000, 9001, 80);
	assert_run(run(f, verb_publish, &rq));
	rq.id = "e2";
	assert_run(run(f, verb_publish, &rq));
	assert_string_equal(port_leads_to(f, 9001), "10.1.0.3:80");
	assert_run(create_endpoint(f, NET, "e3", "10.1.0.4"));
	rq.id = "e3";
	assert_int_equal(run(f, verb_publish, &rq), -ENOSPC);
	assert_error_text("no free host port for port 80");
	/* Of a list that fails nothing is published. */
	rq.count = 2;
	rq.map[1] = rq.map[0];
	rq.map[0] = map("", 7000, 7000, 70);
	assert_int_equal(run(f, verb_publish, &rq), -ENOSPC);
	assert_string_equal(port_leads_to(f, 7000), "");
	assert_int_equal(f->follower.port_count, 2);
}

static int verb_publish_many(struct desired *d, void *arg, struct err *e)
{
	unsigned int count = *(unsigned int *)arg;
	struct api_port_map *list = calloc(count, sizeof(*list));
	struct api_external rq = {.endpoint = "e1",
				  .options = {.map_count = count, .map = list}};
	int r;

	assert_non_null(list);
	for (unsigned int i = 0; i < count; i++)
		list[i] = map("", 8080, 8080, 80); /* one claim, many times */
	r = desired_publish(d, &rq, e);
	free(list);
	return r;
}

static void test_publish_many(void **state)
{
	struct fixture *f = *state;
	unsigned int count = PORTS_PER_ENDPOINT_MAX + 1;

	two_endpoints(f);
	assert_int_equal(run(f, verb_publish_many, &count), -E2BIG);
	count--;
	assert_run(run(f, verb_publish_many, &count));
	assert_int_equal(f->follower.port_count, 1);
}

struct port_list {
	unsigned int count;
	unsigned int waiting;
};

static void note_port(void *ctx, const char *endpoint, const struct ports_claim *claim,
		      const char *holder)
{
	struct port_list *list = ctx;

	list->count++;
	assert_int_equal(claim->host_port, 8080);
	if (!holder)
		return;
	assert_string_equal(endpoint, "e2");
	assert_string_equal(holder, "e1");
	list->waiting++;
}

static void test_each_port(void **state)
{
	struct fixture *f = *state;
	struct port_list list = {0};

	two_endpoints(f);
	assert_run(publish(f, "e1", 8080, 80));
	assert_run(publish(f, "e2", 8080, 81));
	desired_each_port(f->d, NET, note_port, &list);
	desired_each_port(f->d, "net2", note_port, &list);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.waiting, 1);
}

/* --- names of clients ------------------------------------------------------------------
 */

static void test_projects(void **state)
{
	struct fixture *f = *state;

	two_endpoints(f);
	assert_string_equal(f->follower.clients[0].project, "");
	assert_run(label(f, "c1", "e1", "shop", "web"));
	assert_string_equal(f->follower.clients[find_client(&f->follower, "e1")].project,
			    "shop");
	restart(f);
	assert_string_equal(f->follower.clients[find_client(&f->follower, "e1")].project,
			    "shop");
	assert_string_equal(f->follower.clients[find_client(&f->follower, "e2")].project,
			    "");
}

/* --- the database
 * ------------------------------------------------------------------------
 */

static void test_reopen(void **state)
{
	struct fixture *f = *state;
	static struct follower before;

	two_endpoints(f);
	assert_run(label(f, "c1", "e1", "p", "web"));
	assert_run(label(f, "c2", "e2", "p", "db"));
	assert_run(publish(f, "e1", 8080, 80));
	assert_run(publish(f, "e2", 8080, 81));
	assert_run(publish(f, "e2", 8081, 81));
	before = f->follower;
	memset(&f->follower, 0, sizeof(f->follower));
	desired_free(f->d);
	f->d = open_desired(f, &f->follower);
	check_database(f);
	assert_same(&before, &f->follower);
	follower_fini(&before);
}

static void test_bad_places(void **state)
{
	char path[PATH_MAX + 64];
	struct desired_config config = {.changes = on_changes, .state_dir = path};
	struct desired *d = NULL;
	struct err e = {0};

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(desired_new(&config, &d, &e), -ENAMETOOLONG);
	assert_null(d);
	config.state_dir = "/nowhere/at/all";
	assert_true(desired_new(&config, &d, &e) < 0);
	assert_non_null(strstr(e.text, "/nowhere/at/all"));
	assert_null(d);
	desired_free(NULL);
}

#define with_state(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_state(test_network),
		with_state(test_network_refused),
		with_state(test_network_keeps_its_pool),
		with_state(test_ghost_network_is_replaced),
		with_state(test_sub_pools_are_no_ghosts),
		with_state(test_ghost_network_goes_at_start),
		with_state(test_foreign_vip_range),
		with_state(test_vip_range_of_two_pools),
		with_state(test_own_vip_range),
		with_state(test_network_delete),
		with_state(test_each_network),
		with_state(test_macs),
		with_state(test_life),
		with_state(test_no_gateway),
		with_state(test_endpoint_refused),
		with_state(test_create_again),
		with_state(test_ghosts),
		with_state(test_options),
		with_state(test_many_options),
		with_state(test_publish),
		with_state(test_publish_follows_vip),
		with_state(test_publish_conflict),
		with_state(test_publish_again),
		with_state(test_publish_addresses),
		with_state(test_publish_picks),
		with_state(test_publish_many),
		with_state(test_each_port),
		with_state(test_projects),
		with_state(test_reopen),
		cmocka_unit_test(test_bad_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
