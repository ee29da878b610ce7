// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The DNS codec. A question's name may hold no compression pointer, and the names of
 * records are stepped over, never followed: so there is nothing that could loop. All
 * reading goes through a cursor that knows the end.
 */
#include "lb/dns/wire.h"

#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

#define LABEL_MAX     63
#define NAME_WIRE_MAX 255
#define OPT_SIZE      11 /* of an OPT record without options */
#define RR_FIXED      10 /* type, class, TTL, length */
#define FLAG_RD	      0x0100
#define FLAG_RA	      0x0080
#define FLAG_CD	      0x0010
#define OPCODE_MASK   0x7800
#define EDNS_DO	      0x8000

/* Offsets of the counts in the header. */
#define COUNT_QD 4
#define COUNT_AN 6
#define COUNT_NS 8
#define COUNT_AR 10

struct cursor {
	const uint8_t *data;
	size_t size;
	size_t at;
};

struct record {
	size_t start;
	size_t end;
	uint16_t type;
	uint16_t class;
	uint32_t ttl;
	bool is_root; /* its name */
};

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static void put32(uint8_t *p, uint32_t v)
{
	wire_put16(p, (uint16_t)(v >> 16));
	wire_put16(p + 2, (uint16_t)v);
}

/* Steps over a record's name: labels, then the root or a pointer. */
static int skip_name(struct cursor *c)
{
	size_t start = c->at;

	while (c->at < c->size && c->at - start < NAME_WIRE_MAX) {
		uint8_t len = c->data[c->at];

		if (len == 0) {
			c->at++;
			return 0;
		}
		if ((len & 0xc0) == 0xc0) {
			c->at += 2;
			return c->at <= c->size ? 0 : -EBADMSG;
		}
		if (len > LABEL_MAX)
			return -EBADMSG;
		c->at += 1 + (size_t)len;
	}
	return -EBADMSG;
}

static int read_record(struct cursor *c, struct record *ret)
{
	const uint8_t *p;
	size_t length;

	ret->start = c->at;
	if (skip_name(c) < 0 || c->size - c->at < RR_FIXED)
		return -EBADMSG;
	ret->is_root = c->at == ret->start + 1;
	p = c->data + c->at;
	ret->type = wire_get16(p);
	ret->class = wire_get16(p + 2);
	ret->ttl = (uint32_t)wire_get16(p + 4) << 16 | wire_get16(p + 6);
	length = wire_get16(p + 8);
	c->at += RR_FIXED;
	if (c->size - c->at < length)
		return -EBADMSG;
	c->at += length;
	ret->end = c->at;
	return 0;
}

/* Appends one label to text; false: it has no unambiguous text. */
static bool label_to_text(const uint8_t *label, size_t len, char *text, size_t *used)
{
	if (*used > 0)
		text[(*used)++] = '.';
	for (size_t i = 0; i < len; i++) {
		if (label[i] <= ' ' || label[i] >= 127 || label[i] == '.')
			return false;
		text[(*used)++] = (char)lower(label[i]);
	}
	return true;
}

/* A name takes at most 255 bytes, with a length byte per label and the root: its text
 * has at most 253 characters. */
static int read_question_name(struct cursor *c, char text[WIRE_NAME_SIZE])
{
	size_t start = c->at;
	size_t used = 0;
	bool plain = true;

	while (c->at < c->size) {
		size_t len = c->data[c->at++];

		if (len == 0) {
			text[plain ? used : 0] = '\0';
			return 0;
		}
		if (len > LABEL_MAX || c->size - c->at < len ||
		    c->at + len + 1 - start > NAME_WIRE_MAX)
			return -EBADMSG;
		plain = plain && label_to_text(c->data + c->at, len, text, &used);
		c->at += len;
	}
	return -EBADMSG;
}

static int read_question(struct cursor *c, struct wire_query *ret)
{
	size_t start = c->at;

	if (read_question_name(c, ret->name) < 0 || c->size - c->at < 4) {
		ret->name[0] = '\0';
		return -EBADMSG;
	}
	ret->type = wire_get16(c->data + c->at);
	ret->class = wire_get16(c->data + c->at + 2);
	c->at += 4;
	ret->question_size = (uint16_t)(c->at - start);
	memcpy(ret->question, c->data + start, ret->question_size);
	return 0;
}

static int take_opt(struct wire_query *q, const struct record *rr)
{
	if (q->has_edns || !rr->is_root)
		return -EBADMSG;
	q->has_edns = true;
	q->opt_offset = rr->start;
	q->edns_version = (uint8_t)(rr->ttl >> 16);
	q->dnssec_ok = rr->ttl & EDNS_DO;
	q->udp_size = rr->class;
	if (q->udp_size < WIRE_UDP_MIN)
		q->udp_size = WIRE_UDP_MIN;
	if (q->udp_size > WIRE_UDP_MAX)
		q->udp_size = WIRE_UDP_MAX;
	return 0;
}

int wire_parse_query(const uint8_t *msg, size_t size, struct wire_query *ret)
{
	struct cursor c = {.data = msg, .size = size, .at = WIRE_HEADER_SIZE};
	struct record rr;
	uint32_t count;
	uint32_t additional;

	memset(ret, 0, sizeof(*ret));
	ret->udp_size = WIRE_UDP_MIN;
	if (size < WIRE_HEADER_SIZE || size > WIRE_MESSAGE_MAX)
		return -EINVAL;
	ret->id = wire_get16(msg);
	ret->flags = wire_get16(msg + 2);
	if (ret->flags & WIRE_FLAG_QR)
		return -EINVAL;
	if (ret->flags & OPCODE_MASK)
		return -EOPNOTSUPP;
	if (wire_get16(msg + COUNT_QD) != 1 || read_question(&c, ret) < 0)
		return -EBADMSG;
	additional = wire_get16(msg + COUNT_AR);
	count = (uint32_t)wire_get16(msg + COUNT_AN) + wire_get16(msg + COUNT_NS) +
		additional;
	for (; count > 0; count--) {
		if (read_record(&c, &rr) < 0)
			return -EBADMSG;
		if (rr.type == WIRE_TYPE_OPT &&
		    (count > additional || take_opt(ret, &rr) < 0))
			return -EBADMSG;
	}
	return 0;
}

static int parse_reverse6(const char *name, struct addr *ret)
{
	static const char digits[] = "0123456789abcdef";

	memset(ret, 0, sizeof(*ret));
	ret->family = AF_INET6;
	for (int i = 31; i >= 0; i--, name += 2) {
		const char *digit = *name ? strchr(digits, *name) : NULL;
		uint8_t value;

		if (!digit || name[1] != '.')
			return -EINVAL;
		value = (uint8_t)(digit - digits);
		ret->bytes[i / 2] |= (uint8_t)(i % 2 ? value : value << 4);
	}
	return strcmp(name, "ip6.arpa") ? -EINVAL : 0;
}

static int parse_reverse4(const char *name, struct addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->family = AF_INET;
	for (int i = 3; i >= 0; i--) {
		size_t len = strcspn(name, ".");
		char digits[4] = "";
		uint32_t value;

		if (len == 0 || len > 3 || !name[len] || (len > 1 && *name == '0'))
			return -EINVAL;
		memcpy(digits, name, len);
		if (str_to_u32(digits, 0, 255, &value) < 0)
			return -EINVAL;
		ret->bytes[i] = (uint8_t)value;
		name += len + 1;
	}
	return strcmp(name, "in-addr.arpa") ? -EINVAL : 0;
}

int wire_parse_reverse(const char *name, struct addr *ret)
{
	struct addr a;

	if (parse_reverse4(name, &a) < 0 && parse_reverse6(name, &a) < 0)
		return -EINVAL;
	*ret = a;
	return 0;
}

void wire_answer_begin(struct wire_answer *a, const struct wire_query *q, uint8_t *data,
		       size_t limit)
{
	*a = (struct wire_answer){.query = q, .data = data};
	a->limit = limit - (q->has_edns ? OPT_SIZE : 0);
	memset(data, 0, WIRE_HEADER_SIZE);
	memcpy(data + WIRE_HEADER_SIZE, q->question, q->question_size);
	a->size = WIRE_HEADER_SIZE + q->question_size;
}

/* Room for one record of the asked name, its length still to be filled in; NULL: full. */
static uint8_t *answer_record(struct wire_answer *a, uint16_t type, uint32_t ttl,
			      size_t length)
{
	uint8_t *p = a->data + a->size;

	if (a->is_cut || a->limit - a->size < 2 + RR_FIXED + length) {
		a->is_cut = true;
		return NULL;
	}
	wire_put16(p, 0xc000 | WIRE_HEADER_SIZE); /* the name in the question */
	wire_put16(p + 2, type);
	wire_put16(p + 4, WIRE_CLASS_IN);
	put32(p + 6, ttl);
	wire_put16(p + 10, (uint16_t)length);
	a->size += 2 + RR_FIXED + length;
	a->count++;
	return p + 2 + RR_FIXED;
}

void wire_answer_addr(struct wire_answer *a, const struct addr *addr, uint32_t ttl)
{
	uint16_t type = addr->family == AF_INET ? WIRE_TYPE_A : WIRE_TYPE_AAAA;
	uint8_t *p = answer_record(a, type, ttl, addr_size(addr));

	if (p)
		memcpy(p, addr->bytes, addr_size(addr));
}

/* Returns the bytes used, or 0. */
static size_t name_to_wire(const char *name, uint8_t wire[NAME_WIRE_MAX])
{
	size_t used = 0;

	while (*name) {
		size_t len = strcspn(name, ".");

		if (len == 0 || len > LABEL_MAX || used + len + 2 > NAME_WIRE_MAX)
			return 0;
		wire[used++] = (uint8_t)len;
		memcpy(wire + used, name, len);
		used += len;
		name += len + (name[len] ? 1 : 0);
	}
	wire[used++] = 0;
	return used;
}

void wire_answer_ptr(struct wire_answer *a, const char *target, uint32_t ttl)
{
	uint8_t wire[NAME_WIRE_MAX];
	size_t len = name_to_wire(target, wire);
	uint8_t *p = len ? answer_record(a, WIRE_TYPE_PTR, ttl, len) : NULL;

	if (p)
		memcpy(p, wire, len);
}

static void put_opt(uint8_t *p, const struct wire_query *q, enum wire_rcode rcode)
{
	memset(p, 0, OPT_SIZE);
	wire_put16(p + 1, WIRE_TYPE_OPT);
	wire_put16(p + 3, WIRE_UDP_MAX);
	p[5] = (uint8_t)(rcode >> 4);
	if (q->dnssec_ok) /* RFC 3225: copied */
		wire_put16(p + 7, EDNS_DO);
}

size_t wire_answer_end(struct wire_answer *a, enum wire_rcode rcode)
{
	const struct wire_query *q = a->query;
	uint16_t flags = WIRE_FLAG_QR | FLAG_RA;

	flags |= q->flags & (OPCODE_MASK | FLAG_RD | FLAG_CD);
	flags |= (uint16_t)(rcode & WIRE_RCODE_MASK);
	if (a->is_cut)
		flags |= WIRE_FLAG_TC;
	wire_put16(a->data, q->id);
	wire_put16(a->data + 2, flags);
	wire_put16(a->data + COUNT_QD, q->question_size ? 1 : 0);
	wire_put16(a->data + COUNT_AN, a->count);
	wire_put16(a->data + COUNT_AR, q->has_edns ? 1 : 0);
	if (!q->has_edns)
		return a->size;
	put_opt(a->data + a->size, q, rcode);
	return a->size + OPT_SIZE;
}

size_t wire_error(const struct wire_query *q, enum wire_rcode rcode, uint8_t *data)
{
	struct wire_answer a;

	wire_answer_begin(&a, q, data, WIRE_UDP_MIN);
	return wire_answer_end(&a, rcode);
}

/* The length bytes of labels are below 'A', so the name can be compared as one. */
bool wire_answers(const uint8_t *msg, size_t size, const struct wire_query *q)
{
	size_t name_size = q->question_size - 4U;

	if (q->question_size < 5 || size < WIRE_HEADER_SIZE + (size_t)q->question_size ||
	    !(wire_get16(msg + 2) & WIRE_FLAG_QR) || wire_get16(msg + COUNT_QD) != 1)
		return false;
	msg += WIRE_HEADER_SIZE;
	for (size_t i = 0; i < name_size; i++)
		if (lower(msg[i]) != lower(q->question[i]))
			return false;
	return !memcmp(msg + name_size, q->question + name_size, 4);
}

/* The OPT record of an answer, read from behind its answer records on. */
static bool find_opt(struct cursor c, uint32_t count, struct record *ret)
{
	for (; count > 0 && read_record(&c, ret) == 0; count--)
		if (ret->type == WIRE_TYPE_OPT && ret->is_root)
			return true;
	return false;
}

/* Moves c behind the last of the answer records that end below limit. */
static uint16_t keep_records(struct cursor *c, uint16_t count, size_t limit)
{
	struct cursor next = *c;
	struct record rr;
	uint16_t kept = 0;

	while (kept < count && read_record(&next, &rr) == 0 && rr.end <= limit) {
		*c = next;
		kept++;
	}
	return kept;
}

size_t wire_truncate(uint8_t *msg, size_t size, size_t limit)
{
	struct cursor c = {.data = msg, .size = size, .at = WIRE_HEADER_SIZE};
	uint16_t answers = wire_get16(msg + COUNT_AN);
	struct cursor rest;
	struct record opt;
	size_t opt_size = 0;

	if (size <= limit)
		return size;
	(void)skip_name(&c); /* was compared with the question asked */
	c.at += 4;
	rest = c;
	if (keep_records(&rest, answers, size) == answers &&
	    find_opt(rest,
		     (uint32_t)wire_get16(msg + COUNT_NS) + wire_get16(msg + COUNT_AR),
		     &opt) &&
	    opt.end - opt.start <= limit - c.at)
		opt_size = opt.end - opt.start;
	wire_put16(msg + COUNT_AN, keep_records(&c, answers, limit - opt_size));
	wire_put16(msg + COUNT_NS, 0);
	wire_put16(msg + COUNT_AR, opt_size ? 1 : 0);
	wire_put16(msg + 2, wire_get16(msg + 2) | WIRE_FLAG_TC);
	if (opt_size)
		memmove(msg + c.at, msg + opt.start, opt_size);
	return c.at + opt_size;
}
