// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changes of links as they happen. A full queue means that messages were lost: the
 * user is told to look for himself.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/kern/link_internal.h"
#include "driver/kern/ns.h"

#define READS_PER_TURN 32
#define QUEUE_SIZE     (1 << 20)
#define BUFFER_SIZE    32768

struct link_monitor {
	int fd;
	sd_event_source *source;
	void (*fn)(void *ctx, const struct link_event *ev);
	void *ctx;
	char buf[BUFFER_SIZE] __attribute__((aligned(8)));
};

static void report(struct link_monitor *m, struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifi;
	struct link_event ev = {0};
	char name[IFNAMSIZ];
	struct nlattr *attr;

	if ((nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK) ||
	    !nlmsg_valid_hdr(nlh, sizeof(*ifi)))
		return;
	ifi = nlmsg_data(nlh);
	/* A bridge sends the same types for its ports, "deleted" for "left me". */
	if (ifi->ifi_family != AF_UNSPEC)
		return;
	attr = nlmsg_find_attr(nlh, sizeof(*ifi), IFLA_IFNAME);
	if (!attr)
		return;
	(void)nla_strlcpy(name, attr, sizeof(name)); /* the kernel's fit */
	ev.name = name;
	ev.index = ifi->ifi_index;
	ev.gone = nlh->nlmsg_type == RTM_DELLINK;
	ev.running = !ev.gone && link_flags_running(ifi->ifi_flags);
	m->fn(m->ctx, &ev);
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct link_monitor *m = arg;
	int i;

	(void)source;
	(void)events; /* an error is read like data */
	for (i = 0; i < READS_PER_TURN; i++) {
		ssize_t n = recv(fd, m->buf, sizeof(m->buf), MSG_DONTWAIT | MSG_TRUNC);
		struct nlmsghdr *nlh = (struct nlmsghdr *)m->buf;
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 || (size_t)n > sizeof(m->buf)) {
			m->fn(m->ctx, &(struct link_event){0});
			continue;
		}
		for (; nlmsg_ok(nlh, left); nlh = nlmsg_next(nlh, &left))
			report(m, nlh);
	}
	return 0;
}

int link_monitor_new(int nsfd, sd_event *event,
		     void (*fn)(void *ctx, const struct link_event *ev), void *ctx,
		     struct link_monitor **ret, struct err *e)
{
	struct sockaddr_nl own = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	struct link_monitor *m;
	int size = QUEUE_SIZE;
	int r;

	m = calloc(1, sizeof(*m));
	if (!m)
		return err_sys(e, -ENOMEM, "monitor of links");
	m->fn = fn;
	m->ctx = ctx;
	m->fd = ns_socket(nsfd, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE, e);
	if (m->fd < 0) {
		r = m->fd;
		link_monitor_free(m);
		return r;
	}
	/* Without it losses come earlier, and are told. */
	(void)setsockopt(m->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	r = bind(m->fd, (struct sockaddr *)&own, sizeof(own)) < 0 ? -errno : 0;
	if (r == 0)
		r = sd_event_add_io(event, &m->source, m->fd, EPOLLIN, on_readable, m);
	if (r < 0) {
		link_monitor_free(m);
		return err_sys(e, r, "monitor of links");
	}
	*ret = m;
	return 0;
}

void link_monitor_free(struct link_monitor *m)
{
	if (!m)
		return;
	sd_event_source_disable_unref(m->source);
	if (m->fd >= 0)
		(void)close(m->fd); /* nothing to do about a failed close */
	free(m);
}
