// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Answers from memory: joins the zone (names) with the codec (bytes). Only class IN;
 * all that the zone does not know is left to the forwarder.
 */
#include "lb/dns/answer.h"

static size_t write_reverse(const struct zone *z, const struct zone_client *client,
			    struct wire_answer *a)
{
	struct addr addr;
	const char *name;

	if (wire_parse_reverse(a->query->name, &addr) < 0)
		return 0;
	name = zone_reverse(z, client, &addr);
	if (!name)
		return 0;
	wire_answer_ptr(a, name, ANSWER_TTL);
	return wire_answer_end(a, WIRE_RCODE_NOERROR);
}

static size_t write_addrs(const struct zone *z, const struct zone_client *client,
			  uint32_t random, struct wire_answer *a)
{
	struct addr addrs[ANSWER_ADDRS_MAX];
	uint16_t type = a->query->type;
	uint8_t family = type == WIRE_TYPE_AAAA ? AF_INET6 : AF_INET;
	struct zone_answer found = {.list = addrs};

	if (type == WIRE_TYPE_A || type == WIRE_TYPE_AAAA)
		found.max = ANSWER_ADDRS_MAX;
	if (zone_lookup(z, client, a->query->name, family, random, &found) !=
	    ZONE_RESULT_FOUND)
		return 0;
	if (a->query->edns_version > 0)
		return wire_answer_end(a, WIRE_RCODE_BADVERS);
	for (unsigned int i = 0; i < found.count; i++)
		wire_answer_addr(a, &addrs[i], ANSWER_TTL);
	return wire_answer_end(a, WIRE_RCODE_NOERROR);
}

size_t answer_write(const struct zone *z, const struct zone_client *client,
		    const struct wire_query *q, uint32_t random, uint8_t *data,
		    size_t limit)
{
	struct wire_answer a;

	if (q->class != WIRE_CLASS_IN || !q->name[0])
		return 0;
	wire_answer_begin(&a, q, data, limit);
	if (q->type == WIRE_TYPE_PTR) {
		size_t size = write_reverse(z, client, &a);

		if (size)
			return size;
	}
	return write_addrs(z, client, random, &a);
}
