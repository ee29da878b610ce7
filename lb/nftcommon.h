/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_NFTCOMMON_H
#define LB_NFTCOMMON_H
/*
 * What both balancers have in the table "inet fairlead" of a namespace, which in task
 * and network sandboxes is theirs alone: the frame (a base chain that looks every
 * packet's destination up in a map of VIPs, the maps, the masquerade of a sandbox), and
 * the connection tracking entries that backends leave behind. Thread: kernel.
 */
#include "driver/kern/conntrack.h"
#include "driver/kern/nft.h"
#include "lb/addrlist.h"
#include "lb/balancer.h"

struct nftcommon;

#define NFTCOMMON_COMMENT_SIZE 128
#define NFTCOMMON_SETS_MAX     4

/* Index of a family in arrays: 0 = IPv4, 1 = IPv6. */
#define NFTCOMMON_FAMILIES 2
extern const uint8_t nftcommon_family[NFTCOMMON_FAMILIES];

/* How the frames of the two balancers differ. */
struct nftcommon_spec {
	const char *chain;	   /* the base chain */
	const char *foreign_chain; /* the other balancer's: a table with it is replaced */
	enum nft_chain_type type;
	int priority_task;    /* of hook output */
	int priority_sandbox; /* of hook prerouting */
	/* The maps of VIPs of both families come first. */
	struct nft_set sets[NFTCOMMON_SETS_MAX];
	unsigned int set_count;
	/* Appends the matches of packets that the rules below need not see; may be NULL.
	 */
	void (*skip)(struct nft_batch *b);
	/* Appends what follows "rule" for a family: its matches and its action. */
	void (*rule)(struct nft_batch *b, uint8_t family, const char *map);
	/* The value of a VIP's map for a mark, valid until the next call, and back (0:
	 * none of ours). */
	struct nft_value (*value)(uint32_t mark, unsigned int index, char *buf);
	uint32_t (*mark)(const struct nft_value *value);
	/* Counts open connections: TCP and SCTP established, flows of UDP. */
	int (*count)(struct nftcommon *c, struct conntrack_count *list,
		     unsigned int count, struct err *e);
};
#define NFTCOMMON_VALUE_SIZE 32 /* of buf */

/* The head of both implementations' objects. */
struct nftcommon {
	struct balancer balancer; /* first */
	const struct nftcommon_spec *spec;
	enum balancer_role role;
	struct nft_sock *nft;
	struct conntrack_sock *conntrack;
	struct cidr *subnets;
	unsigned int subnet_count;
};

/* Opens the sockets and copies the subnets; c->spec is set already. On error
 * nftcommon_fini frees the rest. */
int nftcommon_init(struct nftcommon *c, int nsfd, enum balancer_role role,
		   const struct cidr *subnets, unsigned int subnet_count, struct err *e);
void nftcommon_fini(struct nftcommon *c);

/*
 * Does the kernel take a frame of spec? Makes one with a name of its own in the
 * caller's namespace and deletes it in the same transaction; extra (may be NULL)
 * appends more.
 */
int nftcommon_probe(const struct nftcommon_spec *spec, void (*extra)(struct nft_batch *b),
		    struct err *e);

enum nftcommon_state {
	NFTCOMMON_STATE_NONE,	/* there is no table */
	NFTCOMMON_STATE_BROKEN, /* parts are missing, or it is another balancer's */
	NFTCOMMON_STATE_WHOLE,
	NFTCOMMON_STATE_COUNT
};

/* Looks at the frame in the kernel; negative errno. */
int nftcommon_state(struct nftcommon *c, struct err *e);
/* Appends the deletion of the table, if there is one, and a new frame. */
void nftcommon_append_frame(struct nftcommon *c, struct nft_batch *b);
/* Removes the table. */
int nftcommon_clear(struct nftcommon *c, struct err *e);

/* Reads the map of VIPs (or, with set, another set of the spec) into ret: address and
 * mark, sorted. A set that is not there or not of our making is empty. */
int nftcommon_read_set(struct nftcommon *c, unsigned int set, struct addrlist *ret,
		       struct err *e);

/* Appends an element of the map of VIPs of the family with this index. */
void nftcommon_append_vip(struct nftcommon *c, struct nft_batch *b, unsigned int index,
			  const struct addr *vip, uint32_t mark);
void nftcommon_remove_vip(struct nftcommon *c, struct nft_batch *b, unsigned int index,
			  const struct addr *vip);

/* The VIPs of a list of entries with their marks, sorted. */
int nftcommon_wanted_vips(const struct balancer_entry *list, unsigned int count,
			  unsigned int index, struct addrlist *ret);

/* Appends what makes a map of VIPs equal; adds to *repairs. */
int nftcommon_append_vip_diff(struct nftcommon *c, struct nft_batch *b,
			      unsigned int index, const struct addrlist *have,
			      const struct addrlist *want, unsigned int *repairs);

/* Connections of a VIP to a backend that is gone, to be forgotten. */
struct nftcommon_gone {
	struct conntrack_nat *items;
	unsigned int count;
	unsigned int room;
};

void nftcommon_gone_fini(struct nftcommon_gone *g);
int nftcommon_gone_add(struct nftcommon_gone *g, const struct addr *vip,
		       const struct addr *backend);
/* Adds the backends of old's VIPs that new_view (NULL: none) does not lead to. */
int nftcommon_gone_add_views(struct nftcommon_gone *g, const struct lb_view *old,
			     const struct lb_view *new_view);
/* Deletes the connection tracking entries. */
int nftcommon_forget(struct nftcommon *c, const struct nftcommon_gone *g, struct err *e);

/* balancer_ops.count of both. */
int nftcommon_count(struct balancer *b, const struct balancer_entry *views,
		    unsigned int view_count, struct balancer_count *list,
		    unsigned int list_count, struct err *e);

#endif
