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

#include "plugin/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* Before Docker's own DNAT (-100): a port is ours or Docker's, never both. */
#define PRIORITY_DNAT	(-110)
#define PRIORITY_RAW	(-300)
#define PRIORITY_FILTER 0
#define PRIORITY_SRCNAT 100
#define ACCEPT_COMMENT	"fairlead"
#define DOCKER_TABLE	"filter"
#define DOCKER_CHAIN	"DOCKER-USER"

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
	char chain[32];
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
	char chain[32];
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

/* The map elements of a port: one a family that it can be reached by. */
static void change_port(struct nft_batch *b, const struct firewall_port *p, bool add)
{
	const struct addr *targets[] = {&p->target4, &p->target6};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		bool one = addr_is_set(&p->host_addr);
		const struct nft_set *set = one ? &ports_one[i] : &ports_any[i];
		const struct nft_value key = {.type = set->key,
					      .addr = p->host_addr,
					      .proto = p->proto,
					      .port = p->host_port};
		const struct nft_value value = {
			.type = set->value, .addr = *targets[i], .port = p->target_port};

		if (!addr_is_set(targets[i]) ||
		    (one && p->host_addr.family != families[i]))
			continue;
		if (add)
			nft_elem_add(b, set, &key, &value);
		else
			nft_elem_del(b, set, &key);
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

static int count_element(void *ctx, const struct nft_value *key,
			 const struct nft_value *value)
{
	unsigned int *count = ctx;

	(void)key;
	(void)value;
	(*count)++;
	return 0;
}

/* Elements that a port has in the maps of its kind, see change_port. */
static unsigned int port_elements(const struct firewall_port *p)
{
	if (addr_is_set(&p->host_addr))
		return addr_is_set(p->host_addr.family == AF_INET ? &p->target4
								  : &p->target6);
	return addr_is_set(&p->target4) + addr_is_set(&p->target6);
}

static int count_elements(struct firewall *fw, unsigned int *ret, struct err *e)
{
	int r = nft_elem_list(fw->nft, NFT_TABLE, &uplinks, count_element, ret, e);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++) {
		r = nft_elem_list(fw->nft, NFT_TABLE, &ports_any[i], count_element, ret,
				  e);
		if (r == 0)
			r = nft_elem_list(fw->nft, NFT_TABLE, &ports_one[i],
					  count_element, ret, e);
	}
	return r;
}

int firewall_check(struct firewall *fw, const struct network_config *const *networks,
		   unsigned int network_count, const struct firewall_port *ports,
		   unsigned int port_count, struct err *e)
{
	/* As add_frame makes them. */
	static const struct {
		const char *chain;
		int rules;
	} chains[] = {
		{"guard", 1}, {"publish", 4}, {"local", 4}, {"forward", 2}, {"leave", 4}};
	unsigned int want = 0;
	unsigned int have = 0;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		r = nft_rule_count(fw->nft, NFT_TABLE, chains[i].chain, e);
		if (r != chains[i].rules)
			return r < 0 && r != -ENOENT ? r : 0;
	}
	for (unsigned int i = 0; i < network_count; i++)
		want += !networks[i]->internal;
	for (unsigned int i = 0; i < port_count; i++)
		want += port_elements(&ports[i]);
	r = count_elements(fw, &have, e);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return have == want;
}

int firewall_network_add(struct firewall *fw, const struct network_config *c,
			 struct err *e)
{
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);

	if (!b)
		return err_sys(e, -ENOMEM, "host table");
	add_network(b, c);
	return commit_batch(fw, b, e);
}

int firewall_network_del(struct firewall *fw, const struct network_config *c,
			 struct err *e)
{
	struct nft_batch *b;

	if (c->internal)
		return 0;
	b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	if (!b)
		return err_sys(e, -ENOMEM, "host table");
	del_network(b, c);
	return commit_batch(fw, b, e);
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

/* --- Docker's FORWARD policy ------------------------------------------------ */

static int allow_nft(struct firewall *fw, enum nft_family family, struct err *e)
{
	struct nft_batch *b;
	int r = nft_chain_exists(fw->nft, family, DOCKER_TABLE, DOCKER_CHAIN, e);

	if (r <= 0)
		return r;
	r = nft_rule_exists(fw->nft, family, DOCKER_TABLE, DOCKER_CHAIN, ACCEPT_COMMENT,
			    e);
	if (r != 0)
		return r < 0 ? r : 0;
	b = nft_batch_new(family, DOCKER_TABLE);
	if (!b)
		return err_sys(e, -ENOMEM, DOCKER_CHAIN);
	nft_rule_begin_first(b, DOCKER_CHAIN, ACCEPT_COMMENT);
	nft_match_iifname(b, NETWORK_UPLINK_ANY, true);
	nft_act_counter(b);
	nft_act_accept(b);
	nft_rule_end(b);
	nft_rule_begin_first(b, DOCKER_CHAIN, ACCEPT_COMMENT);
	nft_match_oifname(b, NETWORK_UPLINK_ANY, true);
	nft_act_counter(b);
	nft_act_accept(b);
	nft_rule_end(b);
	return commit_batch(fw, b, e);
}

/* Runs a program found in PATH; 0, its exit status, or -errno. */
static int run(char *const argv[])
{
	char *const env[] = {"PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", NULL};
	posix_spawn_file_actions_t quiet;
	int status;
	pid_t pid;
	int r;

	(void)posix_spawn_file_actions_init(&quiet); /* cannot fail in glibc */
	(void)posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null",
					       O_WRONLY, 0);
	r = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, env);
	(void)posix_spawn_file_actions_destroy(&quiet);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

/* Does iptables-legacy have a filter table in this kernel? */
static bool legacy_in_use(const char *names_path)
{
	FILE *f = fopen(names_path, "re");
	char line[64];
	bool found = false;

	while (f && fgets(line, sizeof(line), f))
		found |= !strcmp(line, DOCKER_TABLE "\n");
	if (f)
		(void)fclose(f); /* read only */
	return found;
}

static int allow_legacy(const char *program, struct err *e)
{
	static const char *const directions[] = {"-i", "-o"};
	char any[] = NETWORK_LINK_PREFIX "u+"; /* iptables' way to write flu* */
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(directions); i++) {
		/* argv is not changed by posix_spawn */
		char *argv[] = {(char *)program,
				"-w",
				"-C",
				DOCKER_CHAIN,
				(char *)directions[i],
				any,
				"-j",
				"ACCEPT",
				NULL};

		r = run(argv);
		if (r == 0)
			continue;
		if (r < 0)
			return err_sys(
				e, r,
				"Docker's rules are iptables-legacy, but running %s",
				program);
		argv[2] = "-I";
		r = run(argv);
		if (r < 0)
			return err_sys(e, r, "%s", program);
		/* Not 0: there is no chain DOCKER-USER; then nothing forbids us. */
	}
	return 0;
}

int firewall_allow_forward(struct firewall *fw, struct err *e)
{
	int r = allow_nft(fw, NFT_FAMILY_IPV4, e);

	if (r == 0)
		r = allow_nft(fw, NFT_FAMILY_IPV6, e);
	if (r == 0 && legacy_in_use("/proc/self/net/ip_tables_names"))
		r = allow_legacy("iptables-legacy", e);
	if (r == 0 && legacy_in_use("/proc/self/net/ip6_tables_names"))
		r = allow_legacy("ip6tables-legacy", e);
	return r < 0 ? err_wrap(e, r, "letting traffic through " DOCKER_CHAIN) : 0;
}
