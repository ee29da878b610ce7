/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_IPAM_SCRIPT_H
#define TESTS_UNIT_IPAM_SCRIPT_H
/*
 * Lists of requests with the answers wanted, run on a database of their own. Time stands
 * still but for WAIT.
 */
#include "ipam/ipam.h"
#include "ipam/pool.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOC	  IPAM_SPACE_LOCAL
#define GLO	  IPAM_SPACE_GLOBAL
#define STEPS_MAX 28

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
	HOLD,	 /* a: space, b: pool, c: address */
	FORGET,	 /* the same: Docker has forgotten it */
	SWEEP,	 /* a: address that an endpoint has, b: pool that a network has */
	TIDY,
	WAIT, /* a: seconds */
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

static uint64_t script_now_ms = 1000000; /* never goes back */

struct script {
	const char *name;
	struct step steps[STEPS_MAX];
	uint32_t rest_s;
};

/* Two routes of the host are in the way of the default pools, others are not. */
static inline unsigned int host_routes(struct ipam_taken *ret)
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
		.now_ms = script_now_ms,
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

static int ask_place(struct ipam *m, const struct step *s, struct err *e)
{
	struct ipam_place at = {.space = s->a};

	assert_int_equal(cidr_parse(s->b, &at.pool), 0);
	assert_int_equal(addr_parse(s->c, &at.addr), 0);
	return s->verb == HOLD ? ipam_address_hold(m, &at, e)
			       : ipam_address_drop(m, &at, script_now_ms, e);
}

static bool has_address(void *ctx, const struct ipam_place *at)
{
	const struct step *s = ctx;
	char text[ADDR_TEXT_SIZE];

	assert_true(cidr_contains(&at->pool, &at->addr));
	return s->a && !strcmp(s->a, addr_format(&at->addr, text));
}

static bool has_pool(void *ctx, const char *space, const struct cidr *pool)
{
	const struct step *s = ctx;
	char text[CIDR_TEXT_SIZE];

	assert_string_equal(space, LOC);
	return s->b && !strcmp(s->b, cidr_format(pool, text));
}

static int ask_sweep(struct ipam *m, const struct step *s, struct err *e)
{
	const struct ipam_users users = {has_address, has_pool, (void *)(uintptr_t)s};

	return ipam_drop_unconfirmed(m, &users, script_now_ms, e);
}

static int tidy(struct ipam *m, struct err *e)
{
	bool more = true;
	int r = 0;

	while (r == 0 && more)
		r = ipam_tidy(m, script_now_ms, &more, e);
	assert_false(ipam_tidy_due(m, script_now_ms));
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
		return ipam_address_release(m, s->a, s->b, script_now_ms, e);
	case HOLD:
	case FORGET:
		return ask_place(m, s, e);
	case SWEEP:
		return ask_sweep(m, s, e);
	case TIDY:
		return tidy(m, e);
	case WAIT:
		script_now_ms += strtoul(s->a, NULL, 10) * 1000;
		return 0;
	case REPLAY:
		return ipam_replay_begin(m, script_now_ms, e);
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

	config.rest_s = script->rest_s;
	assert_int_equal(db_open(":memory:", &db, &e), 0);
	assert_int_equal(ipam_new(db, &config, script_now_ms, &m, &e), 0);
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

static void run_all(const struct script *scripts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		run_script(&scripts[i]);
}

#endif
