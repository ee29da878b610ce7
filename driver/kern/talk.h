/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_KERN_TALK_H
#define DRIVER_KERN_TALK_H
/*
 * Requests and answers over one netlink socket, with the kernel's errno and its own
 * words. Shared by link*.c and conntrack.c; nobody else includes this. Thread: that
 * of the socket.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin/base/addr.h"
#include "plugin/base/err.h"

#define TALK_TEXT_SIZE 128

struct nl_msg;
struct nl_sock;
struct nlattr;
struct nlmsghdr;

struct talk {
	struct nl_sock *nl;
	int (*on_message)(void *ctx, struct nlmsghdr *nlh);
	void *ctx;
	bool done;		   /* the request was acknowledged or refused */
	int error;		   /* raw errno of a refusal, or of on_message */
	char text[TALK_TEXT_SIZE]; /* the kernel's words about it, or "" */
};

/* Fills t; it must not move while it is open. nsfd -1: the caller's own namespace. */
int talk_open(struct talk *t, int nsfd, int protocol, struct err *e);
/* One that is not open is fine. */
void talk_close(struct talk *t);

/* A request being built; the first failed step is reported when it is sent. */
struct talk_request {
	struct nl_msg *msg;
	bool failed;
};

/* Starts a request with its fixed header. */
void talk_request_init(struct talk_request *q, int type, int flags, const void *header,
		       size_t size);
void talk_put(struct talk_request *q, int attr, const void *data, size_t size);
void talk_put_u32(struct talk_request *q, int attr, uint32_t value);
void talk_put_name(struct talk_request *q, int attr, const char *name);
void talk_put_addr(struct talk_request *q, int attr, const struct addr *addr);
struct nlattr *talk_nest(struct talk_request *q, int attr);
void talk_nest_end(struct talk_request *q, struct nlattr *nest);

/*
 * Sends q, frees it and reads the answer to its end. on_message (may be NULL) gets
 * each message; a negative result of it is returned. Returns 0 or the kernel's errno.
 */
int talk_send(struct talk *t, struct talk_request *q,
	      int (*on_message)(void *ctx, struct nlmsghdr *nlh), void *ctx);

struct talk_dump {
	void (*make)(struct talk_request *q, void *ctx);
	void (*begin)(void *ctx); /* forgets what on_message got; may be NULL */
	int (*on_message)(void *ctx, struct nlmsghdr *nlh);
};

/* A dump that a change interrupted begins again, a few times; then -EINTR. */
int talk_dump(struct talk *t, const struct talk_dump *dump, void *ctx);

/* err_sys with the kernel's words: "<what> <name>: <words>: <errno>". */
int talk_error(const struct talk *t, struct err *e, int code, const char *what,
	       const char *name);

#endif
