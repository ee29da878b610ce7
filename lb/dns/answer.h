/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_DNS_ANSWER_H
#define LB_DNS_ANSWER_H
/*
 * What the zone says to a question, as a message. Pure: no I/O, no time; randomness is
 * an argument. Thread: loop.
 */
#include <stddef.h>
#include <stdint.h>

#include "lb/dns/wire.h"
#include "lb/dns/zone.h"

/*
 * Seconds that an answer may be kept. A VIP outlives its containers, but the lists of
 * backends ("tasks.web", dnsrr) must not lead to a dead one: one second spreads a
 * burst of questions and is shorter than any container's stop.
 */
#define ANSWER_TTL 1

/* Addresses in one answer at most: those of IPv6 still fit a message. */
#define ANSWER_ADDRS_MAX 1024

/*
 * Writes the answer to q into data (limit: at least WIRE_UDP_MIN) and returns its
 * size; 0: the zone does not know the name, ask elsewhere. A service's name is always
 * answered, without records for types and families that it does not have: Docker
 * would say NXDOMAIN, and musl then gives up on the name.
 */
size_t answer_write(const struct zone *z, const struct zone_client *client,
		    const struct wire_query *q, uint32_t random, uint8_t *data,
		    size_t limit);

#endif
