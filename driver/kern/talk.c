// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests and answers over one netlink socket, for rtnetlink and ctnetlink. libnl
 * folds several errnos into one of its codes, so the raw one is taken in its error
 * callback, with the kernel's own words where it has some. Every answer is read to
 * its end before the next request.
 */
#include "driver/kern/talk.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <string.h>
#include <sys/socket.h>

#include "driver/kern/ns.h"
#include "plugin/base/mem.h"

#define DUMP_TRIES   10
#define RECEIVE_SIZE 32768 /* the kernel makes no longer parts of a dump */

static void read_words(struct talk *t, struct nlmsghdr *nlh)
{
	const struct nlmsgerr *ne = nlmsg_data(nlh);
	size_t skip = sizeof(*ne);
	struct nlattr *attr;
	int left;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		skip += NLMSG_ALIGN(ne->msg.nlmsg_len) - NLMSG_HDRLEN;
	attr = (struct nlattr *)((char *)nlmsg_data(nlh) + skip);
	for (left = nlmsg_datalen(nlh) - (int)skip; nla_ok(attr, left);
	     attr = nla_next(attr, &left))
		if (nla_type(attr) == NLMSGERR_ATTR_MSG)
			(void)nla_strlcpy(t->text, attr, sizeof(t->text)); /* cut */
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *ne, void *arg)
{
	struct talk *t = arg;

	(void)from;
	t->done = true;
	t->error = ne->error > 0 ? -ne->error : ne->error;
	read_words(t, (struct nlmsghdr *)((char *)ne - NLMSG_HDRLEN));
	return NL_STOP;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	struct talk *t = arg;

	(void)msg;
	t->done = true;
	return NL_STOP;
}

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct talk *t = arg;
	int r;

	if (!t->on_message || t->error)
		return NL_OK;
	r = t->on_message(t->ctx, nlmsg_hdr(msg));
	if (r < 0)
		t->error = r; /* the rest of the answer is read and dropped */
	return NL_OK;
}

static int wrap_socket(struct talk *t, int protocol, int *fd)
{
	struct sockaddr_nl own = {.nl_family = AF_NETLINK};
	int one = 1;

	/* Without these the texts are poorer and dumps longer. */
	(void)setsockopt(*fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	(void)setsockopt(*fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	(void)setsockopt(*fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	if (bind(*fd, (struct sockaddr *)&own, sizeof(own)) < 0)
		return -errno;
	t->nl = nl_socket_alloc();
	if (!t->nl)
		return -ENOMEM;
	if (nl_socket_set_fd(t->nl, protocol, *fd) < 0)
		return -EIO;
	*fd = -1; /* is the socket's now */
	/* A size of our own also spares libnl a peek before each read. */
	if (nl_socket_set_msg_buf_size(t->nl, RECEIVE_SIZE) < 0 ||
	    nl_socket_modify_err_cb(t->nl, NL_CB_CUSTOM, on_error, t) < 0 ||
	    nl_socket_modify_cb(t->nl, NL_CB_ACK, NL_CB_CUSTOM, on_ack, t) < 0 ||
	    nl_socket_modify_cb(t->nl, NL_CB_VALID, NL_CB_CUSTOM, on_valid, t) < 0)
		return -EIO;
	return 0;
}

int talk_open(struct talk *t, int nsfd, int protocol, struct err *e)
{
	auto_close int fd = ns_socket(nsfd, AF_NETLINK, SOCK_RAW, protocol, e);
	int r;

	memset(t, 0, sizeof(*t));
	if (fd < 0)
		return err_wrap(e, fd, "netlink");
	r = wrap_socket(t, protocol, &fd);
	if (r < 0) {
		talk_close(t);
		return err_sys(e, r, "netlink socket");
	}
	return 0;
}

void talk_close(struct talk *t)
{
	if (t->nl)
		nl_socket_free(t->nl);
	t->nl = NULL;
}

/* --- requests --- */

void talk_request_init(struct talk_request *q, int type, int flags, const void *header,
		       size_t size)
{
	q->msg = nlmsg_alloc_simple(type, flags);
	q->failed =
		!q->msg || nlmsg_append(q->msg, (void *)header, size, NLMSG_ALIGNTO) < 0;
}

void talk_put(struct talk_request *q, int attr, const void *data, size_t size)
{
	if (!q->failed)
		q->failed = nla_put(q->msg, attr, (int)size, data) < 0;
}

void talk_put_u32(struct talk_request *q, int attr, uint32_t value)
{
	talk_put(q, attr, &value, sizeof(value));
}

void talk_put_name(struct talk_request *q, int attr, const char *name)
{
	talk_put(q, attr, name, strlen(name) + 1);
}

void talk_put_addr(struct talk_request *q, int attr, const struct addr *addr)
{
	talk_put(q, attr, addr->bytes, addr_size(addr));
}

struct nlattr *talk_nest(struct talk_request *q, int attr)
{
	struct nlattr *nest = q->failed ? NULL : nla_nest_start(q->msg, attr);

	q->failed = !nest;
	return nest;
}

void talk_nest_end(struct talk_request *q, struct nlattr *nest)
{
	if (!q->failed)
		nla_nest_end(q->msg, nest);
}

/* --- sending --- */

/* What libnl itself reports, where the kernel reported nothing. */
static int error_of(const struct talk *t, int nle)
{
	if (t->error)
		return t->error;
	if (nle >= 0)
		return 0;
	switch (-nle) {
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_AGAIN:
		return -EAGAIN;
	case NLE_DUMP_INTR:
		return -EINTR;
	default:
		return -EIO;
	}
}

static int send_request(struct talk *t, struct talk_request *q)
{
	int r;

	t->done = false;
	t->error = 0;
	t->text[0] = '\0';
	/* No request of ours is longer than a page, so it is memory that failed. */
	r = q->failed ? -NLE_NOMEM : nl_send_auto(t->nl, q->msg);
	nlmsg_free(q->msg);
	q->msg = NULL;
	return r;
}

int talk_send(struct talk *t, struct talk_request *q,
	      int (*on_message)(void *ctx, struct nlmsghdr *nlh), void *ctx)
{
	int r;

	t->on_message = on_message;
	t->ctx = ctx;
	r = send_request(t, q);
	/* Not nl_wait_for_ack: with an answer before it, the acknowledgement would
	 * stay in the queue (libnl 3.7). */
	while (r >= 0 && !t->done)
		r = nl_recvmsgs_default(t->nl);
	return error_of(t, r);
}

int talk_dump(struct talk *t, const struct talk_dump *dump, void *ctx)
{
	struct talk_request q;
	int r = -EINTR;
	int tries;

	t->on_message = dump->on_message;
	t->ctx = ctx;
	for (tries = 0; r == -EINTR && tries < DUMP_TRIES; tries++) {
		if (dump->begin)
			dump->begin(ctx);
		dump->make(&q, ctx);
		r = send_request(t, &q);
		if (r >= 0)
			r = nl_recvmsgs_default(t->nl);
		r = error_of(t, r);
	}
	return r;
}

int talk_error(const struct talk *t, struct err *e, int code, const char *what,
	       const char *name)
{
	return err_sys(e, code, "%s %s%s%s", what, name, *t->text ? ": " : "", t->text);
}
