// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Builds a network's sandbox step by step. Each step is "make it so", never "add":
 * after a crash between any two steps the next call completes the work, and after a
 * failure network_remove undoes whatever is there.
 */
#include "driver/network.h"

#include "driver/kern/ns.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "network"
#include "plugin/base/log.h"

#define PIN_PREFIX "fl-"
#define ID_SHORT   12 /* IFNAMSIZ is 16: "flu" + 12 + NUL */

const struct addr network_host_addr4 = {AF_INET, {169, 254, 0, 1}};
const struct addr network_host_addr6 = {
	AF_INET6, {0xfd, 0x66, 0x61, 0x69, 0x72, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
static const struct addr sandbox_addr4 = {AF_INET, {169, 254, 0, 2}};
static const struct addr sandbox_addr6 = {
	AF_INET6, {0xfd, 0x66, 0x61, 0x69, 0x72, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};

void network_link_name(char role, const char *id, char ret[IFNAMSIZ])
{
	(void)snprintf(ret, IFNAMSIZ, NETWORK_LINK_PREFIX "%c%.*s", role, ID_SHORT, id);
}

static int netns_path(const char *run_dir, const char *id, char *buf, size_t size,
		      struct err *e)
{
	if (str_printf(buf, size, "%s/netns/" PIN_PREFIX "%.*s", run_dir, ID_SHORT, id) <
	    0)
		return err_set(e, -ENAMETOOLONG, "run-dir %s: path too long", run_dir);
	return 0;
}

/* A stable, locally administered MAC for one end of an uplink: neighbour entries
 * stay true over a restart. FNV-1a over the network's id. */
static void uplink_mac(const char *id, uint8_t end, uint8_t ret[MAC_SIZE])
{
	uint32_t hash = 2166136261U;

	for (; *id; id++)
		hash = (hash ^ (uint8_t)*id) * 16777619U;
	ret[0] = 0x02;
	ret[1] = end;
	memcpy(ret + 2, &hash, sizeof(hash));
}

static bool has_family(const struct network_config *c, uint8_t family)
{
	for (unsigned int i = 0; i < c->subnet_count; i++)
		if (c->subnets[i].pool.addr.family == family)
			return true;
	return false;
}

static int set_sysctls(int nsfd, struct err *e)
{
	static const struct ns_sysctl list[] = {
		{"net/ipv4/ip_forward", "1", false},
		{"net/ipv6/conf/all/forwarding", "1", true},
		/* A client of the subnet is sent back out on the bridge it came from. */
		{"net/ipv4/conf/all/send_redirects", "0", false},
		{"net/ipv4/conf/default/send_redirects", "0", false},
		{"net/ipv4/conf/all/rp_filter", "0", false},
		{"net/ipv4/conf/default/rp_filter", "0", false},
		{"net/ipv6/conf/all/accept_ra", "0", true},
		{"net/ipv6/conf/default/accept_ra", "0", true},
		/* While an address is tentative, for 2 s, nothing is forwarded to a new
		 * neighbour; ours are unique by their making. */
		{"net/ipv6/conf/all/accept_dad", "0", true},
		{"net/ipv6/conf/default/accept_dad", "0", true},
		/*
		 * Where br_netfilter is loaded a new namespace starts with 1, and frames
		 * that are NATed inside the bridge never reach their own backend.
		 */
		{"net/bridge/bridge-nf-call-iptables", "0", true},
		{"net/bridge/bridge-nf-call-ip6tables", "0", true},
		{"net/bridge/bridge-nf-call-arptables", "0", true},
	};

	return ns_sysctl_set(nsfd, list, ARRAY_SIZE(list), e);
}

static int add_vip_route(struct link_sock *ls, const struct cidr *range, struct err *e)
{
	const struct link_route route = {.dst = *range, .dev = "lo", .local = true};

	/* One local route answers ARP and ping for every VIP. */
	return addr_is_set(&range->addr) ? link_route_set(ls, &route, e) : 0;
}

static int find_mtu(struct link_sock *host, struct network_sandbox *sb,
		    const struct network_config *c, struct err *e)
{
	int r;

	sb->mtu = c->mtu;
	if (sb->mtu)
		return 0;
	if (link_index(sb->links, NETWORK_BRIDGE, NULL) == 0)
		return link_outside_mtu(host, &sb->mtu, e);
	/* An adopted sandbox keeps what its containers have. */
	r = link_mtu(sb->links, NETWORK_BRIDGE, e);
	if (r > 0)
		sb->mtu = (unsigned int)r;
	return r < 0 ? r : 0;
}

static int setup_bridge(const struct network_sandbox *sb, const struct network_config *c,
			struct err *e)
{
	struct link_sock *ls = sb->links;
	uint8_t mac[MAC_SIZE];
	int r;

	uplink_mac(c->id, 0x62, mac); /* "b" */
	r = link_bridge_add(ls, NETWORK_BRIDGE, mac, sb->mtu, e);
	for (unsigned int i = 0; r == 0 && i < c->subnet_count; i++) {
		const struct network_subnet *s = &c->subnets[i];
		const struct cidr gateway = {s->gateway, s->pool.prefix};

		if (addr_is_set(&s->gateway))
			r = link_addr_add(ls, NETWORK_BRIDGE, &gateway, LINK_SCOPE_GLOBAL,
					  e);
	}
	if (r == 0)
		r = link_up(ls, NETWORK_BRIDGE, NULL, e);
	if (r == 0)
		r = link_up(ls, "lo", NULL, e);
	for (unsigned int i = 0; r == 0 && i < c->subnet_count; i++)
		r = add_vip_route(ls, &c->subnets[i].vip_range, e);
	return r;
}

/* The uplink for one family, from both ends. */
struct uplink {
	const char *host_if;
	const uint8_t *host_mac;
	const uint8_t *sandbox_mac;
	const struct addr *host_addr;
	const struct addr *sandbox_addr;
};

static int uplink_sandbox_side(struct link_sock *ls, const struct uplink *u,
			       struct err *e)
{
	uint8_t bits = (uint8_t)addr_bits(u->host_addr);
	const struct cidr own = {*u->sandbox_addr, bits};
	const struct link_route to_host = {.dst = {*u->host_addr, bits},
					   .dev = NETWORK_UPLINK};
	struct link_route out = {.dst = {.addr = {.family = u->host_addr->family}},
				 .via = *u->host_addr,
				 .dev = NETWORK_UPLINK,
				 .onlink = true};
	int r = 0;

	/* IPv4 needs no address here; the gateway's answers for ICMP errors. */
	if (own.addr.family == AF_INET6)
		r = link_addr_add(ls, NETWORK_UPLINK, &own, LINK_SCOPE_LINK, e);
	if (r == 0)
		r = link_neigh_set(ls, NETWORK_UPLINK, u->host_addr, u->host_mac, e);
	if (r == 0)
		r = link_route_set(ls, &to_host, e);
	if (r == 0)
		r = link_route_set(ls, &out, e);
	return r;
}

static int uplink_host_side(struct link_sock *host, const struct network_config *c,
			    const struct uplink *u, struct err *e)
{
	const struct cidr own = {*u->host_addr, (uint8_t)addr_bits(u->host_addr)};
	int r = link_addr_add(host, u->host_if, &own, LINK_SCOPE_LINK, e);

	if (r == 0)
		r = link_neigh_set(host, u->host_if, u->sandbox_addr, u->sandbox_mac, e);
	for (unsigned int i = 0; r == 0 && i < c->subnet_count; i++) {
		const struct link_route route = {.dst = cidr_network(&c->subnets[i].pool),
						 .via = *u->sandbox_addr,
						 .dev = u->host_if,
						 .onlink = true};

		if (route.dst.addr.family == own.addr.family)
			r = link_route_claim(host, &route, e);
	}
	return r;
}

/* A kernel that forwards ignores router advertisements, unless told so per link: a host
 * that has its address and default route from them would lose both. */
static void keep_advertisements(void *ctx, const char *link)
{
	const int *own = ctx;
	char key[64];
	char value[4] = "";
	const struct ns_sysctl accept = {key, "2", true};

	if (str_has_prefix(link, NETWORK_LINK_PREFIX "u") ||
	    str_has_prefix(link, NETWORK_LINK_PREFIX "v") || !strcmp(link, "lo"))
		return;
	if (str_printf(key, sizeof(key), "net/ipv6/conf/%s/accept_ra", link) < 0 ||
	    ns_sysctl_get(*own, key, value, sizeof(value), NULL) < 0 ||
	    strcmp(value, "1") != 0)
		return;
	if (ns_sysctl_set(*own, &accept, 1, NULL) == 0)
		log_info("link takes router advertisements although the host forwards "
			 "link=%s",
			 link);
}

static int keep_all_advertisements(struct link_sock *host, int own, struct err *e)
{
	char forwarding[4] = "";

	(void)ns_sysctl_get(own, "net/ipv6/conf/all/forwarding", forwarding,
			    sizeof(forwarding), NULL); /* no IPv6: "" */
	if (strcmp(forwarding, "0") != 0)
		return 0; /* it is so without us */
	return link_list(host, "", keep_advertisements, &own, e);
}

/* The host forwards for the network, as with Docker's own bridges. */
static int set_host_sysctls(struct link_sock *host, const struct network_config *c,
			    const char *host_if, struct err *e)
{
	int r = 0;
	char localnet[64];
	char accept_ra[64];
	const struct ns_sysctl list[] = {
		{"net/ipv4/ip_forward", "1", false},
		{localnet, "1", false}, /* 127.0.0.1:PORT of a published port */
		{"net/ipv6/conf/all/forwarding", "1", true},
		{accept_ra, "0", true}, /* no containers' word counts here */
	};
	auto_close int own = ns_open_own(e);

	if (own < 0)
		return own;
	(void)snprintf(localnet, sizeof(localnet), "net/ipv4/conf/%s/route_localnet",
		       host_if);
	(void)snprintf(accept_ra, sizeof(accept_ra), "net/ipv6/conf/%s/accept_ra",
		       host_if);
	if (has_family(c, AF_INET6))
		r = keep_all_advertisements(host, own, e);
	if (r < 0)
		return r;
	return ns_sysctl_set(own, list, has_family(c, AF_INET6) ? ARRAY_SIZE(list) : 2,
			     e);
}

/* A link with our name and MAC whose other end is not in our sandbox: that of a sandbox
 * that died, and that the kernel has not cleared away yet. */
static int replace_dead_uplink(struct link_sock *host, const struct link_veth *veth,
			       struct err *e)
{
	uint8_t mac[MAC_SIZE];
	int r;

	r = link_mac(host, veth->name, mac, NULL);
	if (r == -ENODEV) /* cleared away meanwhile */
		return link_veth_add(host, veth, e);
	if (r < 0 || memcmp(mac, veth->mac, sizeof(mac)) != 0)
		return -EEXIST; /* of somebody else, as e says */
	r = link_del(host, veth->name, e);
	return r < 0 ? r : link_veth_add(host, veth, e);
}

static int setup_uplink(struct link_sock *host, const struct network_sandbox *sb,
			const struct network_config *c, struct err *e)
{
	char host_if[IFNAMSIZ];
	uint8_t host_mac[MAC_SIZE];
	uint8_t sandbox_mac[MAC_SIZE];
	const struct uplink families[] = {
		{host_if, host_mac, sandbox_mac, &network_host_addr4, &sandbox_addr4},
		{host_if, host_mac, sandbox_mac, &network_host_addr6, &sandbox_addr6},
	};
	const struct link_veth veth = {.name = host_if,
				       .mac = host_mac,
				       .peer = NETWORK_UPLINK,
				       .peer_mac = sandbox_mac,
				       .peer_nsfd = sb->nsfd,
				       .mtu = sb->mtu};
	int r;

	network_link_name('u', c->id, host_if);
	uplink_mac(c->id, 0x68, host_mac);    /* "h" */
	uplink_mac(c->id, 0x73, sandbox_mac); /* "s" */
	r = link_veth_add(host, &veth, e);
	if (r == -EEXIST)
		r = replace_dead_uplink(host, &veth, e);
	if (r == 0)
		r = link_up(sb->links, NETWORK_UPLINK, NULL, e);
	if (r == 0)
		r = link_up(host, host_if, NULL, e);
	if (r == 0)
		r = set_host_sysctls(host, c, host_if, e);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++) {
		if (!has_family(c, families[i].host_addr->family))
			continue;
		r = uplink_sandbox_side(sb->links, &families[i], e);
		if (r == 0)
			r = uplink_host_side(host, c, &families[i], e);
	}
	return r;
}

int network_complete(struct link_sock *host, struct network_sandbox *sb,
		     const struct network_config *c, struct err *e)
{
	int r = set_sysctls(sb->nsfd, e);

	if (r == 0)
		r = find_mtu(host, sb, c, e);
	if (r == 0)
		r = setup_bridge(sb, c, e);
	if (r == 0 && !c->internal)
		r = setup_uplink(host, sb, c, e);
	return r < 0 ? err_wrap(e, r, "network %.12s", c->id) : 0;
}

int network_apply(const char *run_dir, struct link_sock *host,
		  const struct network_config *c, struct network_sandbox *ret,
		  struct err *e)
{
	struct network_sandbox sb = {.nsfd = -1};
	char path[PATH_MAX];
	int r = netns_path(run_dir, c->id, path, sizeof(path), e);

	if (r < 0)
		return r;
	sb.nsfd = ns_create(path, e);
	if (sb.nsfd < 0)
		return err_wrap(e, sb.nsfd, "network %.12s", c->id);
	r = link_open(sb.nsfd, &sb.links, e);
	if (r < 0)
		(void)err_wrap(e, r, "network %.12s", c->id);
	else
		r = network_complete(host, &sb, c, e);
	if (r < 0) {
		network_close(&sb);
		return r;
	}
	*ret = sb;
	return 0;
}

void network_close(struct network_sandbox *sb)
{
	link_close(sb->links);
	sb->links = NULL;
	if (sb->nsfd >= 0)
		(void)close(sb->nsfd);
	sb->nsfd = -1;
}

int network_remove(const char *run_dir, struct link_sock *host, const char *id,
		   struct network_sandbox *sb, struct err *e)
{
	char host_if[IFNAMSIZ];
	char path[PATH_MAX];
	struct err ignored;
	int unpinned;
	int r = netns_path(run_dir, id, path, sizeof(path), e);

	if (r < 0)
		return r;
	network_link_name('u', id, host_if);
	r = link_del(host, host_if, e);
	network_close(sb);
	/* Whatever became of the uplink: without its pin the namespace goes, and takes
	 * the other end along. The first error is told. */
	unpinned = ns_remove(path, r < 0 ? &ignored : e);
	if (r == 0)
		r = unpinned;
	return r < 0 ? err_wrap(e, r, "network %.12s", id) : 0;
}

int network_sweep(const char *run_dir, struct link_sock *host,
		  bool (*known)(void *ctx, const char *short_id), void *ctx,
		  struct err *e)
{
	char path[PATH_MAX];
	const struct dirent *entry;
	int count = 0;
	DIR *dir;

	if (str_printf(path, sizeof(path), "%s/netns", run_dir) < 0)
		return err_set(e, -ENAMETOOLONG, "run-dir %s: path too long", run_dir);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "folder %s", path);
	while ((entry = readdir(dir))) {
		struct network_sandbox none = {.nsfd = -1};
		const char *id = entry->d_name + strlen(PIN_PREFIX);
		int r;

		if (!str_has_prefix(entry->d_name, PIN_PREFIX) || known(ctx, id))
			continue;
		r = network_remove(run_dir, host, id, &none, e);
		if (r < 0) {
			(void)closedir(dir);
			return r;
		}
		count++;
	}
	(void)closedir(dir);
	return count;
}

int network_endpoint_join(struct link_sock *host, const struct network_sandbox *sb,
			  const struct network_endpoint *ep, char ret_name[IFNAMSIZ],
			  struct err *e)
{
	char port[IFNAMSIZ];
	struct link_veth veth = {.name = ret_name,
				 .mac = ep->has_mac ? ep->mac : NULL,
				 .peer = port,
				 .peer_nsfd = sb->nsfd,
				 .mtu = sb->mtu};
	int r;

	network_link_name('v', ep->id, ret_name);
	network_link_name('p', ep->id, port);
	r = link_veth_add(host, &veth, e);
	/* Up and on the bridge before Docker is told: Engine 28+ waits for a carrier. */
	if (r == 0)
		r = link_up(sb->links, port, NETWORK_BRIDGE, e);
	if (r < 0)
		return err_wrap(e, r, "endpoint %.12s", ep->id);
	return 0;
}

int network_endpoint_del(struct link_sock *host, const struct network_sandbox *sb,
			 const char *id, struct err *e)
{
	char name[IFNAMSIZ];
	int r = 0;

	network_link_name('p', id, name);
	if (sb->links)
		r = link_del(sb->links, name, e);
	/* Also by the other end, should the sandbox be gone. */
	network_link_name('v', id, name);
	if (r == 0)
		r = link_del(host, name, e);
	return r < 0 ? err_wrap(e, r, "endpoint %.12s", id) : 0;
}
