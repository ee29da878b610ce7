// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Host rules. All of ours are in one table that we own; chains are short and maps do
 * the work, so the packet path does not grow with networks or ports:
 *
 *   guard     prerouting filter: nobody on a network reaches the host's 127/8
 *   publish   prerouting nat     local address, port -> VIP:port (by map)
 *   local     output nat         the same for the host's own connections
 *   forward   forward filter: only published (DNATed) connections enter a network
 *   leave     postrouting nat    masquerade out; hairpin; 127.0.0.1 clients
 */
#include "driver/firewall.h"

#include "driver/docker_user.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Before Docker's own DNAT (-100): a port is ours or Docker's, never both. */
#define PRIORITY_DNAT	(-110)
#define PRIORITY_RAW	(-300)
#define PRIORITY_FILTER 0
#define PRIORITY_SRCNAT 100
#define CHAIN_SIZE	32 /* "hairpin-" and 12 characters */

struct firewall {
	struct nft_sock *nft;
};

static const uint8_t families[] = {AF_INET, AF_INET6};

static const struct nft_set pools[] = {
	{"pools4", NFT_TYPE_IPV4, NFT_TYPE_NONE, true},
	{"pools6", NFT_TYPE_IPV6, NFT_TYPE_NONE, true},
};
/* Published on every local address, and on one. */
static const struct nft_set ports_any[] = {
	{"publish4", NFT_TYPE_PROTO_PORT, NFT_TYPE_IPV4_PORT, false},
	{"publish6", NFT_TYPE_PROTO_PORT, NFT_TYPE_IPV6_PORT, false},
};
static const struct nft_set ports_one[] = {
	{"publish4-addr", NFT_TYPE_IPV4_PROTO_PORT, NFT_TYPE_IPV4_PORT, false},
	{"publish6-addr", NFT_TYPE_IPV6_PROTO_PORT, NFT_TYPE_IPV6_PORT, false},
};
static const struct nft_set uplinks = {"uplinks", NFT_TYPE_IFNAME, NFT_TYPE_VERDICT,
				       false};

int firewall_open(struct firewall **ret, struct err *e)
{
	struct firewall *fw = calloc(1, sizeof(*fw));
	int r;

	if (!fw)
		return err_sys(e, -ENOMEM, "firewall");
	r = nft_open(-1, &fw->nft, e);
	if (r < 0) {
		free(fw);
		return r;
	}
	*ret = fw;
	return 0;
}

void firewall_close(struct firewall *fw)
{
	if (!fw)
		return;
	nft_close(fw->nft);
	free(fw);
}

static int commit_batch(struct firewall *fw, struct nft_batch *b, struct err *e)
{
	int r = nft_commit(fw->nft, b, e);

	nft_batch_free(b);
	return r < 0 ? err_wrap(e, r, "host table inet " NFT_TABLE) : 0;
}

static void add_publish_rules(struct nft_batch *b, const char *chain)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		nft_rule_begin(b, chain, "published on one address");
		nft_match_daddr_local(b);
		nft_act_dnat_from_port(b, families[i], true, ports_one[i].name);
		nft_rule_end(b);
		nft_rule_begin(b, chain, "published on all addresses");
		nft_match_daddr_local(b);
		nft_act_dnat_from_port(b, families[i], false, ports_any[i].name);
		nft_rule_end(b);
	}
}

static void add_guard(struct nft_batch *b)
{
	static const struct cidr loopback = {{AF_INET, {127}}, 8};

	nft_chain_add_base(b, "guard", NFT_CHAIN_TYPE_FILTER, NFT_HOOK_PREROUTING,
			   PRIORITY_RAW);
	/* route_localnet is on at the uplinks, for 127.0.0.1:PORT. */
	nft_rule_begin(b, "guard", "networks do not reach the host's loopback");
	nft_match_iifname(b, NETWORK_UPLINK_ANY, true);
	nft_match_addr(b, NFT_FIELD_DADDR, &loopback, true);
	nft_act_drop(b);
	nft_rule_end(b);
}

static void add_forward(struct nft_batch *b)
{
	nft_chain_add_base(b, "forward", NFT_CHAIN_TYPE_FILTER, NFT_HOOK_FORWARD,
			   PRIORITY_FILTER);
	nft_rule_begin(b, "forward", "networks are isolated from each other");
	nft_match_iifname(b, NETWORK_UPLINK_ANY, true);
	nft_match_oifname(b, NETWORK_UPLINK_ANY, true);
	nft_match_ct_dnat(b, false);
	nft_act_counter(b);
	nft_act_drop(b);
	nft_rule_end(b);
	nft_rule_begin(b, "forward", "only published ports are open to the outside");
	nft_match_oifname(b, NETWORK_UPLINK_ANY, true);
	nft_match_ct_new(b);
	nft_match_ct_dnat(b, false);
	nft_act_counter(b);
	nft_act_drop(b);
	nft_rule_end(b);
}

static void add_leave(struct nft_batch *b)
{
	static const struct cidr loopback = {{AF_INET, {127}}, 8};

	nft_chain_add_base(b, "leave", NFT_CHAIN_TYPE_NAT, NFT_HOOK_POSTROUTING,
			   PRIORITY_SRCNAT);
	nft_rule_begin(b, "leave", "127.0.0.1 asks a published port");
	nft_match_addr(b, NFT_FIELD_SADDR, &loopback, true);
	nft_match_oifname(b, NETWORK_UPLINK_ANY, true);
	nft_act_snat(b, &network_host_addr4);
	nft_rule_end(b);
	nft_rule_begin(b, "leave", NULL);
	nft_act_oifname_vmap(b, uplinks.name);
	nft_rule_end(b);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		nft_rule_begin(b, "leave", "out");
		nft_match_addr_set(b, NFT_FIELD_SADDR, families[i], pools[i].name, true);
		nft_match_addr_set(b, NFT_FIELD_DADDR, families[i], pools[i].name, false);
		nft_match_oifname(b, NETWORK_UPLINK_ANY, false);
		nft_act_masquerade(b);
		nft_rule_end(b);
	}
}

static void add_frame(struct nft_batch *b)
{
	/* Answers to ::1 would come in over an uplink, and IPv6 has no route_localnet. */
	static const struct cidr loopback6 = {{AF_INET6, {[15] = 1}}, 128};

	nft_table_add(b, false);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		nft_set_add(b, &pools[i]);
		nft_set_add(b, &ports_any[i]);
		nft_set_add(b, &ports_one[i]);
	}
	nft_set_add(b, &uplinks);
	add_guard(b);
	nft_chain_add_base(b, "publish", NFT_CHAIN_TYPE_NAT, NFT_HOOK_PREROUTING,
			   PRIORITY_DNAT);
	add_publish_rules(b, "publish");
	nft_chain_add_base(b, "local", NFT_CHAIN_TYPE_NAT, NFT_HOOK_OUTPUT,
			   PRIORITY_DNAT);
	nft_rule_begin(b, "local", "no way back to ::1: refused, clients try 127.0.0.1");
	nft_match_addr(b, NFT_FIELD_DADDR, &loopback6, true);
	nft_act_accept(b);
	nft_rule_end(b);
	add_publish_rules(b, "local");
	add_forward(b);
	add_leave(b);
}

static void hairpin_chain(const struct network_config *c, char *buf, size_t size)
{
	(void)snprintf(buf, size, "hairpin-%.12s", c->id);
}

/* A container that asks a published port of its own network must get the answer
 * through the host, where the port is translated. */
static void add_network(struct nft_batch *b, const struct network_config *c)
{
	char uplink[IFNAMSIZ];
	char chain[CHAIN_SIZE];
	const struct nft_value key = {.type = NFT_TYPE_IFNAME, .name = uplink};
	const struct nft_value value = {.type = NFT_TYPE_VERDICT, .name = chain};

	if (c->internal)
		return;
	network_link_name('u', c->id, uplink);
	hairpin_chain(c, chain, sizeof(chain));
	nft_chain_add(b, chain);
	nft_chain_flush(b, chain);
	for (unsigned int i = 0; i < c->subnet_count; i++) {
		const struct cidr *pool = &c->subnets[i].pool;
		bool v6 = pool->addr.family == AF_INET6;

		nft_rule_begin(b, chain, NULL);
		nft_match_addr(b, NFT_FIELD_SADDR, pool, true);
		nft_act_snat(b, v6 ? &network_host_addr6 : &network_host_addr4);
		nft_rule_end(b);
		nft_elem_add_prefix(b, &pools[v6], pool);
	}
	nft_elem_add(b, &uplinks, &key, &value);
}

static void del_network(struct nft_batch *b, const struct network_config *c)
{
	char uplink[IFNAMSIZ];
	char chain[CHAIN_SIZE];
	const struct nft_value key = {.type = NFT_TYPE_IFNAME, .name = uplink};

	network_link_name('u', c->id, uplink);
	hairpin_chain(c, chain, sizeof(chain));
	nft_elem_del(b, &uplinks, &key);
	nft_chain_del(b, chain);
	for (unsigned int i = 0; i < c->subnet_count; i++) {
		const struct cidr *pool = &c->subnets[i].pool;

		nft_elem_del_prefix(b, &pools[pool->addr.family == AF_INET6], pool);
	}
}

static const struct nft_set *port_set(const struct firewall_port *p, size_t family)
{
	return addr_is_set(&p->host_addr) ? &ports_one[family] : &ports_any[family];
}

/* The map element of a port for one family; false: it cannot be reached by this one. */
static bool port_element(const struct firewall_port *p, size_t family,
			 struct nft_value *ret_key, struct nft_value *ret_value)
{
	const struct addr *target = family ? &p->target6 : &p->target4;
	bool one = addr_is_set(&p->host_addr);
	const struct nft_set *set = port_set(p, family);

	if (!addr_is_set(target) || (one && p->host_addr.family != families[family]))
		return false;
	*ret_key = (struct nft_value){.type = set->key,
				      .addr = p->host_addr,
				      .proto = p->proto,
				      .port = p->host_port};
	*ret_value = (struct nft_value){
		.type = set->value, .addr = *target, .port = p->target_port};
	return true;
}

static void change_port(struct nft_batch *b, const struct firewall_port *p, bool add)
{
	struct nft_value key;
	struct nft_value value;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (!port_element(p, i, &key, &value))
			continue;
		if (add)
			nft_elem_add(b, port_set(p, i), &key, &value);
		else
			nft_elem_del(b, port_set(p, i), &key);
	}
}

int firewall_sync(struct firewall *fw, const struct network_config *const *networks,
		  unsigned int network_count, const struct firewall_port *ports,
		  unsigned int port_count, struct err *e)
{
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);

	if (!b)
		return err_sys(e, -ENOMEM, "host table");
	nft_table_del(b);
	add_frame(b);
	for (unsigned int i = 0; i < network_count; i++)
		add_network(b, networks[i]);
	for (unsigned int i = 0; i < port_count; i++)
		change_port(b, &ports[i], true);
	return commit_batch(fw, b, e);
}

/* --- comparing with what the kernel holds ------------------------------------ */

static const struct nft_set *const sets[] = {&uplinks,	    &pools[0],	   &pools[1],
					     &ports_any[0], &ports_any[1], &ports_one[0],
					     &ports_one[1]};

/* An element of one of our sets, zeroed where it says nothing: compared as bytes. */
struct element {
	const struct nft_set *set;
	struct addr addr;
	struct addr to_addr;
	uint16_t port;
	uint16_t to_port;
	uint8_t prefix;
	uint8_t proto;
	char uplink[IFNAMSIZ];
	char chain[CHAIN_SIZE];
};

struct elements {
	struct element *list; /* what shall be; owned */
	size_t count;
	const struct nft_set *set; /* the one that is read */
	size_t have;
	bool other; /* there is one that shall not be */
};

static void elements_fini(struct elements *es)
{
	free(es->list);
}

static void copy_addr(struct addr *to, const struct addr *from)
{
	to->family = from->family;
	memcpy(to->bytes, from->bytes, addr_size(from));
}

static void fill_element(struct element *el, const struct nft_set *set,
			 const struct nft_value *key, const struct nft_value *value)
{
	memset(el, 0, sizeof(*el));
	el->set = set;
	copy_addr(&el->addr, &key->addr);
	el->port = key->port;
	el->prefix = key->prefix;
	el->proto = key->proto;
	if (key->name) /* what is cut off is none of ours */
		(void)str_copy(el->uplink, sizeof(el->uplink), key->name);
	if (!value)
		return;
	copy_addr(&el->to_addr, &value->addr);
	el->to_port = value->port;
	if (value->name)
		(void)str_copy(el->chain, sizeof(el->chain), value->name);
}

static void want_network(struct elements *es, const struct network_config *c)
{
	char uplink[IFNAMSIZ];
	char chain[CHAIN_SIZE];
	const struct nft_value key = {.type = NFT_TYPE_IFNAME, .name = uplink};
	const struct nft_value value = {.type = NFT_TYPE_VERDICT, .name = chain};

	if (c->internal)
		return;
	network_link_name('u', c->id, uplink);
	hairpin_chain(c, chain, sizeof(chain));
	fill_element(&es->list[es->count++], &uplinks, &key, &value);
	for (unsigned int i = 0; i < c->subnet_count; i++) {
		const struct cidr pool = cidr_network(&c->subnets[i].pool);
		const struct nft_set *set = &pools[pool.addr.family == AF_INET6];
		const struct nft_value prefix = {
			.type = set->key, .addr = pool.addr, .prefix = pool.prefix};

		fill_element(&es->list[es->count++], set, &prefix, NULL);
	}
}

static void want_port(struct elements *es, const struct firewall_port *p)
{
	struct nft_value key;
	struct nft_value value;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (port_element(p, i, &key, &value))
			fill_element(&es->list[es->count++], port_set(p, i), &key,
				     &value);
}

static int compare_elements(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct element));
}

static int check_element(void *ctx, const struct nft_value *key,
			 const struct nft_value *value)
{
	struct elements *es = ctx;
	struct element el;

	fill_element(&el, es->set, key, value);
	es->have++;
	es->other |= !bsearch(&el, es->list, es->count, sizeof(el), compare_elements);
	return 0;
}

/* 1, 0 or -errno. */
static int check_elements(struct firewall *fw, struct elements *es, struct err *e)
{
	qsort(es->list, es->count, sizeof(*es->list), compare_elements);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		int r;

		es->set = sets[i];
		r = nft_elem_list(fw->nft, NFT_TABLE, sets[i], check_element, es, e);
		if (r == -ENOENT || r == -EUCLEAN)
			return 0;
		if (r < 0)
			return r;
	}
	return es->have == es->count && !es->other;
}

/* 1, 0 or -errno. */
static int check_chains(struct firewall *fw, struct err *e)
{
	/* As add_frame makes them. */
	static const struct {
		const char *chain;
		int rules;
	} chains[] = {
		{"guard", 1}, {"publish", 4}, {"local", 5}, {"forward", 2}, {"leave", 4}};

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		int r = nft_rule_count(fw->nft, NFT_TABLE, chains[i].chain, e);

		if (r != chains[i].rules)
			return r < 0 && r != -ENOENT ? r : 0;
	}
	return 1;
}

int firewall_check(struct firewall *fw, const struct network_config *const *networks,
		   unsigned int network_count, const struct firewall_port *ports,
		   unsigned int port_count, struct err *e)
{
	__attribute__((cleanup(elements_fini))) struct elements es = {0};
	int r = check_chains(fw, e);

	if (r <= 0)
		return r;
	es.list = calloc(network_count * (1UL + NETWORK_SUBNETS_MAX) +
				 port_count * ARRAY_SIZE(families) + 1,
			 sizeof(*es.list));
	if (!es.list)
		return err_sys(e, -ENOMEM, "host table");
	for (unsigned int i = 0; i < network_count; i++)
		want_network(&es, networks[i]);
	for (unsigned int i = 0; i < port_count; i++)
		want_port(&es, &ports[i]);
	return check_elements(fw, &es, e);
}

/* --- one network, one port --------------------------------------------------- */

int firewall_network_add(struct firewall *fw, const struct network_config *c,
			 struct err *e)
{
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);

	if (!b)
		return err_sys(e, -ENOMEM, "host table");
	add_network(b, c);
	return commit_batch(fw, b, e);
}

/* What of a network is in the table. */
struct presence {
	const struct network_config *config;
	char link[IFNAMSIZ];
	char chain_name[CHAIN_SIZE];
	bool uplink;
	bool chain;
	bool pools[NETWORK_SUBNETS_MAX];
};

static int see_uplink(void *ctx, const struct nft_value *key,
		      const struct nft_value *value)
{
	struct presence *p = ctx;

	(void)value;
	p->uplink |= !strcmp(key->name, p->link);
	return 0;
}

static int see_pool(void *ctx, const struct nft_value *key, const struct nft_value *value)
{
	struct presence *p = ctx;

	(void)value;
	for (unsigned int i = 0; i < p->config->subnet_count; i++) {
		const struct cidr pool = cidr_network(&p->config->subnets[i].pool);

		p->pools[i] |=
			addr_equal(&pool.addr, &key->addr) && pool.prefix == key->prefix;
	}
	return 0;
}

/* No set, or one that somebody has put other things into: nothing of ours is seen. */
static int see(struct firewall *fw, const struct nft_set *set,
	       int (*fn)(void *ctx, const struct nft_value *key,
			 const struct nft_value *value),
	       struct presence *p, struct err *e)
{
	int r = nft_elem_list(fw->nft, NFT_TABLE, set, fn, p, e);

	return r == -ENOENT || r == -EUCLEAN ? 0 : r;
}

static int look_for_network(struct firewall *fw, struct presence *p, struct err *e)
{
	int r;

	network_link_name('u', p->config->id, p->link);
	hairpin_chain(p->config, p->chain_name, sizeof(p->chain_name));
	r = nft_chain_exists(fw->nft, NFT_FAMILY_INET, NFT_TABLE, p->chain_name, e);
	if (r < 0)
		return r;
	p->chain = r;
	r = see(fw, &uplinks, see_uplink, p, e);
	/* With neither, the network was never added, and a pool is another one's. */
	if (r < 0 || (!p->chain && !p->uplink))
		return r;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(pools); i++)
		r = see(fw, &pools[i], see_pool, p, e);
	return r;
}

/* For what was left of a network when others have changed our table. */
static int del_what_is_there(struct firewall *fw, const struct network_config *c,
			     struct err *e)
{
	struct presence p = {.config = c};
	const struct nft_value key = {.type = NFT_TYPE_IFNAME, .name = p.link};
	struct nft_batch *b;
	int r = look_for_network(fw, &p, e);

	if (r < 0)
		return r;
	b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	if (!b)
		return err_sys(e, -ENOMEM, "host table");
	if (p.uplink)
		nft_elem_del(b, &uplinks, &key);
	if (p.chain)
		nft_chain_del(b, p.chain_name);
	for (unsigned int i = 0; i < c->subnet_count; i++) {
		const struct cidr *pool = &c->subnets[i].pool;

		if (p.pools[i])
			nft_elem_del_prefix(b, &pools[pool->addr.family == AF_INET6],
					    pool);
	}
	return commit_batch(fw, b, e);
}

int firewall_network_del(struct firewall *fw, const struct network_config *c,
			 struct err *e)
{
	struct nft_batch *b;
	int r;

	if (c->internal)
		return 0;
	b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	if (!b)
		return err_sys(e, -ENOMEM, "host table");
	del_network(b, c);
	r = commit_batch(fw, b, e);
	return r == -ENOENT ? del_what_is_there(fw, c, e) : r;
}

int firewall_port_change(struct firewall *fw, const struct firewall_port *old,
			 const struct firewall_port *new_port, struct err *e)
{
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);

	if (!b)
		return err_sys(e, -ENOMEM, "host table");
	if (old)
		change_port(b, old, false);
	if (new_port)
		change_port(b, new_port, true);
	return commit_batch(fw, b, e);
}

int firewall_allow_forward(struct firewall *fw, struct err *e)
{
	return docker_user_allow(fw->nft, e);
}
