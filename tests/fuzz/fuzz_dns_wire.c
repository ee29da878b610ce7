// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libFuzzer target: a message as a question; and, made an answer to a fixed question,
 * cut down, as the forwarder does with what the resolver says.
 */
#include "lb/dns/wire.h"
#include "plugin/base/mem.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free uint8_t *copy = malloc(size + 1);
	uint8_t out[WIRE_UDP_MIN];
	struct wire_query q;
	struct addr a;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (wire_parse_query(copy, size, &q) != 0) {
		(void)wire_error(&q, WIRE_RCODE_FORMERR, out);
		return 0;
	}
	(void)wire_parse_reverse(q.name, &a);
	copy[2] |= WIRE_FLAG_QR >> 8;
	if (!wire_answers(copy, size, &q) ||
	    wire_truncate(copy, size, WIRE_UDP_MIN) > WIRE_MESSAGE_MAX)
		__builtin_trap();
	return 0;
}
