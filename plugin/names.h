/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_NAMES_H
#define PLUGIN_NAMES_H
/*
 * The loop's side of the node: the zone, the DNS server, and who may ask for what. A
 * task is served once its sockets are here and one of its endpoints is known; both
 * arrive in any order, from two workers. Thread: loop.
 */
#include <systemd/sd-event.h>

#include "lb/dns/server.h"
#include "plugin/base/err.h"
#include "plugin/desired.h"

struct names;

int names_new(sd_event *event, struct names **ret, struct err *e);
void names_free(struct names *n);

/* The service with this mark looks so now; v NULL: gone. v is borrowed. */
void names_service(struct names *n, uint32_t mark, struct lb_view *v);
/* An endpoint that has joined, or how one that is known looks now. */
void names_client(struct names *n, const struct change_client *client);
void names_client_gone(struct names *n, const char *endpoint);
/* The kernel diverts this task's questions to these sockets; the fds are taken. */
void names_task_added(struct names *n, const char *key, int nsfd,
		      struct dns_sockets *sockets);
void names_task_removed(struct names *n, const char *key);

#endif
