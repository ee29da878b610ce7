// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Claims on the host's ports. A port has its claimants in order of arrival; the first
 * holds it, with all others of its service. Invariant: port->open is what the kernel
 * was told last.
 */
#include "driver/ports.h"

#include "plugin/base/map.h"
#include "plugin/base/mem.h"

#include <errno.h>
#include <string.h>

struct port_key {
	uint8_t proto;
	struct addr host_addr;
	uint16_t host_port;
};

struct claimant {
	TAILQ_ENTRY(claimant) link; /* in its port */
	struct claimant *next;	    /* in its endpoint */
	struct port *port;
	struct owner *owner;
	uint16_t inner_port;
};

struct port {
	UT_hash_handle hh;
	struct port_key key;
	TAILQ_HEAD(, claimant) claimants;
	bool is_open;
	struct firewall_port open;
};

struct owner {
	UT_hash_handle hh;
	char endpoint[NETWORK_ID_SIZE];
	struct ports_target target;
	struct claimant *claims;
};

struct ports {
	struct ports_callbacks callbacks;
	struct port *by_key;
	struct owner *by_endpoint;
};

struct ports *ports_new(const struct ports_callbacks *callbacks)
{
	struct ports *p = calloc(1, sizeof(*p));

	if (p && callbacks)
		p->callbacks = *callbacks;
	return p;
}

static void owner_free(struct ports *p, struct owner *o)
{
	HASH_DEL(p->by_endpoint, o);
	while (o->claims) {
		struct claimant *c = o->claims;

		o->claims = c->next;
		free(c);
	}
	free(o);
}

void ports_free(struct ports *p)
{
	struct port *port;
	struct port *port_next;
	struct owner *o;
	struct owner *o_next;

	if (!p)
		return;
	HASH_ITER (hh, p->by_endpoint, o, o_next)
		owner_free(p, o);
	HASH_ITER (hh, p->by_key, port, port_next) {
		HASH_DEL(p->by_key, port);
		free(port);
	}
	free(p);
}

static struct port *find_port(const struct ports *p, const struct ports_claim *claim)
{
	struct port_key key;
	struct port *port;

	memset(&key, 0, sizeof(key)); /* also its padding: it is hashed */
	key.proto = claim->proto;
	key.host_addr = claim->host_addr;
	key.host_port = claim->host_port;
	HASH_FIND(hh, p->by_key, &key, sizeof(key), port);
	return port;
}

static struct port *get_port(struct ports *p, const struct ports_claim *claim)
{
	struct port *port = find_port(p, claim);

	if (port)
		return port;
	port = calloc(1, sizeof(*port));
	if (!port)
		return NULL;
	port->key.proto = claim->proto;
	port->key.host_addr = claim->host_addr;
	port->key.host_port = claim->host_port;
	TAILQ_INIT(&port->claimants);
	HASH_ADD(hh, p->by_key, key, sizeof(port->key), port);
	if (!MAP_ADDED(port)) {
		free(port);
		return NULL;
	}
	return port;
}

static struct owner *get_owner(struct ports *p, const char *endpoint,
			       const struct ports_target *target)
{
	struct owner *o;

	HASH_FIND_STR(p->by_endpoint, endpoint, o);
	if (o)
		return o;
	o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	strncpy(o->endpoint, endpoint, sizeof(o->endpoint) - 1);
	o->target = *target;
	HASH_ADD_STR(p->by_endpoint, endpoint, o);
	if (!MAP_ADDED(o)) {
		free(o);
		return NULL;
	}
	return o;
}

static bool same_group(const struct owner *a, const struct owner *b)
{
	return a == b || (a->target.mark && a->target.mark == b->target.mark);
}

static bool port_equal(const struct firewall_port *a, const struct firewall_port *b)
{
	return a->target_port == b->target_port && addr_equal(&a->target4, &b->target4) &&
	       addr_equal(&a->target6, &b->target6);
}

static void tell(const struct ports *p, const struct firewall_port *old,
		 const struct firewall_port *new_port)
{
	if (p->callbacks.changed)
		p->callbacks.changed(p->callbacks.ctx, old, new_port);
}

/* Tells the kernel's side what the first claimant wants now; frees a port that nobody
 * claims. */
static void settle(struct ports *p, struct port *port)
{
	struct firewall_port was = port->open;
	struct claimant *first = TAILQ_FIRST(&port->claimants);
	const struct firewall_port *old = port->is_open ? &was : NULL;

	if (!first) {
		HASH_DEL(p->by_key, port);
		if (old)
			tell(p, old, NULL);
		free(port);
		return;
	}
	port->open = (struct firewall_port){.proto = port->key.proto,
					    .host_addr = port->key.host_addr,
					    .host_port = port->key.host_port,
					    .target4 = first->owner->target.addr4,
					    .target6 = first->owner->target.addr6,
					    .target_port = first->inner_port};
	port->is_open = true;
	if (!old || !port_equal(old, &port->open))
		tell(p, old, &port->open);
}

uint16_t ports_pick(const struct ports *p, const struct ports_claim *claim,
		    uint16_t first, uint16_t last, uint32_t mark)
{
	struct ports_claim probe = *claim;

	if (!first) {
		first = PORTS_PICK_FIRST;
		last = PORTS_PICK_LAST;
	}
	for (uint32_t n = first; n <= last; n++) {
		const struct port *port;

		probe.host_port = (uint16_t)n;
		port = find_port(p, &probe);
		if (!port ||
		    (mark && TAILQ_FIRST(&port->claimants)->owner->target.mark == mark))
			return probe.host_port;
	}
	return 0;
}

int ports_add(struct ports *p, const char *endpoint, const struct ports_claim *claim,
	      const struct ports_target *target)
{
	struct owner *o = get_owner(p, endpoint, target);
	struct port *port = o ? get_port(p, claim) : NULL;
	struct claimant *c;

	if (!port)
		return -ENOMEM;
	TAILQ_FOREACH (c, &port->claimants, link)
		if (c->owner == o)
			return 0;
	c = calloc(1, sizeof(*c));
	if (!c) {
		settle(p, port); /* frees an unused one */
		return -ENOMEM;
	}
	c->port = port;
	c->owner = o;
	c->inner_port = claim->port;
	c->next = o->claims;
	o->claims = c;
	TAILQ_INSERT_TAIL(&port->claimants, c, link);
	settle(p, port);
	return 0;
}

void ports_retarget(struct ports *p, const char *endpoint,
		    const struct ports_target *target)
{
	struct owner *o;

	HASH_FIND_STR(p->by_endpoint, endpoint, o);
	if (!o)
		return;
	o->target = *target;
	for (struct claimant *c = o->claims; c; c = c->next)
		settle(p, c->port);
}

void ports_del(struct ports *p, const char *endpoint)
{
	struct owner *o;

	HASH_FIND_STR(p->by_endpoint, endpoint, o);
	if (!o)
		return;
	for (struct claimant *c = o->claims; c; c = c->next) {
		TAILQ_REMOVE(&c->port->claimants, c, link);
		settle(p, c->port);
	}
	owner_free(p, o);
}

static const struct port *same_port(const struct ports *p, const struct port *port)
{
	const struct ports_claim key = {.proto = port->key.proto,
					.host_addr = port->key.host_addr,
					.host_port = port->key.host_port};

	return find_port(p, &key);
}

void ports_replace(struct ports *p, struct ports *next)
{
	const struct port *port;
	const struct port *other;
	struct ports was = *p;

	for (port = p->by_key; port; port = port->hh.next) {
		other = same_port(next, port);
		if (!other)
			tell(p, &port->open, NULL);
		else if (!port_equal(&port->open, &other->open))
			tell(p, &port->open, &other->open);
	}
	for (port = next->by_key; port; port = port->hh.next)
		if (!same_port(p, port))
			tell(p, NULL, &port->open);
	p->by_key = next->by_key;
	p->by_endpoint = next->by_endpoint;
	next->by_key = was.by_key;
	next->by_endpoint = was.by_endpoint;
	ports_free(next);
}

void ports_each(const struct ports *p,
		void (*fn)(void *ctx, const struct firewall_port *port), void *ctx)
{
	const struct port *port;

	for (port = p->by_key; port; port = port->hh.next)
		if (port->is_open)
			fn(ctx, &port->open);
}

void ports_each_claim(const struct ports *p, const char *endpoint,
		      void (*fn)(void *ctx, const struct ports_claim *claim,
				 const char *holder),
		      void *ctx)
{
	struct owner *o;

	HASH_FIND_STR(p->by_endpoint, endpoint, o);
	for (const struct claimant *c = o ? o->claims : NULL; c; c = c->next) {
		const struct owner *holder = TAILQ_FIRST(&c->port->claimants)->owner;
		const struct ports_claim claim = {.proto = c->port->key.proto,
						  .host_addr = c->port->key.host_addr,
						  .host_port = c->port->key.host_port,
						  .port = c->inner_port};

		fn(ctx, &claim, same_group(holder, o) ? NULL : holder->endpoint);
	}
}
