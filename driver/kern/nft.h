/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_KERN_NFT_H
#define DRIVER_KERN_NFT_H
/*
 * nftables by netlink: one batch = one transaction = one send. The only place with
 * libnftnl. Appending to a batch never fails visibly: the first error is kept and
 * reported by nft_commit. Thread: kernel.
 */
#include <stdbool.h>
#include <stdint.h>

#include "plugin/base/addr.h"
#include "plugin/base/err.h"

#define NFT_TABLE "fairlead" /* our table's name, family inet, in every namespace */

struct nft_sock;

/* Opens a socket into nsfd (-1: own). */
int nft_open(int nsfd, struct nft_sock **ret, struct err *e);
void nft_close(struct nft_sock *ns);

struct nft_batch;

enum nft_family {
	NFT_FAMILY_INET,
	NFT_FAMILY_IPV4,
	NFT_FAMILY_IPV6,
	NFT_FAMILY_COUNT
};

/* All appended objects are in this table unless said otherwise. NULL on ENOMEM. */
struct nft_batch *nft_batch_new(enum nft_family family, const char *table);
void nft_batch_free(struct nft_batch *b);
/*
 * Sends the batch, reads every reply and empties the batch (also on error). The text
 * names the object of the first refused message and the kernel's errno. 0 for an
 * empty batch.
 */
int nft_commit(struct nft_sock *ns, struct nft_batch *b, struct err *e);

/* Exists already: success. owner: the kernel removes the table when the socket that
 * commits this closes (Linux 5.12). */
void nft_table_add(struct nft_batch *b, bool owner);
/* Makes it first, so that deleting what is not there is no error. */
void nft_table_del(struct nft_batch *b);

enum nft_hook {
	NFT_HOOK_PREROUTING,
	NFT_HOOK_INPUT,
	NFT_HOOK_FORWARD,
	NFT_HOOK_OUTPUT,
	NFT_HOOK_POSTROUTING,
	NFT_HOOK_COUNT
};
enum nft_chain_type {
	NFT_CHAIN_TYPE_FILTER,
	NFT_CHAIN_TYPE_ROUTE,
	NFT_CHAIN_TYPE_NAT,
	NFT_CHAIN_TYPE_COUNT
};

/* A base chain with policy accept. */
void nft_chain_add_base(struct nft_batch *b, const char *chain, enum nft_chain_type type,
			enum nft_hook hook, int priority);
void nft_chain_add(struct nft_batch *b, const char *chain);
void nft_chain_flush(struct nft_batch *b, const char *chain);
/* Flushes first. */
void nft_chain_del(struct nft_batch *b, const char *chain);

/* Types of set keys and map values. */
enum nft_type {
	NFT_TYPE_NONE, /* a set, not a map */
	NFT_TYPE_IPV4,
	NFT_TYPE_IPV6,
	NFT_TYPE_MARK, /* a number in host order, also the result of numgen */
	NFT_TYPE_IFNAME,
	NFT_TYPE_VERDICT,    /* goto/jump to a chain: values only */
	NFT_TYPE_PROTO_PORT, /* concatenation inet_proto . inet_service: keys only */
	NFT_TYPE_IPV4_PORT,  /* concatenation ipv4_addr . inet_service: values only */
	NFT_TYPE_IPV6_PORT,
	NFT_TYPE_IPV4_PROTO_PORT, /* ipv4_addr . inet_proto . inet_service: keys only */
	NFT_TYPE_IPV6_PROTO_PORT,
	NFT_TYPE_COUNT
};

struct nft_value {
	enum nft_type type;
	struct addr addr;
	uint32_t number;  /* MARK */
	uint8_t proto;	  /* *_PROTO_PORT */
	uint16_t port;	  /* host order */
	const char *name; /* IFNAME; the chain of a VERDICT (always goto) */
	uint8_t prefix;	  /* only in nft_elem_list of an interval set: its length */
};

struct nft_set {
	const char *name;
	enum nft_type key;
	enum nft_type value; /* NFT_TYPE_NONE: a plain set */
	bool interval;	     /* elements may be prefixes */
};

/* The set's name is unique in the table; exists already: success. */
void nft_set_add(struct nft_batch *b, const struct nft_set *set);
void nft_set_del(struct nft_batch *b, const char *name);
void nft_set_flush(struct nft_batch *b, const char *name);
/* value NULL for plain sets. Adding what is there is success for an equal value,
 * an error for another one. */
void nft_elem_add(struct nft_batch *b, const struct nft_set *set,
		  const struct nft_value *key, const struct nft_value *value);
/* Deleting what is not there is an error of the whole batch. */
void nft_elem_del(struct nft_batch *b, const struct nft_set *set,
		  const struct nft_value *key);
/* For interval sets. */
void nft_elem_add_prefix(struct nft_batch *b, const struct nft_set *set,
			 const struct cidr *prefix);
void nft_elem_del_prefix(struct nft_batch *b, const struct nft_set *set,
			 const struct cidr *prefix);

/*
 * Rules are appended to a chain: nft_rule_begin, matches and one action in order,
 * nft_rule_end. comment may be NULL and is shown by `nft list`.
 */
void nft_rule_begin(struct nft_batch *b, const char *chain, const char *comment);
/* Inserts before the rule with this handle instead (used in chains of others); 0: at the
 * end. */
void nft_rule_begin_before(struct nft_batch *b, const char *chain, uint64_t handle,
			   const char *comment);
void nft_rule_end(struct nft_batch *b);
/* Deletes the rule with this handle. */
void nft_rule_del(struct nft_batch *b, const char *chain, uint64_t handle);

enum nft_field {
	NFT_FIELD_SADDR,
	NFT_FIELD_DADDR
};

/* "meta nfproto ipv4|ipv6" */
void nft_match_family(struct nft_batch *b, uint8_t family);
/* "meta l4proto { tcp, udp, sctp }" */
void nft_match_l4_ports(struct nft_batch *b);
/* "meta l4proto PROTO" */
void nft_match_l4proto(struct nft_batch *b, uint8_t proto);
/* "th dport PORT" */
void nft_match_dport(struct nft_batch *b, uint16_t port);
/* "ip|ip6 saddr|daddr [!=] PREFIX", with its nfproto match */
void nft_match_addr(struct nft_batch *b, enum nft_field field, const struct cidr *prefix,
		    bool equal);
/* "ip|ip6 saddr|daddr [!=] @set", with its nfproto match */
void nft_match_addr_set(struct nft_batch *b, enum nft_field field, uint8_t family,
			const char *set, bool equal);
/* "iifname|oifname [!=] NAME"; a trailing '*' matches a prefix */
void nft_match_iifname(struct nft_batch *b, const char *name, bool equal);
void nft_match_oifname(struct nft_batch *b, const char *name, bool equal);
/* "meta mark [!=] VALUE" */
void nft_match_mark(struct nft_batch *b, uint32_t mark, bool equal);
/* "fib daddr type local" */
void nft_match_daddr_local(struct nft_batch *b);
/* "ct status dnat" (set) or "ct status & dnat == 0" (not set) */
void nft_match_ct_dnat(struct nft_batch *b, bool set);
/* "ct state { new }" */
void nft_match_ct_new(struct nft_batch *b);
/* "ct state { established }" */
void nft_match_ct_established(struct nft_batch *b);

void nft_act_accept(struct nft_batch *b);
void nft_act_drop(struct nft_batch *b);
/* "counter", before a verdict */
void nft_act_counter(struct nft_batch *b);
void nft_act_jump(struct nft_batch *b, const char *chain);
void nft_act_masquerade(struct nft_batch *b);
/* "snat ip|ip6 to ADDR" */
void nft_act_snat(struct nft_batch *b, const struct addr *to);
/* "dnat ip|ip6 to ADDR[:PORT]", port 0 = kept */
void nft_act_dnat(struct nft_batch *b, const struct addr *to, uint16_t port);
/* "ip|ip6 daddr vmap @map", with its nfproto match */
void nft_act_daddr_vmap(struct nft_batch *b, uint8_t family, const char *map);
/* "oifname vmap @map" */
void nft_act_oifname_vmap(struct nft_batch *b, const char *map);
/* "meta mark set ip|ip6 daddr map @map", with its nfproto match */
void nft_act_mark_from_daddr(struct nft_batch *b, uint8_t family, const char *map);

enum nft_spread {
	NFT_SPREAD_INC,	   /* numgen inc mod N */
	NFT_SPREAD_RANDOM, /* numgen random mod N */
	NFT_SPREAD_SADDR,  /* jhash ip saddr mod N */
	NFT_SPREAD_COUNT
};

/* "dnat ip|ip6 to <spread> mod COUNT map @map" (map: MARK -> address) */
void nft_act_dnat_spread(struct nft_batch *b, uint8_t family, enum nft_spread spread,
			 uint32_t count, const char *map);
/*
 * "dnat ip|ip6 to meta l4proto . th dport map @map" (map: PROTO_PORT -> *_PORT), or
 * with daddr: "ip|ip6 daddr . meta l4proto . th dport map @map" (map:
 * *_PROTO_PORT -> *_PORT). A packet that is not in the map goes on.
 */
void nft_act_dnat_from_port(struct nft_batch *b, uint8_t family, bool daddr,
			    const char *map);

/*
 * Reading back, for repair. fn gets each element; key and value live during the call; an
 * error of fn ends it and is returned. value is NULL for plain sets. Of interval sets
 * fn gets prefixes (key.addr and key.prefix). A verdict that is not "goto" has the name
 * "". -ENOENT: no such set; -EUCLEAN: it has other types or ranges than ours.
 */
int nft_elem_list(struct nft_sock *ns, const char *table, const struct nft_set *set,
		  int (*fn)(void *ctx, const struct nft_value *key,
			    const struct nft_value *value),
		  void *ctx, struct err *e);
/* Number of rules in a chain of inet TABLE, or -ENOENT when chain or table are not there.
 */
int nft_rule_count(struct nft_sock *ns, const char *table, const char *chain,
		   struct err *e);
/* Is there a table/chain of this family? 1, 0 or -errno. chain NULL: any. */
int nft_chain_exists(struct nft_sock *ns, enum nft_family family, const char *table,
		     const char *chain, struct err *e);
/* A rule of the chain whose comment is this text: 1, 0 or -errno. */
int nft_rule_exists(struct nft_sock *ns, enum nft_family family, const char *table,
		    const char *chain, const char *comment, struct err *e);

#define NFT_RULES_MAX 16

struct nft_rules {
	unsigned int count; /* rules with the comment, at most NFT_RULES_MAX */
	uint64_t handles[NFT_RULES_MAX];
	bool at_end;  /* no rule of others follows one of them before the end */
	uint64_t end; /* the first plain "return": what follows it is without effect. 0:
		       * there is none. One of ours behind it is not at_end. */
};

struct nft_place {
	enum nft_family family;
	const char *table;
	const char *chain;
};

/* Looks for the rules of a chain with this comment. No such chain: none. */
int nft_rule_find(struct nft_sock *ns, const struct nft_place *place, const char *comment,
		  struct nft_rules *ret, struct err *e);

#endif
