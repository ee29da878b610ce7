// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What Docker asks and what it gets: each case is a list of requests with the answer
 * wanted, run on a database of its own. PROTOCOL's table of the rules that users expect
 * of an allocator is the source of the cases.
 */
#include "ipam/ipam.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LOC	  IPAM_SPACE_LOCAL
#define GLO	  IPAM_SPACE_GLOBAL
#define STEPS_MAX 24

enum verb {
	END,
	POOL,	 /* a: space, b: pool, c: sub-pool; want: id */
	POOL6,	 /* the same with the flag V6 */
	VIPPOOL, /* a: space, b: pool, c: vip range; want: id */
	DROP,	 /* a: id */
	ADDR,	 /* a: id, b: address, c: owner; want: address with mask */
	SERIAL,	 /* the same with the serial option */
	GATEWAY, /* the same for a gateway */
	RELEASE, /* a: id, b: address */
	REPLAY,
	RELOAD,
	VIP,	/* a: space, b: pool; want: the range, "" none */
	SETVIP, /* a: space, b: pool, c: text */
	LIST	/* a: id, b: "used/capacity" */
};

struct step {
	enum verb verb;
	const char *a;
	const char *b;
	const char *c;
	const char *want; /* with code: part of the error text */
	int code;
};

struct script {
	const char *name;
	struct step steps[STEPS_MAX];
};

/* Two routes of the host are in the way of the default pools, others are not. */
static unsigned int host_routes(struct ipam_taken *ret)
{
	static const char *const routes[] = {"192.168.0.0/16", "10.200.0.0/16",
					     "10.128.1.0/24", "10.128.1.128/25"};

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		assert_int_equal(cidr_parse(routes[i], &ret[i].prefix), 0);
		(void)snprintf(ret[i].what, sizeof(ret[i].what), "route %s dev wg0",
			       routes[i]);
	}
	return ARRAY_SIZE(routes);
}

static struct ipam_config test_config(void)
{
	struct ipam_config config = {.default_size4 = 24, .default_size6 = 64};

	assert_int_equal(cidr_parse("10.128.0.0/9", &config.default_pools4), 0);
	assert_int_equal(cidr_parse("fd00:42::/48", &config.default_pools6), 0);
	return config;
}

struct listing {
	const char *id;
	char text[64];
};

static void note_pool(void *ctx, const struct ipam_pool_info *info)
{
	struct listing *l = ctx;

	if (!strcmp(info->id, l->id))
		(void)snprintf(l->text, sizeof(l->text), "%llu/%llu",
			       (unsigned long long)info->used,
			       (unsigned long long)info->capacity);
}

static int ask_pool(struct ipam *m, const struct step *s, char *got, size_t size,
		    struct err *e)
{
	struct ipam_pool_request rq = {.space = s->a, .pool = s->b, .v6 = false};
	struct ipam_taken taken[4];
	struct ipam_pool_answer answer;
	char prefix[CIDR_TEXT_SIZE];
	int r;

	rq.v6 = s->verb == POOL6;
	rq.sub_pool = s->verb == VIPPOOL ? "" : s->c;
	rq.vip_range = s->verb == VIPPOOL ? s->c : "";
	rq.taken = taken;
	rq.taken_count = host_routes(taken);
	r = ipam_pool_request(m, &rq, &answer, e);
	if (r < 0)
		return r;
	assert_int_equal(str_copy(got, size, answer.id), 0);
	assert_non_null(strstr(answer.id, cidr_format(&answer.pool, prefix)));
	return 0;
}

static int ask_address(struct ipam *m, const struct step *s, char *got, struct err *e)
{
	struct ipam_address_request rq = {
		.pool_id = s->a,
		.address = s->b,
		.owner = s->c,
		.gateway = s->verb == GATEWAY,
		.serial = s->verb == SERIAL,
	};
	struct cidr c;
	int r = ipam_address_request(m, &rq, &c, e);

	if (r == 0)
		cidr_format(&c, got);
	return r;
}

static int ask_vip(struct ipam *m, const struct step *s, char *got, struct err *e)
{
	struct cidr pool;
	struct cidr range = {0};
	int r;

	assert_int_equal(cidr_parse(s->b, &pool), 0);
	if (s->verb == SETVIP)
		return ipam_vip_range_set(m, s->a, &pool, s->c, e);
	r = ipam_vip_range(m, s->a, &pool, &range);
	if (r == 0)
		cidr_format(&range, got);
	return r;
}

static int ask(struct ipam *m, const struct step *s, char *got, size_t size,
	       struct err *e)
{
	struct listing l = {.id = s->a};

	switch (s->verb) {
	case END:
		break;
	case POOL:
	case POOL6:
	case VIPPOOL:
		return ask_pool(m, s, got, size, e);
	case DROP:
		return ipam_pool_release(m, s->a, e);
	case ADDR:
	case SERIAL:
	case GATEWAY:
		return ask_address(m, s, got, e);
	case RELEASE:
		return ipam_address_release(m, s->a, s->b, e);
	case REPLAY:
		return ipam_replay_begin(m, e);
	case RELOAD:
		return ipam_reload(m, e);
	case VIP:
	case SETVIP:
		return ask_vip(m, s, got, e);
	case LIST:
		ipam_pool_list(m, note_pool, &l);
		return str_copy(got, size, l.text);
	}
	return -EINVAL;
}

static void run_script(const struct script *script)
{
	struct ipam_config config = test_config();
	struct ipam *m = NULL;
	struct db *db = NULL;
	struct err e = {0};

	assert_int_equal(db_open(":memory:", &db, &e), 0);
	assert_int_equal(ipam_new(db, &config, &m, &e), 0);
	for (const struct step *s = script->steps; s->verb != END; s++) {
		char got[IPAM_POOL_ID_SIZE] = "";
		int r;

		e = (struct err){0};
		r = ask(m, s, got, sizeof(got), &e);
		if (r != s->code || (r ? !strstr(e.text, s->want ? s->want : "")
				       : s->want && strcmp(got, s->want) != 0))
			fail_msg("%s, step %d (%s %s): got %d '%s' '%s', want %d '%s'",
				 script->name, (int)(s - script->steps), s->a, s->b, r,
				 got, e.text, s->code, s->want);
		if (r)
			assert_int_equal(s->verb == VIP ? r : e.code, r);
	}
	ipam_free(m);
	db_close(db);
}

static const struct script pools[] = {
	{"explicit pools, two spaces",
	 {{POOL, LOC, "10.0.0.0/8", "", LOC "/10.0.0.0/8"},
	  {POOL, GLO, "10.0.0.0/8", "", GLO "/10.0.0.0/8"},
	  {POOL, LOC, "192.168.5.7/24", "", LOC "/192.168.5.0/24"},
	  {POOL, LOC, "fd00:1::/64", "", LOC "/fd00:1::/64"},
	  {POOL, "", "10.0.0.0/8", "", "\"\" is not known", -EINVAL},
	  {POOL, NULL, "10.0.0.0/8", "", "is not known", -EINVAL},
	  {POOL, "elsewhere\n", "10.0.0.0/8", "", "\"elsewhere?\" is not", -EINVAL}}},
	{"overlaps name the pool",
	 {{POOL, LOC, "10.1.0.0/16", "", NULL},
	  {POOL, LOC, "10.1.0.0/16", "", "pool " LOC "/10.1.0.0/16 is in use already",
	   -EEXIST},
	  {POOL, LOC, "10.0.0.0/8", "",
	   "pool 10.0.0.0/8 overlaps pool " LOC "/10.1.0.0/16", -EEXIST},
	  {POOL, LOC, "10.1.2.0/24", "",
	   "pool 10.1.2.0/24 overlaps pool " LOC "/10.1.0.0/16", -EEXIST},
	  {POOL, LOC, "10.1.255.255/32", "", "overlaps", -EEXIST},
	  {POOL, LOC, "8.0.0.0/6", "", "overlaps", -EEXIST},
	  {POOL, LOC, "10.2.0.0/16", "", NULL},
	  {POOL, LOC, "10.0.0.0/16", "", NULL},
	  {POOL, LOC, "fd00::/48", "", NULL},
	  {POOL, LOC, "fd00:0:0:ffff::/64", "", "overlaps", -EEXIST},
	  {POOL, LOC, "fd00::/8", "", "overlaps", -EEXIST},
	  {POOL, LOC, "fd00:0:1::/64", "", NULL},
	  {DROP, LOC "/10.1.0.0/16"},
	  {POOL, LOC, "10.1.2.0/24", "", NULL}}},
	{"sub-pools of one pool",
	 {{POOL, LOC, "10.0.0.0/8", "10.1.0.0/16", LOC "/10.0.0.0/8/10.1.0.0/16"},
	  {POOL, LOC, "10.0.0.0/8", "10.1.0.0/16", "is in use already", -EEXIST},
	  {POOL, LOC, "10.0.0.0/8", "10.1.2.0/24", LOC "/10.0.0.0/8/10.1.2.0/24"},
	  {POOL, LOC, "10.0.0.0/8", "10.2.0.0/16", NULL},
	  {POOL, LOC, "10.0.0.0/8", "", "overlaps pool", -EEXIST},
	  {POOL, LOC, "10.0.0.0/16", "10.0.5.0/24", NULL},
	  {POOL, LOC, "10.1.0.0/16", "10.1.7.0/24",
	   "pool 10.1.0.0/16 overlaps pool " LOC "/10.0.0.0/8/10.1.0.0/16", -EEXIST},
	  {DROP, LOC "/10.0.0.0/8/10.1.0.0/16"},
	  {POOL, LOC, "10.64.0.0/16", "", "overlaps", -EEXIST},
	  {DROP, LOC "/10.0.0.0/8/10.1.2.0/24"},
	  {DROP, LOC "/10.0.0.0/8/10.2.0.0/16"},
	  {DROP, LOC "/10.0.0.0/16/10.0.5.0/24"},
	  {POOL, LOC, "10.0.0.0/8", "", NULL},
	  {POOL, LOC, "10.0.0.0/8", "10.1.0.0/16", NULL},
	  {DROP, LOC "/10.0.0.0/8"},
	  {POOL, LOC, "10.0.0.0/8", "", "overlaps pool", -EEXIST}}},
	{"chosen pools differ while held, skip routes and both spaces",
	 {{POOL, LOC, "", "", LOC "/10.128.0.0/24"},
	  {POOL, LOC, "", "", LOC "/10.128.2.0/24"},
	  {POOL, LOC, "10.128.3.128/25", "", NULL},
	  {POOL, GLO, "10.128.4.0/24", "", NULL},
	  {POOL, LOC, "", "", LOC "/10.128.5.0/24"},
	  {POOL, GLO, NULL, NULL, GLO "/10.128.6.0/24"},
	  {POOL6, LOC, "", "", LOC "/fd00:42::/64"},
	  {POOL6, LOC, "", "", LOC "/fd00:42:0:1::/64"},
	  {DROP, LOC "/10.128.2.0/24"},
	  {POOL, LOC, "", "", LOC "/10.128.2.0/24"}}},
	{"pools of a wanted size",
	 {{POOL, LOC, "0.0.0.0/25", "", LOC "/10.128.0.0/25"},
	  {POOL, LOC, "0.0.0.0/24", "", LOC "/10.128.2.0/24"},
	  {POOL, LOC, "0.0.0.0/25", "", LOC "/10.128.0.128/25"},
	  {POOL, LOC, "0.0.0.0/16", "", LOC "/10.129.0.0/16"},
	  {POOL, LOC, "0.0.0.0/10", "",
	   "no /10 is free in default pools 10.128.0.0/9: 10.192.0.0/10 overlaps "
	   "route 10.200.0.0/16 dev wg0",
	   -ENOSPC},
	  {POOL, LOC, "0.0.0.0/8", "", "default pools 10.128.0.0/9 hold no /8", -ENOSPC},
	  {POOL, LOC, "0.0.0.0/0", "", "size of /0", -EINVAL},
	  {POOL, LOC, "::/80", "", LOC "/fd00:42::/80"},
	  {POOL, LOC, "::/64", "", LOC "/fd00:42:0:1::/64"},
	  {POOL, LOC, "::/48", "", "no /48 is free in default pools fd00:42::/48",
	   -ENOSPC},
	  {POOL, LOC, "0.0.0.0/32", "", LOC "/10.128.3.0/32"}}},
	{"releases of the unknown succeed",
	 {{DROP, LOC "/10.0.0.0/8"},
	  {DROP, ""},
	  {DROP, NULL},
	  {DROP, "' OR 1=1 --"},
	  {POOL, LOC, "10.0.0.0/8", "", NULL},
	  {DROP, LOC "/10.0.0.0/8"},
	  {DROP, LOC "/10.0.0.0/8"},
	  {POOL, LOC, "10.0.0.0/8", "", NULL}}},
	{"IPv6 without the flag, IPv4 with it",
	 {{POOL, LOC, "fd00::/64", "", LOC "/fd00::/64"},
	  {POOL6, LOC, "10.0.0.0/24", "", LOC "/10.0.0.0/24"}}},
	{"a pool takes its addresses along",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.5", "", "10.0.0.5/24"},
	  {DROP, LOC "/10.0.0.0/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.5", "", "is not known", -ENOENT},
	  {POOL, LOC, "10.0.0.0/24", "", NULL},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.5", "", "10.0.0.5/24"},
	  {LIST, LOC "/10.0.0.0/24", "", "", "1/191"}}},
	{"a sub-pool takes only its own along",
	 {{POOL, LOC, "10.0.0.0/24", "10.0.0.0/26", NULL},
	  {POOL, LOC, "10.0.0.0/24", "10.0.0.64/26", NULL},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.0/26", "", "", "10.0.0.1/24"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.64/26", "", "", "10.0.0.64/24"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.64/26", "10.0.0.1", "", "is taken", -EEXIST},
	  {RELEASE, LOC "/10.0.0.0/24/10.0.0.64/26", "10.0.0.1"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.64/26", "10.0.0.1", "", "is taken", -EEXIST},
	  {DROP, LOC "/10.0.0.0/24/10.0.0.0/26"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.64/26", "10.0.0.1", "", "10.0.0.1/24"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.64/26", "10.0.0.64", "", "is taken", -EEXIST}}},
};

static const struct script addresses[] = {
	{"gateway first, then going round",
	 {{POOL, LOC, "10.0.0.0/28", "", NULL},
	  {GATEWAY, LOC "/10.0.0.0/28", "", "", "10.0.0.1/28"},
	  {ADDR, LOC "/10.0.0.0/28", "", "", "10.0.0.2/28"},
	  {ADDR, LOC "/10.0.0.0/28", "", "", "10.0.0.3/28"},
	  {RELEASE, LOC "/10.0.0.0/28", "10.0.0.2"},
	  {ADDR, LOC "/10.0.0.0/28", "", "", "10.0.0.4/28"},
	  {ADDR, LOC "/10.0.0.0/28", "10.0.0.9", "", "10.0.0.9/28"},
	  {SERIAL, LOC "/10.0.0.0/28", "", "", "10.0.0.5/28"},
	  {SERIAL, LOC "/10.0.0.0/28", "", "", "10.0.0.6/28"},
	  {ADDR, LOC "/10.0.0.0/28", "", "", "10.0.0.7/28"},
	  {ADDR, LOC "/10.0.0.0/28", "", "", "10.0.0.8/28"},
	  {ADDR, LOC "/10.0.0.0/28", "", "", "10.0.0.10/28"},
	  {ADDR, LOC "/10.0.0.0/28", "", "", "10.0.0.11/28"},
	  {ADDR, LOC "/10.0.0.0/28", "", "", "10.0.0.2/28"},
	  {ADDR, LOC "/10.0.0.0/28", "", "",
	   "pool " LOC "/10.0.0.0/28 is full: 11 leases, VIP range 10.0.0.12/30 is kept",
	   -ENOSPC},
	  {RELEASE, LOC "/10.0.0.0/28", "10.0.0.7"},
	  {ADDR, LOC "/10.0.0.0/28", "", "", "10.0.0.7/28"}}},
	{"the order that Docker's serial option has",
	 {{POOL, LOC, "10.0.0.0/24", "10.0.0.128/29", NULL},
	  {SERIAL, LOC "/10.0.0.0/24/10.0.0.128/29", "10.0.0.129", "", "10.0.0.129/24"},
	  {SERIAL, LOC "/10.0.0.0/24/10.0.0.128/29", "", "", "10.0.0.128/24"},
	  {SERIAL, LOC "/10.0.0.0/24/10.0.0.128/29", "", "", "10.0.0.130/24"},
	  {RELEASE, LOC "/10.0.0.0/24/10.0.0.128/29", "10.0.0.128"},
	  {SERIAL, LOC "/10.0.0.0/24/10.0.0.128/29", "", "", "10.0.0.131/24"},
	  {RELEASE, LOC "/10.0.0.0/24/10.0.0.128/29", "10.0.0.129"},
	  {SERIAL, LOC "/10.0.0.0/24/10.0.0.128/29", "", "", "10.0.0.132/24"}}},
	{"sub-pool: gateway from it, others accepted outside of it",
	 {{POOL, LOC, "10.0.0.0/16", "10.0.5.0/24", NULL},
	  {GATEWAY, LOC "/10.0.0.0/16/10.0.5.0/24", "", "", "10.0.5.0/16"},
	  {ADDR, LOC "/10.0.0.0/16/10.0.5.0/24", "", "", "10.0.5.1/16"},
	  {ADDR, LOC "/10.0.0.0/16/10.0.5.0/24", "10.0.77.7", "", "10.0.77.7/16"},
	  {ADDR, LOC "/10.0.0.0/16/10.0.5.0/24", "", "", "10.0.5.2/16"},
	  {ADDR, LOC "/10.0.0.0/16/10.0.5.0/24", "10.1.0.1", "", "outside pool",
	   -ERANGE}}},
	{"bad addresses",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.0", "", "network address", -EINVAL},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.255", "", "broadcast", -EINVAL},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.1.1", "", "outside", -ERANGE},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.5/24", "", "is not an address", -EINVAL},
	  {ADDR, LOC "/10.0.0.0/24", "fd00::1", "", "outside", -ERANGE},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.5 ", "", "is not an address", -EINVAL},
	  {ADDR, LOC "/10.0.0.0/24", "%n%s", "", "\"%n%s\" is not an", -EINVAL},
	  {ADDR, LOC "/10.0.1.0/24", "10.0.1.1", "", "is not known", -ENOENT},
	  {ADDR, "", "10.0.0.1", "", "pool \"\" is not known", -ENOENT},
	  {ADDR, NULL, "10.0.0.1", "", "pool \"\" is not known", -ENOENT},
	  {RELEASE, LOC "/10.0.0.0/24", "", "", "is not an address", -EINVAL},
	  {RELEASE, LOC "/10.0.0.0/24", NULL, "", "is not an address", -EINVAL},
	  {RELEASE, LOC "/10.0.0.0/24", "x", "", "\"x\" is not an address", -EINVAL},
	  {RELEASE, LOC "/10.0.0.0/24", "10.0.0.9"},
	  {RELEASE, LOC "/10.0.0.0/24", "fd00::1"},
	  {RELEASE, LOC "/10.0.0.0/24", "192.168.0.1"},
	  {RELEASE, LOC "/10.9.0.0/24", "10.9.0.1"},
	  {RELEASE, NULL, "10.9.0.1"},
	  {LIST, LOC "/10.0.0.0/24", "", "", "0/191"}}},
	{"taken, and by whom",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {GATEWAY, LOC "/10.0.0.0/24", "10.0.0.9", "", "10.0.0.9/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.9", "", "is taken by the gateway", -EEXIST},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.5", "web", "10.0.0.5/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.5", "db",
	   "address 10.0.0.5 of pool " LOC "/10.0.0.0/24 is taken by \"web\"", -EEXIST},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.5", "", "is taken", -EEXIST},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.5", "web", "10.0.0.5/24"},
	  {LIST, LOC "/10.0.0.0/24", "", "", "2/191"},
	  {RELEASE, LOC "/10.0.0.0/24", "10.0.0.5"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.5", "db", "10.0.0.5/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.6", "", "10.0.0.6/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.6", "", "is taken", -EEXIST}}},
	{"/31",
	 {{POOL, LOC, "192.168.0.2/31", "", NULL},
	  {ADDR, LOC "/192.168.0.2/31", "", "", "192.168.0.2/31"},
	  {ADDR, LOC "/192.168.0.2/31", "", "", "192.168.0.3/31"},
	  {ADDR, LOC "/192.168.0.2/31", "", "", "/31 is full: 2 leases", -ENOSPC},
	  {ADDR, LOC "/192.168.0.2/31", "192.168.0.4", "", "outside", -ERANGE},
	  {RELEASE, LOC "/192.168.0.2/31", "192.168.0.2"},
	  {ADDR, LOC "/192.168.0.2/31", "192.168.0.2", "", "192.168.0.2/31"}}},
	{"/32",
	 {{POOL, LOC, "192.168.0.2/32", "", NULL},
	  {GATEWAY, LOC "/192.168.0.2/32", "", "", "192.168.0.2/32"},
	  {ADDR, LOC "/192.168.0.2/32", "", "", "is full: 1 leases", -ENOSPC}}},
	{"IPv6",
	 {{POOL, LOC, "fd00::/64", "", NULL},
	  {GATEWAY, LOC "/fd00::/64", "", "", "fd00::1/64"},
	  {ADDR, LOC "/fd00::/64", "", "", "fd00::2/64"},
	  {ADDR, LOC "/fd00::/64", "fd00::", "", "anycast", -EINVAL},
	  {ADDR, LOC "/fd00::/64", "fd00::5:6", "", "fd00::5:6/64"},
	  {ADDR, LOC "/fd00::/64", "fd00::bfff:ffff:ffff:ffff", "", NULL},
	  {ADDR, LOC "/fd00::/64", "fd00:0::3", "", "fd00::3/64"},
	  {ADDR, LOC "/fd00::/64", "", "", "fd00::4/64"},
	  {RELEASE, LOC "/fd00::/64", "fd00:0:0:0:0:0:0:2"},
	  {ADDR, LOC "/fd00::/64", "fd00::2", "", "fd00::2/64"},
	  {LIST, LOC "/fd00::/64", "", "", "6/13835058055282163711"}}},
	{"wider than 2^64",
	 {{POOL, LOC, "fd00::/48", "", NULL},
	  {GATEWAY, LOC "/fd00::/48", "", "", "fd00::1/48"},
	  {ADDR, LOC "/fd00::/48", "fd00:0:0:7777::1", "", "fd00:0:0:7777::1/48"},
	  {ADDR, LOC "/fd00::/48", "fd00:0:0:7777::1", "", "is taken", -EEXIST},
	  {ADDR, LOC "/fd00::/48", "", "", "fd00::2/48"},
	  {RELEASE, LOC "/fd00::/48", "fd00:0:0:7777::1"},
	  {ADDR, LOC "/fd00::/48", "fd00:0:0:7777::1", "", "fd00:0:0:7777::1/48"}}},
	{"/127 and /128",
	 {{POOL, LOC, "fd00::2/127", "", NULL},
	  {ADDR, LOC "/fd00::2/127", "", "", "fd00::2/127"},
	  {ADDR, LOC "/fd00::2/127", "", "", "fd00::3/127"},
	  {ADDR, LOC "/fd00::2/127", "", "", "is full", -ENOSPC},
	  {POOL, LOC, "fd00::9/128", "", NULL},
	  {ADDR, LOC "/fd00::9/128", "", "", "fd00::9/128"},
	  {ADDR, LOC "/fd00::9/128", "", "", "is full", -ENOSPC}}},
};

static const struct script vips[] = {
	{"kept from containers",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {VIP, LOC, "10.0.0.0/24", "", "10.0.0.192/26"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.200", "",
	   "address 10.0.0.200 is in VIP range 10.0.0.192/26 of pool", -ERANGE},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.191", "", "10.0.0.191/24"},
	  {POOL, GLO, "10.0.0.0/24", "", NULL},
	  {ADDR, GLO "/10.0.0.0/24", "10.0.0.200", "", "10.0.0.200/24"},
	  {VIPPOOL, LOC, "10.0.1.0/24", "none", NULL},
	  {VIP, LOC, "10.0.1.0/24", "", ""},
	  {ADDR, LOC "/10.0.1.0/24", "10.0.1.200", "", "10.0.1.200/24"},
	  {VIP, LOC, "10.0.2.0/24", "", "", -ENOENT},
	  {VIP, "x", "10.0.1.0/24", "", "", -ENOENT},
	  {VIP, GLO, "10.0.0.99/24", "", "10.0.0.192/26"}}},
	{"told by the request",
	 {{VIPPOOL, LOC, "10.0.0.0/28", "10.0.0.0/30", NULL},
	  {VIP, LOC, "10.0.0.0/28", "", "10.0.0.0/30"},
	  {GATEWAY, LOC "/10.0.0.0/28", "", "", "10.0.0.4/28"},
	  {ADDR, LOC "/10.0.0.0/28", "10.0.0.1", "", "VIP range", -ERANGE},
	  {VIPPOOL, LOC, "10.1.0.0/28", "10.2.0.0/30", "is not inside pool", -EINVAL},
	  {VIPPOOL, LOC, "10.1.0.0/28", "10.1.0.0/28", "no room", -EINVAL},
	  {VIPPOOL, LOC, "10.1.0.0/28", "x", "is neither", -EINVAL},
	  {VIPPOOL, LOC, "10.1.0.0/28", "10.1.0.8/29", NULL},
	  {GATEWAY, LOC "/10.1.0.0/28", "10.1.0.14", "", "VIP range", -ERANGE}}},
	{"makes way for the gateway",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {GATEWAY, LOC "/10.0.0.0/24", "10.0.0.254", "", "10.0.0.254/24"},
	  {VIP, LOC, "10.0.0.0/24", "", "10.0.0.128/26"},
	  {RELOAD},
	  {VIP, LOC, "10.0.0.0/24", "", "10.0.0.128/26"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.129", "", "VIP range", -ERANGE},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.193", "", "10.0.0.193/24"}}},
	{"set later",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {GATEWAY, LOC "/10.0.0.0/24", "", "", "10.0.0.1/24"},
	  {SETVIP, LOC, "10.0.0.0/24", "10.0.0.64/27"},
	  {VIP, LOC, "10.0.0.0/24", "", "10.0.0.64/27"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.70", "", "VIP range", -ERANGE},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.200", "", "10.0.0.200/24"},
	  {SETVIP, LOC, "10.0.0.0/24", "10.0.0.192/26", "address 10.0.0.200 is taken",
	   -EEXIST},
	  {SETVIP, LOC, "10.0.0.0/24", "10.0.0.0/26", "address 10.0.0.1 is taken",
	   -EEXIST},
	  {SETVIP, LOC, "10.0.0.0/24", "10.0.0.0/8", "is not inside", -EINVAL},
	  {VIP, LOC, "10.0.0.0/24", "", "10.0.0.64/27"},
	  {SETVIP, LOC, "10.0.0.0/24", ""},
	  {VIP, LOC, "10.0.0.0/24", "", "10.0.0.128/26"},
	  {SETVIP, LOC, "10.0.0.0/24", "none"},
	  {RELOAD},
	  {VIP, LOC, "10.0.0.0/24", "", ""},
	  {SETVIP, LOC, "10.9.0.0/24", "none", "10.9.0.0/24 is not known", -ENOENT}}},
	{"of the newest of several sub-pools",
	 {{POOL, LOC, "10.0.0.0/24", "10.0.0.0/26", NULL},
	  {POOL, LOC, "10.0.0.0/24", "10.0.0.192/26", NULL},
	  {VIP, LOC, "10.0.0.0/24", "", "10.0.0.128/26"},
	  {ADDR, LOC "/10.0.0.0/24/10.0.0.192/26", "", "", "10.0.0.192/24"},
	  {DROP, LOC "/10.0.0.0/24/10.0.0.192/26"},
	  {VIP, LOC, "10.0.0.0/24", "", "10.0.0.192/26"}}},
};

static const struct script replays[] = {
	{"known pools and addresses, once more",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {POOL, LOC, "10.1.0.0/24", "10.1.0.0/25", NULL},
	  {GATEWAY, LOC "/10.0.0.0/24", "", "", "10.0.0.1/24"},
	  {ADDR, LOC "/10.0.0.0/24", "", "", "10.0.0.2/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.9", "web", "10.0.0.9/24"},
	  {POOL, LOC, "10.0.0.0/24", "", "in use already", -EEXIST},
	  {REPLAY},
	  {POOL, LOC, "10.0.0.0/24", "", LOC "/10.0.0.0/24"},
	  {POOL, LOC, "10.0.0.0/24", "", "in use already", -EEXIST},
	  {POOL, LOC, "10.0.0.0/16", "", "overlaps", -EEXIST},
	  {GATEWAY, LOC "/10.0.0.0/24", "10.0.0.1", "", "10.0.0.1/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.1", "", "by the gateway", -EEXIST},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.2", "", "10.0.0.2/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.2", "", "is taken", -EEXIST},
	  {ADDR, LOC "/10.0.0.0/24", "", "", "10.0.0.3/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.9", "", "10.0.0.9/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.9", "", "taken by \"web\"", -EEXIST},
	  {RELEASE, LOC "/10.0.0.0/24", "10.0.0.9"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.9", "", "10.0.0.9/24"},
	  {POOL, LOC, "10.1.0.0/24", "10.1.0.0/25", LOC "/10.1.0.0/24/10.1.0.0/25"},
	  {LIST, LOC "/10.0.0.0/24", "", "", "4/191"}}},
	{"what is asked in vain stays",
	 {{POOL, LOC, "10.0.0.0/24", "", NULL},
	  {ADDR, LOC "/10.0.0.0/24", "", "", "10.0.0.1/24"},
	  {REPLAY},
	  {RELOAD},
	  {ADDR, LOC "/10.0.0.0/24", "", "", "10.0.0.2/24"},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.2", "", "is taken", -EEXIST},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.1", "", "10.0.0.1/24"},
	  {RELOAD},
	  {ADDR, LOC "/10.0.0.0/24", "10.0.0.1", "", "is taken", -EEXIST}}},
	{"a leader confirms, any time",
	 {{POOL, GLO, "10.0.0.0/24", "", NULL},
	  {POOL, GLO, "10.0.0.0/24", "", GLO "/10.0.0.0/24"},
	  {GATEWAY, GLO "/10.0.0.0/24", "", "", "10.0.0.1/24"},
	  {GATEWAY, GLO "/10.0.0.0/24", "10.0.0.1", "", "10.0.0.1/24"},
	  {SERIAL, GLO "/10.0.0.0/24", "", "", "10.0.0.2/24"},
	  {SERIAL, GLO "/10.0.0.0/24", "10.0.0.2", "", "10.0.0.2/24"},
	  {SERIAL, GLO "/10.0.0.0/24", "10.0.0.240", "", "10.0.0.240/24"},
	  {SERIAL, GLO "/10.0.0.0/24", "", "", "10.0.0.3/24"},
	  {POOL, GLO, "10.0.0.0/16", "", "overlaps", -EEXIST},
	  {LIST, GLO "/10.0.0.0/24", "", "", "4/191"}}},
	{"a leader's new pool against one of an earlier leadership",
	 {{POOL, GLO, "10.0.0.0/24", "", NULL},
	  {POOL, GLO, "10.0.1.0/24", "", NULL},
	  {ADDR, GLO "/10.0.1.0/24", "", "", "10.0.1.1/24"},
	  {POOL, LOC, "10.0.1.0/24", "", NULL},
	  {REPLAY},
	  {POOL, GLO, "10.0.0.0/24", "", GLO "/10.0.0.0/24"},
	  {POOL, GLO, "10.0.0.0/16", "", "overlaps pool " GLO "/10.0.0.0/24", -EEXIST},
	  {POOL, GLO, "10.0.0.0/23", "", "overlaps", -EEXIST},
	  {ADDR, GLO "/10.0.1.0/24", "", "", "10.0.1.2/24"},
	  {POOL, GLO, "10.0.1.0/25", "", GLO "/10.0.1.0/25"},
	  {ADDR, GLO "/10.0.1.0/24", "", "", "is not known", -ENOENT},
	  {LIST, LOC "/10.0.1.0/24", "", "", "0/191"}}},
};

static void run_all(const struct script *scripts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		run_script(&scripts[i]);
}

static void test_pools(void **state)
{
	(void)state;
	run_all(pools, ARRAY_SIZE(pools));
}

static void test_addresses(void **state)
{
	(void)state;
	run_all(addresses, ARRAY_SIZE(addresses));
}

static void test_vips(void **state)
{
	(void)state;
	run_all(vips, ARRAY_SIZE(vips));
}

static void test_replays(void **state)
{
	(void)state;
	run_all(replays, ARRAY_SIZE(replays));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pools),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_vips),
		cmocka_unit_test(test_replays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
