/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_KERN_NFT_INTERNAL_H
#define DRIVER_KERN_NFT_INTERNAL_H
/*
 * What the nft*.c files share: nft.c owns the buffer of a batch, nft_talk.c the socket
 * and the talk with the kernel, nft_set.c the coding of values, nft_rule.c appends
 * expressions, nft_dump.c reads back. Nobody else includes this.
 */
#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/kern/nft.h"
#include "plugin/base/err.h"

struct nftnl_rule;

#define NFT_NAME_SIZE	  128	/* of tables, chains, sets, comments; with the end */
#define NFT_MESSAGE_SIZE  16384 /* no message but one with elements is longer */
#define NFT_RULE_EXPR_MAX 64	/* so that a rule fits a message */
#define NFT_VALUE_SIZE	  32	/* the longest key or value */

struct nft_message {
	size_t offset;	   /* in the buffer; the sequence number is base + index */
	enum nft_type key; /* of a message with elements */
};

struct nft_batch {
	enum nft_family family;
	char table[NFT_NAME_SIZE];
	char *buf;
	size_t size;
	size_t room;
	struct nft_message *messages; /* the first one opens the batch */
	size_t count;
	size_t messages_room;
	struct err err; /* the first error of appending */

	/* The last message takes more elements of this set. */
	struct {
		bool open;
		uint16_t type;
		char set[NFT_NAME_SIZE];
		size_t list_offset;
	} elems;

	uint32_t set_id;	 /* of the last new set of the batch */
	struct nftnl_rule *rule; /* between nft_rule_begin and nft_rule_end */
	unsigned int rule_exprs;
	uint64_t rule_before; /* handle, 0: at the end */
};

struct nft_sock {
	int fd;
	uint32_t seq;
	size_t send_room; /* SO_SNDBUF that was asked for */
};

/* --- nft.c --- */

/* The first error stays. code is a negative errno. */
void nft_batch_fail(struct nft_batch *b, int code, const char *what);
/*
 * Opens a message at the end of the buffer, with room for NFT_MESSAGE_SIZE bytes,
 * or returns NULL when the batch has failed. Ended by nft_message_end.
 */
struct nlmsghdr *nft_message_begin(struct nft_batch *b, uint16_t type, uint16_t flags);
void nft_message_end(struct nft_batch *b, const struct nlmsghdr *nlh);
/* Makes room for size more bytes at the end; the buffer may move. */
int nft_batch_reserve(struct nft_batch *b, size_t size);
/* A name that fits; else the batch fails. */
bool nft_name_ok(struct nft_batch *b, const char *name);
/* NFPROTO_*. */
uint8_t nft_family_number(enum nft_family family);
/* "inet", "ip", "ip6". */
const char *nft_family_name(enum nft_family family);

/* --- nft_talk.c --- */

int nft_send(struct nft_sock *ns, const void *buf, size_t size);

struct nft_refusal {
	int code; /* 0: none */
	uint32_t seq;
	uint32_t offset; /* of the attribute in the refused message, 0: not told */
	char text[128];	 /* the kernel's, or "" */
};

/* Reads all replies to what was sent; *ret (zeroed) is the first refusal. Without one,
 * last_seq must have been acknowledged. */
int nft_read_replies(struct nft_sock *ns, uint32_t last_seq, struct nft_refusal *ret);
/*
 * Sends one request that only reads and calls fn for each message of the answer. A
 * dump that was interrupted by a change is -EINTR, after its end.
 */
int nft_request(struct nft_sock *ns, struct nlmsghdr *nlh,
		int (*fn)(const struct nlmsghdr *nlh, void *ctx), void *ctx);

#define NFT_ANONYMOUS_SET "__set%d" /* the kernel puts a number in */

/* --- nft_set.c --- */

/* Size of a key or value; 0 for NONE and VERDICT. */
size_t nft_type_size(enum nft_type type);
/* Writes v in the kernel's form; -EINVAL if it is not of its type. */
int nft_value_encode(const struct nft_value *v, uint8_t ret[NFT_VALUE_SIZE]);
/* ret_name takes the text of IFNAME (at least IFNAMSIZ). -EINVAL: wrong size. */
int nft_value_decode(enum nft_type type, const void *data, size_t size,
		     struct nft_value *ret, char *ret_name);
/* For messages: the value as text. */
void nft_value_format(const struct nft_value *v, char *buf, size_t size);
/* Appends "{ tcp, udp, sctp }" as a set without a name; returns its id. */
uint32_t nft_set_add_l4_ports(struct nft_batch *b);

#endif
