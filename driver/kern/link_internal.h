/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_KERN_LINK_INTERNAL_H
#define DRIVER_KERN_LINK_INTERNAL_H
/*
 * What the link*.c files share: link.c talks with the kernel and knows links,
 * link_addr.c has addresses, routes and neighbours, link_monitor.c the events.
 * Nobody else includes this.
 */
#include <net/if.h>
#include <netlink/msg.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/kern/link.h"
#include "plugin/base/err.h"

#define LINK_KIND_SIZE 16
#define LINK_TEXT_SIZE 128
#define LINK_RECV_SIZE 32768 /* the kernel makes no longer parts of a dump */

struct link_sock {
	struct nl_sock *nl;
	/* Called for each message of an answer; negative ends it. */
	int (*on_message)(void *ctx, struct nlmsghdr *nlh);
	void *ctx;
	bool done;		   /* the request was acknowledged or refused */
	int error;		   /* raw errno of the last refusal, or of on_message */
	char text[LINK_TEXT_SIZE]; /* the kernel's words about it, or "" */
};

/* A request being built; the first failed put is reported by link_talk. */
struct link_request {
	struct nl_msg *msg;
	bool failed;
};

/* Starts a request with its fixed header. */
void link_request_init(struct link_request *q, int type, int flags, const void *header,
		       size_t size);
void link_put(struct link_request *q, int attr, const void *data, size_t size);
void link_put_u32(struct link_request *q, int attr, uint32_t value);
void link_put_name(struct link_request *q, int attr, const char *name);
void link_put_addr(struct link_request *q, int attr, const struct addr *addr);

/* Sends q, frees it, reads the answer to its end. Returns 0 or the kernel's errno. */
int link_talk(struct link_sock *ls, struct link_request *q);
/* The same for a dump, which is repeated when it was interrupted: then begin (may be
 * NULL) is called again. make fills the request. */
int link_dump(struct link_sock *ls, void (*make)(struct link_request *q, void *ctx),
	      void (*begin)(void *ctx), void *ctx);
/* err_sys with the kernel's words: "<what> <name>: <words>: <errno>". */
int link_error(const struct link_sock *ls, struct err *e, int code, const char *what,
	       const char *name);

struct link_info {
	int index; /* 0: none found */
	unsigned int flags;
	uint32_t mtu;
	uint8_t mac[MAC_SIZE];
	char kind[LINK_KIND_SIZE]; /* "" for a real device */
	int peer;		   /* index of the other end of a veth, or 0 */
};

/* 0 or -ENODEV or another errno; the text is left to the caller. */
int link_get(struct link_sock *ls, const char *name, struct link_info *ret);
int link_get_index(struct link_sock *ls, int index, struct link_info *ret);

static inline bool link_flags_running(unsigned int flags)
{
	/* From the carrier itself: IFF_RUNNING follows it later. */
	return (flags & IFF_UP) && (flags & (1U << 16)); /* IFF_LOWER_UP */
}

#endif
