// SPDX-License-Identifier: GPL-2.0-or-later
/* The host's rules: the list that they are made from, changes, and their repair. */
#include "plugin/actual_internal.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <string.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

static void port_key(struct port *p, const struct firewall_port *value)
{
	memset(&p->key, 0, sizeof(p->key)); /* also its padding: it is hashed */
	p->key.proto = value->proto;
	p->key.host_addr = value->host_addr;
	p->key.host_port = value->host_port;
}

/* Keeps the list that the host table is rebuilt from. */
static void note_port(struct actual *a, const struct firewall_port *value, bool open)
{
	struct port probe;
	struct port *p;

	port_key(&probe, value);
	HASH_FIND(hh, a->ports, &probe.key, sizeof(probe.key), p);
	if (p) {
		HASH_DEL(a->ports, p);
		free(p);
	}
	p = open ? calloc(1, sizeof(*p)) : NULL;
	if (!p)
		return;
	port_key(p, value);
	p->value = *value;
	HASH_ADD(hh, a->ports, key, sizeof(p->key), p);
	if (!MAP_ADDED(p))
		free(p);
}

/* What the host's table is made from. */
struct wanted {
	const struct network_config **networks;
	unsigned int network_count;
	struct firewall_port *ports;
	unsigned int port_count;
};

static void wanted_fini(struct wanted *w)
{
	free(w->networks);
	free(w->ports);
}

static int collect_wanted(const struct actual *a, struct wanted *w, struct err *e)
{
	w->networks = calloc(HASH_COUNT(a->nets) + 1, sizeof(*w->networks));
	w->ports = calloc(HASH_COUNT(a->ports) + 1, sizeof(*w->ports));
	if (!w->networks || !w->ports)
		return err_sys(e, -ENOMEM, "host table");
	for (const struct net *n = a->nets; n; n = n->hh.next)
		if (n->broken.code == 0)
			w->networks[w->network_count++] = &n->config;
	for (const struct port *p = a->ports; p; p = p->hh.next)
		w->ports[w->port_count++] = p->value;
	return 0;
}

int host_sync(struct actual *a, struct err *e)
{
	__attribute__((cleanup(wanted_fini))) struct wanted w = {0};
	int r = collect_wanted(a, &w, e);

	if (r == 0)
		r = firewall_sync(a->firewall, w.networks, w.network_count, w.ports,
				  w.port_count, e);
	if (r == 0)
		a->firewall_ready = true;
	return r;
}

/* Somebody may have flushed the ruleset. */
void host_repair(struct actual *a)
{
	__attribute__((cleanup(wanted_fini))) struct wanted w = {0};
	struct err e = {0};
	int r = collect_wanted(a, &w, &e);

	if (r == 0)
		r = firewall_check(a->firewall, w.networks, w.network_count, w.ports,
				   w.port_count, &e);
	if (r == 0) {
		r = host_sync(a, &e);
		if (r == 0) {
			a->repairs++;
			log_warning("host table inet " NFT_TABLE
				    " was not as wanted: repaired");
		}
	}
	if (r < 0)
		log_error("%s", e.text);
}

void actual_port(struct actual *a, const struct firewall_port *old,
		 const struct firewall_port *new_port)
{
	struct err e = {0};

	if (old)
		note_port(a, old, false);
	if (new_port)
		note_port(a, new_port, true);
	if (!a->firewall_ready)
		return;
	if (firewall_port_change(a->firewall, old, new_port, &e) < 0) {
		log_debug("%s: building the host table anew", e.text);
		if (host_sync(a, &e) < 0)
			log_error("published port is not as wanted: %s", e.text);
	}
}

void actual_allow_forward(struct actual *a)
{
	struct err e = {0};

	if (firewall_allow_forward(a->firewall, &e) < 0)
		log_error("%s", e.text);
}

void host_free_ports(struct actual *a)
{
	struct port *p;
	struct port *next;

	HASH_ITER (hh, a->ports, p, next) {
		HASH_DEL(a->ports, p);
		free(p);
	}
}

int actual_host_routes(struct actual *a, const struct cidr *within, link_route_fn fn,
		       void *ctx, struct err *e)
{
	return link_route_each(a->host, within, fn, ctx, e);
}
