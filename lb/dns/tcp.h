/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_DNS_TCP_H
#define LB_DNS_TCP_H
/*
 * DNS over TCP for one task: a listening socket and its connections, each with any
 * number of questions. Connections, bytes that wait, questions on their way and idle
 * time are bounded. Thread: loop.
 */
#include <systemd/sd-event.h>

#include "lb/dns/wire.h"
#include "plugin/base/err.h"

#define TCP_CONNS_MAX 32 /* of one task; a new one then ends the longest idle */
#define TCP_IDLE_MS   10000

struct tcp_listener;
struct tcp_conn;

struct tcp_ops {
	/*
	 * A question came; msg may be changed and dies with the call. To answer later,
	 * keep the connection with tcp_conn_get; an answer now needs no reference.
	 */
	void (*query)(void *ctx, struct tcp_conn *c, uint8_t *msg, size_t size);
	void *ctx;
	unsigned int idle_ms; /* without a question on its way: then it is closed */
};

/* Takes fd (also on error); ops are copied. */
int tcp_listener_new(sd_event *event, int fd, const struct tcp_ops *ops,
		     struct tcp_listener **ret, struct err *e);
/* Closes the connections; one that is kept stays valid, and mute. */
void tcp_listener_free(struct tcp_listener *l);

/* Sends an answer; to a connection that is closed: nothing. */
void tcp_conn_reply(struct tcp_conn *c, const uint8_t *msg, size_t size);

struct tcp_conn *tcp_conn_get(struct tcp_conn *c);
/* NULL: nothing. */
void tcp_conn_put(struct tcp_conn *c);

#endif
