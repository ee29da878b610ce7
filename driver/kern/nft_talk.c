// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The netlink socket of nftables: sending, the replies to a batch, and questions
 * with their answers. Netlink works while sendto and recv run, so all replies are
 * there when sendto returns and nothing is ever waited for.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/kern/nft_internal.h"
#include "driver/kern/ns.h"
#include "plugin/base/mem.h"

#define REPLY_SIZE	  8192
#define DUMP_SIZE	  65536
#define SEND_ROOM_DEFAULT 65536 /* less than any kernel's default */

/* --- the socket --- */

int nft_open(int nsfd, struct nft_sock **ret, struct err *e)
{
	struct sockaddr_nl own = {.nl_family = AF_NETLINK};
	struct nft_sock *ns;
	auto_close int fd = -1;
	int one = 1;

	fd = ns_socket(nsfd, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER, e);
	if (fd < 0)
		return err_wrap(e, fd, "nftables");
	/* Without these two only the texts are poorer. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	/* An owner table belongs to the bound port. */
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0)
		return err_sys(e, -errno, "nftables socket");
	ns = calloc(1, sizeof(*ns));
	if (!ns)
		return err_sys(e, -ENOMEM, "nftables socket");
	ns->fd = TAKE_FD(fd);
	ns->send_room = SEND_ROOM_DEFAULT;
	*ret = ns;
	return 0;
}

void nft_close(struct nft_sock *ns)
{
	if (!ns)
		return;
	(void)close(ns->fd); /* nothing to do about a failed close */
	free(ns);
}

int nft_send(struct nft_sock *ns, const void *buf, size_t size)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int room = (int)size + 4096;
	ssize_t n;

	if ((size_t)room > ns->send_room) {
		/* Needs CAP_NET_ADMIN over the namespace, as nftables itself does. */
		if (setsockopt(ns->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) <
		    0)
			return -errno;
		ns->send_room = (size_t)room;
	}
	do
		n = sendto(ns->fd, buf, size, 0, (struct sockaddr *)&kernel,
			   sizeof(kernel));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EMSGSIZE;
}

static ssize_t receive(struct nft_sock *ns, void *buf, size_t size)
{
	struct sockaddr_nl from = {0};
	socklen_t from_size = sizeof(from);
	ssize_t n;

	for (;;) {
		n = recvfrom(ns->fd, buf, size, MSG_DONTWAIT | MSG_TRUNC,
			     (struct sockaddr *)&from, &from_size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (from.nl_pid != 0)
			continue; /* not from the kernel */
		return (size_t)n > size ? -EMSGSIZE : n;
	}
}

/* --- replies --- */

static void read_error_attrs(const struct nlmsghdr *nlh, const struct nlmsgerr *ne,
			     struct nft_refusal *ret)
{
	size_t skip = sizeof(*ne);
	const struct nlattr *attr;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		skip += MNL_ALIGN(ne->msg.nlmsg_len) - sizeof(struct nlmsghdr);
	if (skip > mnl_nlmsg_get_payload_len(nlh))
		return;
	mnl_attr_for_each(attr, nlh, skip)
	{
		uint16_t type = mnl_attr_get_type(attr);

		if (type == NLMSGERR_ATTR_MSG &&
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			(void)snprintf(ret->text, sizeof(ret->text), "%s",
				       mnl_attr_get_str(attr)); /* cut off is fine */
		else if (type == NLMSGERR_ATTR_OFFS &&
			 mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			ret->offset = mnl_attr_get_u32(attr);
	}
}

/* Returns 1 for a reply that ends a request, with *ret filled if it is negative. */
static int read_error(const struct nlmsghdr *nlh, struct nft_refusal *ret)
{
	const struct nlmsgerr *ne = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_type != NLMSG_ERROR ||
	    mnl_nlmsg_get_payload_len(nlh) < sizeof(*ne))
		return 0;
	ret->code = ne->error > 0 ? -ne->error : ne->error;
	ret->seq = ne->msg.nlmsg_seq;
	if (ret->code)
		read_error_attrs(nlh, ne, ret);
	return 1;
}

int nft_read_replies(struct nft_sock *ns, uint32_t last_seq, struct nft_refusal *ret)
{
	char buf[REPLY_SIZE] __attribute__((aligned(8)));
	bool acknowledged = false;
	bool lost = false;

	for (;;) {
		ssize_t n = receive(ns, buf, sizeof(buf));
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
		int left = (int)n;

		if (n == -EAGAIN)
			break;
		if (n == -ENOBUFS || n == -EMSGSIZE) {
			lost = true; /* more refusals than the queue holds */
			continue;
		}
		if (n < 0)
			return (int)n;
		for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
			struct nft_refusal one = {0};

			if (!read_error(nlh, &one))
				continue;
			if (one.code && !ret->code)
				*ret = one;
			acknowledged |= !one.code && one.seq == last_seq;
		}
	}
	if (ret->code || acknowledged)
		return 0;
	return lost ? -ENOBUFS : -EPROTO;
}

/* --- questions --- */

struct question {
	int (*fn)(const struct nlmsghdr *nlh, void *ctx);
	void *ctx;
	uint32_t seq;
	bool interrupted;
	int failed; /* first error of fn: the answer is read to its end, or the next
		     * dump would be refused */
};

/* Returns 1 at the end of the answer. */
static int read_answer(const struct nlmsghdr *nlh, struct question *q)
{
	struct nft_refusal refusal = {0};
	int r;

	if (nlh->nlmsg_type == NLMSG_DONE) {
		/* A dump that failed half-way says so here. */
		r = mnl_nlmsg_get_payload_len(nlh) >= sizeof(int)
			    ? *(const int *)mnl_nlmsg_get_payload(nlh)
			    : 0;
		return r < 0 ? r : 1;
	}
	if (read_error(nlh, &refusal))
		return refusal.code ? refusal.code : 1;
	if (nlh->nlmsg_type < NLMSG_MIN_TYPE || q->failed)
		return 0;
	r = q->fn(nlh, q->ctx);
	if (r < 0)
		q->failed = r;
	return 0;
}

/* Handles one datagram of an answer: 1 at the end, 0 to go on, or its error. */
static int read_part(const char *buf, size_t size, struct question *q)
{
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
	int left = (int)size;
	int r = 0;

	for (; r == 0 && mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		if (nlh->nlmsg_seq != q->seq)
			continue;
		q->interrupted |= (nlh->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
		r = read_answer(nlh, q);
	}
	return r;
}

int nft_request(struct nft_sock *ns, struct nlmsghdr *nlh,
		int (*fn)(const struct nlmsghdr *nlh, void *ctx), void *ctx)
{
	struct question q = {.fn = fn, .ctx = ctx, .seq = ns->seq++};
	char *buf = malloc(DUMP_SIZE);
	ssize_t n;
	int r;

	if (!buf)
		return -ENOMEM;
	nlh->nlmsg_seq = q.seq;
	nlh->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	r = nft_send(ns, nlh, nlh->nlmsg_len);
	while (r == 0) {
		n = receive(ns, buf, DUMP_SIZE);
		r = n < 0 ? (int)n : read_part(buf, (size_t)n, &q);
	}
	free(buf);
	if (q.failed)
		return q.failed;
	if (r < 0)
		return r;
	return q.interrupted ? -EINTR : 0;
}
