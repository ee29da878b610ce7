// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rules: every match and action is the sequence of kernel expressions that nft(8)
 * makes of the text in the header, so that `nft list` and iptables-nft can show
 * it. Register 1 is all of 16 bytes, the 32-bit registers are used for the parts of
 * concatenations.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h> /* libnftnl/expr.h needs it */
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "driver/kern/nft_internal.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#define IPV4_SADDR 12
#define IPV4_DADDR 16
#define IPV6_SADDR 8
#define IPV6_DADDR 24
#define TH_DPORT   2

/* Clients stay at their backend when a rule is replaced: no random seed. */
#define JHASH_SEED 0x666c6272U

#define COMMENT_USERDATA_SIZE (NFT_NAME_SIZE + 2)

/* --- expressions --- */

/* A new expression at the end of the rule; NULL when the batch has failed. */
static struct nftnl_expr *expr_add(struct nft_batch *b, const char *name)
{
	struct nftnl_expr *x;

	if (b->err.code)
		return NULL;
	if (!b->rule || ++b->rule_exprs > NFT_RULE_EXPR_MAX) {
		nft_batch_fail(b, b->rule ? -E2BIG : -EINVAL, "a rule");
		return NULL;
	}
	x = nftnl_expr_alloc(name);
	if (!x) {
		nft_batch_fail(b, -ENOMEM, "a rule");
		return NULL;
	}
	nftnl_rule_add_expr(b->rule, x);
	return x;
}

static void set_text(struct nft_batch *b, struct nftnl_expr *x, uint16_t attr,
		     const char *text)
{
	if (nft_name_ok(b, text) && nftnl_expr_set_str(x, attr, text) < 0)
		nft_batch_fail(b, -ENOMEM, "a rule");
}

static void put_meta(struct nft_batch *b, enum nft_meta_keys key, uint32_t dreg)
{
	struct nftnl_expr *x = expr_add(b, "meta");

	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(x, NFTNL_EXPR_META_DREG, dreg);
}

static void put_payload(struct nft_batch *b, enum nft_payload_bases base, uint32_t offset,
			uint32_t len, uint32_t dreg)
{
	struct nftnl_expr *x = expr_add(b, "payload");

	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_LEN, len);
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_DREG, dreg);
}

/* Compares register 1. */
static void put_cmp(struct nft_batch *b, bool equal, const void *data, uint32_t len)
{
	struct nftnl_expr *x = expr_add(b, "cmp");

	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
	nftnl_expr_set_data(x, NFTNL_EXPR_CMP_DATA, data, len);
}

/* Register 1 &= mask. */
static void put_mask(struct nft_batch *b, const void *mask, uint32_t len)
{
	static const uint8_t zero[16];
	struct nftnl_expr *x = expr_add(b, "bitwise");

	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_LEN, len);
	nftnl_expr_set_data(x, NFTNL_EXPR_BITWISE_MASK, mask, len);
	nftnl_expr_set_data(x, NFTNL_EXPR_BITWISE_XOR, zero, len);
}

static struct nftnl_expr *put_lookup(struct nft_batch *b, const char *set)
{
	struct nftnl_expr *x = expr_add(b, "lookup");

	if (!x)
		return NULL;
	nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	set_text(b, x, NFTNL_EXPR_LOOKUP_SET, set);
	return x;
}

static void put_lookup_map(struct nft_batch *b, const char *map, uint32_t dreg)
{
	struct nftnl_expr *x = put_lookup(b, map);

	if (x)
		nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_DREG, dreg);
}

static void put_data(struct nft_batch *b, uint32_t dreg, const void *data, uint32_t len)
{
	struct nftnl_expr *x = expr_add(b, "immediate");

	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_DREG, dreg);
	nftnl_expr_set_data(x, NFTNL_EXPR_IMM_DATA, data, len);
}

static struct nftnl_expr *put_verdict(struct nft_batch *b, int verdict)
{
	struct nftnl_expr *x = expr_add(b, "immediate");

	if (!x)
		return NULL;
	nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
	return x;
}

struct nat {
	enum nft_nat_types type;
	uint8_t family;	   /* AF_INET or AF_INET6 */
	uint32_t addr_reg; /* 0: none */
	uint32_t port_reg;
	uint32_t flags;
};

static void put_nat(struct nft_batch *b, const struct nat *nat)
{
	struct nftnl_expr *x = expr_add(b, "nat");

	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_TYPE, nat->type);
	nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_FAMILY,
			   nat->family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_ADDR_MIN, nat->addr_reg);
	if (nat->port_reg)
		nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_PROTO_MIN, nat->port_reg);
	if (nat->flags)
		nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_FLAGS, nat->flags);
}

/* --- parts of several matches --- */

static uint32_t family_size(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

/* In a table of one family the question is answered already. */
static void put_family(struct nft_batch *b, uint8_t family)
{
	if (b->family == NFT_FAMILY_INET)
		nft_match_family(b, family);
}

static void load_addr(struct nft_batch *b, enum nft_field field, uint8_t family,
		      uint32_t len, uint32_t dreg)
{
	uint32_t offset;

	if (family == AF_INET6)
		offset = field == NFT_FIELD_SADDR ? IPV6_SADDR : IPV6_DADDR;
	else
		offset = field == NFT_FIELD_SADDR ? IPV4_SADDR : IPV4_DADDR;
	put_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, len, dreg);
}

/* --- rules --- */

static int rule_comment(struct nftnl_rule *rule, const char *comment)
{
	struct nftnl_udata_buf *u;
	int r;

	u = nftnl_udata_buf_alloc(COMMENT_USERDATA_SIZE);
	if (!u)
		return -ENOMEM;
	nftnl_udata_put_strz(u, NFTNL_UDATA_RULE_COMMENT, comment);
	r = nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(u),
				nftnl_udata_buf_len(u));
	nftnl_udata_buf_free(u);
	return r < 0 ? -ENOMEM : 0;
}

static void rule_begin(struct nft_batch *b, const char *chain, const char *comment,
		       uint64_t before)
{
	struct nftnl_rule *rule;

	if (b->rule)
		nft_batch_fail(b, -EINVAL, "a rule within a rule");
	if (!nft_name_ok(b, chain) || (comment && !nft_name_ok(b, comment)) ||
	    b->err.code)
		return;
	rule = nftnl_rule_alloc();
	if (!rule || nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, b->table) < 0 ||
	    nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain) < 0 ||
	    (comment && rule_comment(rule, comment) < 0)) {
		if (rule)
			nftnl_rule_free(rule);
		nft_batch_fail(b, -ENOMEM, "a rule");
		return;
	}
	b->rule = rule;
	b->rule_exprs = 0;
	b->rule_before = before;
}

void nft_rule_begin(struct nft_batch *b, const char *chain, const char *comment)
{
	rule_begin(b, chain, comment, 0);
}

void nft_rule_begin_before(struct nft_batch *b, const char *chain, uint64_t handle,
			   const char *comment)
{
	rule_begin(b, chain, comment, handle);
	/* NFTA_RULE_POSITION without NLM_F_APPEND: before it */
	if (b->rule && handle)
		nftnl_rule_set_u64(b->rule, NFTNL_RULE_POSITION, handle);
}

void nft_rule_end(struct nft_batch *b)
{
	uint16_t flags = b->rule_before ? NLM_F_CREATE : NLM_F_CREATE | NLM_F_APPEND;
	struct nlmsghdr *nlh;

	if (!b->rule) {
		nft_batch_fail(b, -EINVAL, "the end of no rule");
		return;
	}
	nlh = nft_message_begin(b, NFT_MSG_NEWRULE, flags);
	if (nlh) {
		nftnl_rule_nlmsg_build_payload(nlh, b->rule);
		nft_message_end(b, nlh);
	}
	nftnl_rule_free(b->rule);
	b->rule = NULL;
}

void nft_rule_del(struct nft_batch *b, const char *chain, uint64_t handle)
{
	struct nlmsghdr *nlh;

	if (!nft_name_ok(b, chain))
		return;
	nlh = nft_message_begin(b, NFT_MSG_DELRULE, 0);
	if (!nlh)
		return;
	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, b->table);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, chain);
	mnl_attr_put_u64(nlh, NFTA_RULE_HANDLE, htobe64(handle));
	nft_message_end(b, nlh);
}

/* --- matches --- */

void nft_match_family(struct nft_batch *b, uint8_t family)
{
	uint8_t proto = family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4;

	put_meta(b, NFT_META_NFPROTO, NFT_REG_1);
	put_cmp(b, true, &proto, sizeof(proto));
}

void nft_match_l4_ports(struct nft_batch *b)
{
	uint32_t id = nft_set_add_l4_ports(b);
	struct nftnl_expr *x;

	put_meta(b, NFT_META_L4PROTO, NFT_REG_1);
	x = put_lookup(b, NFT_ANONYMOUS_SET);
	if (x)
		nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_SET_ID, id);
}

void nft_match_l4proto(struct nft_batch *b, uint8_t proto)
{
	put_meta(b, NFT_META_L4PROTO, NFT_REG_1);
	put_cmp(b, true, &proto, sizeof(proto));
}

void nft_match_dport(struct nft_batch *b, uint16_t port)
{
	uint16_t be16 = htons(port);

	put_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, sizeof(be16), NFT_REG_1);
	put_cmp(b, true, &be16, sizeof(be16));
}

void nft_match_addr(struct nft_batch *b, enum nft_field field, const struct cidr *prefix,
		    bool equal)
{
	struct cidr network = cidr_network(prefix);
	uint32_t size = (uint32_t)addr_size(&network.addr);
	uint8_t mask[16] = {0};
	uint32_t i;

	put_family(b, network.addr.family);
	/* Whole bytes are compared without a mask, as nft does. */
	if (network.prefix > 0 && network.prefix % 8 == 0) {
		load_addr(b, field, network.addr.family, network.prefix / 8U, NFT_REG_1);
		put_cmp(b, equal, network.addr.bytes, network.prefix / 8U);
		return;
	}
	for (i = 0; i < network.prefix; i++)
		mask[i / 8] |= (uint8_t)(0x80U >> i % 8);
	load_addr(b, field, network.addr.family, size, NFT_REG_1);
	put_mask(b, mask, size);
	put_cmp(b, equal, network.addr.bytes, size);
}

void nft_match_addr_set(struct nft_batch *b, enum nft_field field, uint8_t family,
			const char *set, bool equal)
{
	struct nftnl_expr *x;

	put_family(b, family);
	load_addr(b, field, family, family_size(family), NFT_REG_1);
	x = put_lookup(b, set);
	if (x && !equal)
		nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
}

static void match_ifname(struct nft_batch *b, enum nft_meta_keys key, const char *name,
			 bool equal)
{
	char text[IFNAMSIZ] = "";
	size_t len = strlen(name);
	bool prefix = len > 1 && name[len - 1] == '*';

	if (len == 0 || str_copy(text, sizeof(text), name) < 0) {
		nft_batch_fail(b, -EINVAL, "name of an interface");
		return;
	}
	put_meta(b, key, NFT_REG_1);
	put_cmp(b, equal, text, prefix ? (uint32_t)len - 1 : sizeof(text));
}

void nft_match_iifname(struct nft_batch *b, const char *name, bool equal)
{
	match_ifname(b, NFT_META_IIFNAME, name, equal);
}

void nft_match_oifname(struct nft_batch *b, const char *name, bool equal)
{
	match_ifname(b, NFT_META_OIFNAME, name, equal);
}

void nft_match_mark(struct nft_batch *b, uint32_t mark, bool equal)
{
	put_meta(b, NFT_META_MARK, NFT_REG_1);
	put_cmp(b, equal, &mark, sizeof(mark));
}

void nft_match_daddr_local(struct nft_batch *b)
{
	struct nftnl_expr *x = expr_add(b, "fib");
	uint32_t local = RTN_LOCAL;

	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
	nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
	put_cmp(b, true, &local, sizeof(local));
}

static void match_ct_bits(struct nft_batch *b, enum nft_ct_keys key, uint32_t bits,
			  bool set)
{
	struct nftnl_expr *x = expr_add(b, "ct");
	uint32_t zero = 0;

	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(x, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	put_mask(b, &bits, sizeof(bits));
	put_cmp(b, !set, &zero, sizeof(zero));
}

void nft_match_ct_dnat(struct nft_batch *b, bool set)
{
	match_ct_bits(b, NFT_CT_STATUS, IPS_DST_NAT, set);
}

void nft_match_ct_new(struct nft_batch *b)
{
	match_ct_bits(b, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_NEW), true);
}

void nft_match_ct_established(struct nft_batch *b)
{
	match_ct_bits(b, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_ESTABLISHED), true);
}

/* --- actions --- */

void nft_act_accept(struct nft_batch *b)
{
	(void)put_verdict(b, NF_ACCEPT); /* an error is kept in the batch */
}

void nft_act_drop(struct nft_batch *b)
{
	(void)put_verdict(b, NF_DROP); /* an error is kept in the batch */
}

void nft_act_counter(struct nft_batch *b)
{
	(void)expr_add(b, "counter"); /* an error is kept in the batch */
}

void nft_act_jump(struct nft_batch *b, const char *chain)
{
	struct nftnl_expr *x = put_verdict(b, NFT_JUMP);

	if (x)
		set_text(b, x, NFTNL_EXPR_IMM_CHAIN, chain);
}

void nft_act_masquerade(struct nft_batch *b)
{
	(void)expr_add(b, "masq"); /* an error is kept in the batch */
}

void nft_act_snat(struct nft_batch *b, const struct addr *to)
{
	struct nat nat = {
		.type = NFT_NAT_SNAT, .family = to->family, .addr_reg = NFT_REG_1};

	put_data(b, NFT_REG_1, to->bytes, (uint32_t)addr_size(to));
	put_nat(b, &nat);
}

void nft_act_dnat(struct nft_batch *b, const struct addr *to, uint16_t port)
{
	struct nat nat = {
		.type = NFT_NAT_DNAT, .family = to->family, .addr_reg = NFT_REG_1};
	uint16_t be16 = htons(port);

	put_data(b, NFT_REG_1, to->bytes, (uint32_t)addr_size(to));
	if (port) {
		put_data(b, NFT_REG_2, &be16, sizeof(be16));
		nat.port_reg = NFT_REG_2;
		nat.flags = NF_NAT_RANGE_PROTO_SPECIFIED;
	}
	put_nat(b, &nat);
}

void nft_act_daddr_vmap(struct nft_batch *b, uint8_t family, const char *map)
{
	put_family(b, family);
	load_addr(b, NFT_FIELD_DADDR, family, family_size(family), NFT_REG_1);
	put_lookup_map(b, map, NFT_REG_VERDICT);
}

void nft_act_oifname_vmap(struct nft_batch *b, const char *map)
{
	put_meta(b, NFT_META_OIFNAME, NFT_REG_1);
	put_lookup_map(b, map, NFT_REG_VERDICT);
}

void nft_act_mark_from_daddr(struct nft_batch *b, uint8_t family, const char *map)
{
	struct nftnl_expr *x;

	put_family(b, family);
	load_addr(b, NFT_FIELD_DADDR, family, family_size(family), NFT_REG_1);
	put_lookup_map(b, map, NFT_REG_1);
	x = expr_add(b, "meta");
	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_META_KEY, NFT_META_MARK);
	nftnl_expr_set_u32(x, NFTNL_EXPR_META_SREG, NFT_REG_1);
}

static void put_numgen(struct nft_batch *b, enum nft_ng_types type, uint32_t modulus)
{
	struct nftnl_expr *x = expr_add(b, "numgen");

	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_NG_DREG, NFT_REG_1);
	nftnl_expr_set_u32(x, NFTNL_EXPR_NG_MODULUS, modulus);
	nftnl_expr_set_u32(x, NFTNL_EXPR_NG_TYPE, type);
	nftnl_expr_set_u32(x, NFTNL_EXPR_NG_OFFSET, 0);
}

static void put_jhash_saddr(struct nft_batch *b, uint8_t family, uint32_t modulus)
{
	struct nftnl_expr *x;

	put_family(b, family);
	load_addr(b, NFT_FIELD_SADDR, family, family_size(family), NFT_REG_2);
	x = expr_add(b, "hash");
	if (!x)
		return;
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_SREG, NFT_REG_2);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_DREG, NFT_REG_1);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_LEN, family_size(family));
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_MODULUS, modulus);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_SEED, JHASH_SEED);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_OFFSET, 0);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_TYPE, NFT_HASH_JENKINS);
}

void nft_act_dnat_spread(struct nft_batch *b, uint8_t family, enum nft_spread spread,
			 uint32_t count, const char *map)
{
	struct nat nat = {.type = NFT_NAT_DNAT, .family = family, .addr_reg = NFT_REG_1};

	switch (spread) {
	case NFT_SPREAD_INC:
		put_numgen(b, NFT_NG_INCREMENTAL, count);
		break;
	case NFT_SPREAD_RANDOM:
		put_numgen(b, NFT_NG_RANDOM, count);
		break;
	case NFT_SPREAD_SADDR:
		put_jhash_saddr(b, family, count);
		break;
	case NFT_SPREAD_COUNT:
		nft_batch_fail(b, -EINVAL, "a rule");
		break;
	}
	put_lookup_map(b, map, NFT_REG_1);
	put_nat(b, &nat);
}

/* The 32-bit register that follows size bytes in register 1. */
static uint32_t register_after(uint32_t size)
{
	return NFT_REG32_00 + size / NFT_REG32_SIZE;
}

void nft_act_dnat_from_port(struct nft_batch *b, uint8_t family, bool daddr,
			    const char *map)
{
	uint32_t size = family_size(family);
	struct nat nat = {.type = NFT_NAT_DNAT,
			  .family = family,
			  .addr_reg = NFT_REG_1,
			  .port_reg = register_after(size)};
	uint32_t used = 0;

	if (daddr) {
		put_family(b, family);
		load_addr(b, NFT_FIELD_DADDR, family, size, NFT_REG_1);
		used = size;
	}
	put_meta(b, NFT_META_L4PROTO, used ? register_after(used) : NFT_REG_1);
	put_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, sizeof(uint16_t),
		    register_after(used + NFT_REG32_SIZE));
	put_lookup_map(b, map, NFT_REG_1);
	put_nat(b, &nat);
}
