/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_DNS_FORWARD_H
#define LB_DNS_FORWARD_H
/*
 * Asks Docker's resolver at 127.0.0.11 port 53 of one task, by UDP and, for answers
 * that are cut off, by TCP. Answers pass through as they are, also SERVFAIL and
 * NXDOMAIN. Thread: loop.
 */
#include <systemd/sd-event.h>

#include "lb/dns/wire.h"
#include "plugin/base/err.h"
#include "plugin/base/map.h"

#define FORWARD_ADDR "127.0.0.11"
/* As long as Docker waits for one upstream server; asked twice, the second time with
 * twice the patience. */
#define FORWARD_TIMEOUT_MS 4000

struct forward;

/* A question on its way; embedded in what the caller knows about it. */
struct forward_query {
	/*
	 * Called once, possibly within forward_send. answer has the id that the client
	 * chose and may be changed; it dies with the call. NULL: none came. The query
	 * is the caller's again.
	 */
	void (*done)(struct forward_query *q, uint8_t *answer, size_t size);
	const struct wire_query *query; /* borrowed */

	/* of forward.c */
	UT_hash_handle hh;
	struct forward *forward;
	uint16_t id; /* ours */
	uint8_t *datagram;
	size_t datagram_size;
};

/*
 * Nothing is opened until the first question. nsfd is borrowed and must outlive the
 * forwarder. -ENOMEM.
 */
int forward_new(sd_event *event, int nsfd, unsigned int timeout_ms, struct forward **ret,
		struct err *e);
/* done is called no more: queries on their way are the caller's again. */
void forward_free(struct forward *f);

/*
 * Sends msg, from which q->query was read (it is changed meanwhile, and left as it
 * was). After an error (-ENOMEM, -EBUSY) q->done is not called.
 */
int forward_send(struct forward *f, struct forward_query *q, uint8_t *msg, size_t size,
		 struct err *e);

#endif
