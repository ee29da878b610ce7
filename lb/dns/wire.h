/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_DNS_WIRE_H
#define LB_DNS_WIRE_H
/*
 * DNS messages (RFC 1035, EDNS0: RFC 6891) to and from bytes. Pure and bounded: no
 * memory is allocated, no compression pointer is followed, every count is limited by
 * the bytes that are there. Thread: any.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin/base/addr.h"

#define WIRE_HEADER_SIZE  12
#define WIRE_NAME_SIZE	  256 /* as text: 253 characters, at most */
#define WIRE_QUESTION_MAX (255 + 4)
#define WIRE_UDP_MIN	  512  /* what every client takes */
#define WIRE_UDP_MAX	  4096 /* the most we send, and c-ares 1.18 reads, in a datagram */
#define WIRE_MESSAGE_MAX  65535

#define WIRE_TYPE_A	1
#define WIRE_TYPE_PTR	12
#define WIRE_TYPE_AAAA	28
#define WIRE_TYPE_OPT	41
#define WIRE_CLASS_IN	1
#define WIRE_FLAG_QR	0x8000 /* an answer */
#define WIRE_FLAG_TC	0x0200 /* cut off */
#define WIRE_RCODE_MASK 0x000f

enum wire_rcode {
	WIRE_RCODE_NOERROR = 0,
	WIRE_RCODE_FORMERR = 1,
	WIRE_RCODE_SERVFAIL = 2,
	WIRE_RCODE_NXDOMAIN = 3,
	WIRE_RCODE_NOTIMP = 4,
	WIRE_RCODE_BADVERS = 16 /* needs EDNS */
};

struct wire_query {
	uint16_t id;
	uint16_t flags;
	uint16_t type;
	uint16_t class;
	/* Lower case, no final dot. "" for the root, and for a name that has no
	 * unambiguous text (a dot, space or control character within a label). */
	char name[WIRE_NAME_SIZE];
	uint8_t question[WIRE_QUESTION_MAX]; /* as it was sent */
	uint16_t question_size;		     /* 0: there was none that could be read */
	bool has_edns;
	bool dnssec_ok;
	uint8_t edns_version;
	uint16_t udp_size; /* that the client takes: WIRE_UDP_MIN..WIRE_UDP_MAX */
	size_t opt_offset; /* of its OPT record in the message; 0: none */
};

static inline uint16_t wire_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void wire_put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/*
 * Reads a question. -EINVAL: no header, or an answer: say nothing; -EBADMSG and
 * -EOPNOTSUPP: answer FORMERR or NOTIMP with wire_error(), for which *ret is good
 * also then. *ret is written always.
 */
int wire_parse_query(const uint8_t *msg, size_t size, struct wire_query *ret);

/* An address asked backwards: "4.3.2.1.in-addr.arpa" or under ip6.arpa, lower case.
 * -EINVAL: it is none. */
int wire_parse_reverse(const char *name, struct addr *ret);

/* An answer being built. Appending never fails: what does not fit sets TC. */
struct wire_answer {
	const struct wire_query *query; /* borrowed */
	uint8_t *data;			/* borrowed */
	size_t limit;			/* without the room kept for OPT */
	size_t size;
	uint16_t count;
	bool is_cut;
};

/* limit: of data, at least WIRE_UDP_MIN. */
void wire_answer_begin(struct wire_answer *a, const struct wire_query *q, uint8_t *data,
		       size_t limit);
/* An A or AAAA record of the name that was asked. */
void wire_answer_addr(struct wire_answer *a, const struct addr *addr, uint32_t ttl);
/* target: dots part its labels; what is no name is left out. */
void wire_answer_ptr(struct wire_answer *a, const char *target, uint32_t ttl);
/* Writes header and OPT (if one was asked for); returns the size. */
size_t wire_answer_end(struct wire_answer *a, enum wire_rcode rcode);

/* An answer without records; data has at least WIRE_UDP_MIN bytes. Returns the size. */
size_t wire_error(const struct wire_query *q, enum wire_rcode rcode, uint8_t *data);

/* msg is an answer whose only question is that of q, in any case. */
bool wire_answers(const uint8_t *msg, size_t size, const struct wire_query *q);

/*
 * Cuts an answer (for which wire_answers() was true) down to limit (WIRE_UDP_MIN or
 * more) and sets TC: answer records from the first on, as many as fit, and OPT.
 * Old musl takes addresses out of such an answer and knows no TCP. Returns the size.
 */
size_t wire_truncate(uint8_t *msg, size_t size, size_t limit);

#endif
