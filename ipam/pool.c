// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The rules of pools: how texts become prefixes, which addresses exist in a pool, where
 * its VIP range lies, which address or pool comes next. Docker's built-in allocator has
 * the same rules but for two: addresses go round instead of lowest first, and there is
 * a VIP range that containers never get an address from.
 */
#include "ipam/pool.h"

#include "plugin/base/log.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

#define QUOTED_SIZE	 72 /* of foreign text in an error */
#define VIP_POOL_MIN	 8  /* addresses of the smallest pool with a VIP range */
#define VIP_QUARTER_BITS 2
#define VIP_ROOM_MIN	 2 /* the gateway and one container */

/* No host can have an address in these. */
static const struct {
	const char *prefix;
	const char *name;
} special[] = {
	{"0.0.0.0/8", "this network"},
	{"127.0.0.0/8", "loopback"},
	{"224.0.0.0/4", "multicast"},
	{"::/128", "the unspecified address"},
	{"::1/128", "loopback"},
	{"::ffff:0:0/96", "mapped IPv4"},
	{"255.255.255.255/32", "broadcast"},
	{"ff00::/8", "multicast"},
};

static int check_special(const struct cidr *pool, struct err *e)
{
	char text[CIDR_TEXT_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(special); i++) {
		struct cidr c;

		if (cidr_parse(special[i].prefix, &c) == 0 && cidr_overlaps(&c, pool))
			return err_set(e, -EINVAL, "pool %s overlaps %s (%s)",
				       cidr_format(pool, text), special[i].prefix,
				       special[i].name);
	}
	return 0;
}

static int parse_pool(const char *text, struct pool_wish *w, struct err *e)
{
	static const struct addr none = {0};
	char quoted[QUOTED_SIZE];
	struct cidr c;

	if (cidr_parse(text, &c) < 0)
		return err_set(e, -EINVAL,
			       "pool %s is not a subnet such as 10.1.0.0/16 or fd00::/64",
			       log_quote(quoted, sizeof(quoted), text));
	w->choose = !memcmp(c.addr.bytes, none.bytes, sizeof(none.bytes));
	w->pool = cidr_network(&c);
	if (!w->choose)
		return check_special(&w->pool, e);
	if (!c.prefix)
		return err_set(e, -EINVAL, "pool %s: a size of /0 cannot be had", text);
	return 0;
}

static int parse_sub(const char *text, struct pool_wish *w, struct err *e)
{
	char pool[CIDR_TEXT_SIZE];
	char quoted[QUOTED_SIZE];
	struct cidr c;

	if (cidr_parse(text, &c) < 0)
		return err_set(e, -EINVAL, "sub-pool (--ip-range) %s is not a subnet",
			       log_quote(quoted, sizeof(quoted), text));
	if (w->choose)
		return err_set(e, -EINVAL,
			       "sub-pool (--ip-range) %s needs a pool (--subnet)",
			       log_quote(quoted, sizeof(quoted), text));
	if (!cidr_covers(&w->pool, &c))
		return err_set(e, -EINVAL,
			       "sub-pool (--ip-range) %s is not inside pool %s",
			       log_quote(quoted, sizeof(quoted), text),
			       cidr_format(&w->pool, pool));
	w->sub = cidr_network(&c);
	return 0;
}

int pool_wish_parse(const char *pool, const char *sub_pool, bool v6,
		    struct pool_wish *ret, struct err *e)
{
	struct pool_wish w = {.choose = true};
	struct pool_shape shape = {0};
	char text[CIDR_TEXT_SIZE];
	addrnum first;
	addrnum last;
	int r = 0;

	w.pool.addr.family = v6 ? AF_INET6 : AF_INET;
	if (!str_is_empty(pool))
		r = parse_pool(pool, &w, e);
	if (r == 0 && !str_is_empty(sub_pool))
		r = parse_sub(sub_pool, &w, e);
	if (r < 0)
		return r;
	shape.pool = w.pool;
	shape.sub = w.sub;
	if (!w.choose && !pool_bounds(&shape, &first, &last))
		return err_set(e, -EINVAL,
			       "sub-pool (--ip-range) %s holds no usable address",
			       cidr_format(&w.sub, text));
	*ret = w;
	return 0;
}

/* Are the first (and, IPv4, the last) address of the pool no host's? RFC 3021 and
 * RFC 6164 give point-to-point links all of theirs. */
static bool has_reserved(const struct cidr *pool)
{
	return pool->prefix + 2U <= addr_bits(&pool->addr);
}

bool pool_bounds(const struct pool_shape *s, addrnum *ret_first, addrnum *ret_last)
{
	const struct cidr *range = addr_is_set(&s->sub.addr) ? &s->sub : &s->pool;
	struct pool_span pool = pool_span_of(&s->pool);
	struct pool_span span = pool_span_of(range);

	if (has_reserved(&s->pool)) {
		if (span.first == pool.first)
			span.first++;
		if (span.last == pool.last && pool.family == AF_INET)
			span.last--;
	}
	if (span.first > span.last)
		return false;
	*ret_first = span.first;
	*ret_last = span.last;
	return true;
}

uint64_t pool_capacity(const struct pool_shape *s)
{
	addrnum first;
	addrnum last;
	addrnum count;

	if (!pool_bounds(s, &first, &last))
		return 0;
	count = last - first + 1;
	if (addr_is_set(&s->vip.addr)) {
		struct pool_span vip = pool_span_of(&s->vip);
		addrnum low = vip.first > first ? vip.first : first;
		addrnum high = vip.last < last ? vip.last : last;

		if (low <= high)
			count -= high - low + 1;
	}
	return count > UINT64_MAX ? UINT64_MAX : (uint64_t)count;
}

int pool_check_address(const struct pool_shape *s, const struct addr *a, struct err *e)
{
	struct addr last = cidr_last(&s->pool);
	char pool[CIDR_TEXT_SIZE];
	char text[ADDR_TEXT_SIZE];
	const char *what = NULL;

	if (!cidr_contains(&s->pool, a))
		return err_set(e, -ERANGE, "address %s is outside pool %s",
			       addr_format(a, text), cidr_format(&s->pool, pool));
	if (!has_reserved(&s->pool))
		return 0;
	if (addr_equal(a, &s->pool.addr))
		what = a->family == AF_INET ? "network" : "subnet-router anycast";
	else if (a->family == AF_INET && addr_equal(a, &last))
		what = "broadcast";
	if (what)
		return err_set(e, -EINVAL, "address %s is the %s address of pool %s",
			       addr_format(a, text), what, cidr_format(&s->pool, pool));
	return 0;
}

static bool next_free_within(const struct pool_shape *s, const struct addrset *used,
			     addrnum first, addrnum last, addrnum *ret)
{
	struct pool_span vip;
	addrnum n;

	if (!addrset_next_free(used, first, last, &n))
		return false;
	if (addr_is_set(&s->vip.addr)) {
		vip = pool_span_of(&s->vip);
		if (n >= vip.first && n <= vip.last)
			return vip.last < last &&
			       addrset_next_free(used, vip.last + 1, last, ret);
	}
	*ret = n;
	return true;
}

bool pool_next_free(const struct pool_shape *s, const struct addrset *used, addrnum from,
		    addrnum *ret)
{
	addrnum first;
	addrnum last;

	if (!pool_bounds(s, &first, &last))
		return false;
	if (from <= first || from > last)
		return next_free_within(s, used, first, last, ret);
	return next_free_within(s, used, from, last, ret) ||
	       next_free_within(s, used, first, from - 1, ret);
}

bool pool_longest_resting(const struct pool_shape *s, const struct rest *resting,
			  addrnum *ret)
{
	struct pool_span vip;
	uint64_t low_stamp = UINT64_MAX;
	uint64_t high_stamp = UINT64_MAX;
	addrnum high = 0;
	addrnum low = 0;
	addrnum first;
	addrnum last;

	if (!pool_bounds(s, &first, &last))
		return false;
	if (!addr_is_set(&s->vip.addr))
		return rest_oldest(resting, first, last, ret, NULL);
	vip = pool_span_of(&s->vip);
	if (vip.first > first)
		(void)rest_oldest(resting, first,
				  vip.first <= last ? vip.first - 1 : last, &low,
				  &low_stamp);
	if (vip.last < last)
		(void)rest_oldest(resting, vip.last >= first ? vip.last + 1 : first, last,
				  &high, &high_stamp);
	if (low_stamp == UINT64_MAX && high_stamp == UINT64_MAX)
		return false;
	*ret = low_stamp < high_stamp ? low : high;
	return true;
}

static struct cidr quarter(const struct cidr *pool, unsigned int number)
{
	unsigned int prefix = pool->prefix + VIP_QUARTER_BITS;
	addrnum first = addrnum_get(&pool->addr);
	struct cidr c = {.prefix = (uint8_t)prefix};

	first += (addrnum)number << (addr_bits(&pool->addr) - prefix);
	c.addr = addrnum_addr(pool->addr.family, first);
	return c;
}

static bool quarter_suits(const struct pool_shape *s, const struct cidr *c,
			  const struct addrset *used, const struct addr *gateway)
{
	struct pool_span span = pool_span_of(c);
	addrnum n;

	if (addr_is_set(&s->sub.addr) && !cidr_equal(&s->sub, &s->pool) &&
	    cidr_overlaps(c, &s->sub))
		return false;
	if (cidr_contains(c, gateway))
		return false;
	return !addrset_next_used(used, span.first, span.last, &n);
}

static struct cidr automatic_vip(const struct pool_shape *s, const struct addrset *used,
				 const struct addr *gateway)
{
	static const struct cidr none = {0};
	struct addr lowest;
	addrnum first;
	addrnum last;

	if (cidr_count(&s->pool) < VIP_POOL_MIN || !pool_bounds(s, &first, &last))
		return none;
	lowest = addrnum_addr(s->pool.addr.family, first);
	for (unsigned int i = 1U << VIP_QUARTER_BITS; i > 0; i--) {
		struct cidr c = quarter(&s->pool, i - 1);

		if (quarter_suits(s, &c, used, gateway ? gateway : &lowest))
			return c;
	}
	return none;
}

static int fixed_vip(struct pool_shape *s, const char *text, const struct addr *gateway,
		     struct err *e)
{
	struct pool_shape trial = *s;
	char quoted[QUOTED_SIZE];
	char pool[CIDR_TEXT_SIZE];
	uint64_t room;
	struct cidr c;

	log_quote(quoted, sizeof(quoted), text);
	cidr_format(&s->pool, pool);
	if (cidr_parse(text, &c) < 0)
		return err_set(e, -EINVAL, "VIP range %s is neither a subnet nor none",
			       quoted);
	if (!cidr_covers(&s->pool, &c))
		return err_set(e, -EINVAL, "VIP range %s is not inside pool %s", quoted,
			       pool);
	if (gateway && cidr_contains(&c, gateway))
		return err_set(e, -EINVAL, "VIP range %s contains the gateway of pool %s",
			       quoted, pool);
	trial.vip = (struct cidr){0};
	room = pool_capacity(&trial);
	trial.vip = cidr_network(&c);
	trial.vip_mode = POOL_VIP_FIXED;
	if (pool_capacity(&trial) < VIP_ROOM_MIN && pool_capacity(&trial) < room)
		return err_set(e, -EINVAL,
			       "VIP range %s leaves no room for containers in pool %s",
			       quoted, pool);
	*s = trial;
	return 0;
}

int pool_vip_set(struct pool_shape *s, const char *text, const struct addrset *used,
		 const struct addr *gateway, struct err *e)
{
	if (str_is_empty(text)) {
		s->vip = automatic_vip(s, used, gateway);
		s->vip_mode = POOL_VIP_AUTO;
		return 0;
	}
	if (!strcmp(text, "none")) {
		s->vip = (struct cidr){0};
		s->vip_mode = POOL_VIP_NONE;
		return 0;
	}
	return fixed_vip(s, text, gateway, e);
}

int pool_id(const char *space, const struct cidr *pool, const struct cidr *sub, char *buf,
	    size_t size)
{
	bool has_sub = addr_is_set(&sub->addr);
	char pool_text[CIDR_TEXT_SIZE];
	char sub_text[CIDR_TEXT_SIZE];

	return str_printf(buf, size, "%s/%s%s%s", space, cidr_format(pool, pool_text),
			  has_sub ? "/" : "", cidr_format(sub, sub_text));
}

struct pool_span pool_span_of(const struct cidr *c)
{
	unsigned int host = addr_bits(&c->addr) - c->prefix;
	struct pool_span span = {.family = c->addr.family};
	addrnum mask = host >= 128 ? ~(addrnum)0 : ((addrnum)1 << host) - 1;

	span.first = addrnum_get(&c->addr) & ~mask;
	span.last = span.first | mask;
	return span;
}

bool pool_span_overlaps(const struct pool_span *a, const struct pool_span *b)
{
	return a->family == b->family && a->first <= b->last && b->first <= a->last;
}

int pool_span_compare(const struct pool_span *a, const struct pool_span *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->first != b->first)
		return a->first < b->first ? -1 : 1;
	if (a->last != b->last)
		return a->last > b->last ? -1 : 1;
	return 0;
}

void pool_choice_init(struct pool_choice *c, const struct cidr *base, uint8_t size,
		      const struct pool_span *const *spans, size_t count)
{
	struct pool_span span = pool_span_of(base);

	*c = (struct pool_choice){
		.spans = spans,
		.count = count,
		.family = span.family,
		.size = size,
		.next = span.first,
		.last = span.last,
	};
}

bool pool_choice_next(struct pool_choice *c, struct cidr *ret)
{
	struct cidr found = {.addr = {.family = c->family}, .prefix = c->size};
	unsigned int host = addr_bits(&found.addr) - c->size;
	addrnum mask = host >= 128 ? ~(addrnum)0 : ((addrnum)1 << host) - 1;

	/* The spans come in order, so those that are passed once stay behind. */
	for (; c->at < c->count && !c->done; c->at++) {
		const struct pool_span *span = c->spans[c->at];

		if (span->family != c->family || span->last < c->next)
			continue;
		if (span->first > (c->next | mask))
			break;
		c->done = (span->last | mask) >= c->last;
		c->next = (span->last | mask) + 1;
	}
	if (c->done)
		return false;
	found.addr = addrnum_addr(c->family, c->next);
	c->done = (c->next | mask) >= c->last;
	c->next = (c->next | mask) + 1;
	*ret = found;
	return true;
}
