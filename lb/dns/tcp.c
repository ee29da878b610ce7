// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections are reference counted: by the listener's list, by each question that waits
 * for its answer, and by the functions that the loop calls. A closed connection has fd
 * -1 and only waits for its last reference. Reading stops while too many questions are
 * on their way.
 */
#include "lb/dns/tcp.h"

#define LOG_MODULE "dns"
#include "plugin/base/log.h"
#include "plugin/base/limit.h"
#include "plugin/base/map.h"
#include "plugin/base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define PREFIX_SIZE	  2
#define QUERY_MAX	  4096 /* a longer question ends the connection */
#define PENDING_MAX	  32   /* questions of one connection on their way */
#define BACKLOG_MAX	  ((size_t)256 * 1024) /* answers that the client does not read */
#define ACCEPT_BURST	  16
#define TIMER_ACCURACY_US 100000
/* Wake-ups of a listener: bounds the spinning when there are no fds left. */
#define ACCEPT_RATE_US	  100000
#define ACCEPT_RATE_BURST 200

struct tcp_conn {
	struct tcp_listener *listener; /* NULL when closed */
	unsigned int refs;
	unsigned int pending; /* questions on their way */
	int fd;		      /* -1: closed */
	bool has_eof;
	bool must_resume; /* questions wait in the buffer: it is not done yet */
	sd_event_source *io;
	sd_event_source *timer;
	TAILQ_ENTRY(tcp_conn) link;
	uint8_t *backlog;
	size_t backlog_size;
	size_t used; /* of in */
	uint8_t in[PREFIX_SIZE + QUERY_MAX];
};
TAILQ_HEAD(conn_list, tcp_conn);

struct tcp_listener {
	sd_event *event;
	sd_event_source *io;
	int fd;
	struct tcp_ops ops;
	unsigned int count;
	struct conn_list conns; /* the longest idle first */
};

static void conn_ref(struct tcp_conn *c)
{
	c->refs++;
}

static void conn_unref(struct tcp_conn *c)
{
	if (--c->refs > 0)
		return;
	free(c->backlog);
	free(c);
}

/* The caller has a reference of its own, or does not use c again. */
static void conn_close(struct tcp_conn *c)
{
	if (c->fd < 0)
		return;
	c->io = sd_event_source_disable_unref(c->io);
	c->timer = sd_event_source_disable_unref(c->timer);
	(void)close(c->fd); /* nothing to do about a failed close */
	c->fd = -1;
	TAILQ_REMOVE(&c->listener->conns, c, link);
	c->listener->count--;
	c->listener = NULL;
	conn_unref(c);
}

static uint64_t idle_us(const struct tcp_listener *l)
{
	return l->ops.idle_ms * 1000ULL;
}

/* A question or an answer went through: starts the idle time anew. */
static void conn_touch(struct tcp_conn *c)
{
	TAILQ_REMOVE(&c->listener->conns, c, link);
	TAILQ_INSERT_TAIL(&c->listener->conns, c, link);
	if (sd_event_source_set_time_relative(c->timer, idle_us(c->listener)) < 0 ||
	    sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT) < 0)
		conn_close(c); /* else it might stay for ever */
}

/* Sets what to wait for; closes the connection when there is nothing more to come. */
static void conn_watch(struct tcp_conn *c)
{
	uint32_t events = c->backlog_size > 0 || c->must_resume ? EPOLLOUT : 0U;
	bool is_done = c->has_eof && c->pending == 0 && events == 0;

	if (c->fd < 0)
		return;
	if (!c->has_eof && c->pending < PENDING_MAX)
		events |= EPOLLIN;
	if (is_done || sd_event_source_set_io_events(c->io, events) < 0)
		conn_close(c);
}

static int on_idle(sd_event_source *source, uint64_t usec, void *arg)
{
	struct tcp_conn *c = arg;

	(void)source;
	(void)usec;
	conn_ref(c);
	if (c->pending > 0)
		conn_touch(c);
	else
		conn_close(c);
	conn_unref(c);
	return 0;
}

/* ---- answers --------------------------------------------------------------- */

static int backlog_add(struct tcp_conn *c, const uint8_t *data, size_t size)
{
	uint8_t *grown;

	if (c->backlog_size + size > BACKLOG_MAX)
		return -ENOBUFS;
	grown = realloc(c->backlog, c->backlog_size + size);
	if (!grown)
		return -ENOMEM;
	memcpy(grown + c->backlog_size, data, size);
	c->backlog = grown;
	c->backlog_size += size;
	return 0;
}

/* Sends what waits; -errno: the connection is lost. */
static int backlog_flush(struct tcp_conn *c)
{
	ssize_t n;

	if (c->backlog_size == 0)
		return 0;
	n = send(c->fd, c->backlog, c->backlog_size, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->backlog_size -= (size_t)n;
	memmove(c->backlog, c->backlog + n, c->backlog_size);
	if (c->backlog_size == 0) {
		free(TAKE(c->backlog));
		conn_touch(c);
	}
	return 0;
}

/* Returns what could not be sent at once as the offset of its start, or -errno. */
static ssize_t send_now(struct tcp_conn *c, const uint8_t *msg, size_t size)
{
	uint8_t prefix[PREFIX_SIZE];
	struct iovec vec[2] = {{prefix, sizeof(prefix)}, {(void *)msg, size}};
	struct msghdr head = {.msg_iov = vec, .msg_iovlen = 2};
	ssize_t n;

	if (c->backlog_size > 0)
		return 0;
	wire_put16(prefix, (uint16_t)size);
	n = sendmsg(c->fd, &head, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return n;
}

static int conn_send(struct tcp_conn *c, const uint8_t *msg, size_t size)
{
	uint8_t prefix[PREFIX_SIZE];
	ssize_t n = send_now(c, msg, size);
	size_t sent;
	int r = 0;

	if (n < 0)
		return (int)n;
	sent = (size_t)n;
	if (sent < PREFIX_SIZE) {
		wire_put16(prefix, (uint16_t)size);
		r = backlog_add(c, prefix + sent, PREFIX_SIZE - sent);
		sent = PREFIX_SIZE;
	}
	if (r == 0 && sent < PREFIX_SIZE + size)
		r = backlog_add(c, msg + (sent - PREFIX_SIZE), PREFIX_SIZE + size - sent);
	return r;
}

void tcp_conn_reply(struct tcp_conn *c, const uint8_t *msg, size_t size)
{
	if (c->fd < 0 || size > WIRE_MESSAGE_MAX)
		return;
	conn_ref(c);
	if (conn_send(c, msg, size) < 0)
		conn_close(c);
	else
		conn_touch(c);
	conn_watch(c);
	conn_unref(c);
}

/* ---- questions ------------------------------------------------------------- */

static void query(struct tcp_conn *c, uint8_t *msg, size_t size)
{
	const struct tcp_ops *ops = &c->listener->ops;

	ops->query(ops->ctx, c, msg, size);
}

/* Hands out the complete questions in the buffer, as far as their number allows. */
static void conn_process(struct tcp_conn *c)
{
	size_t at = 0;

	while (c->fd >= 0 && c->pending < PENDING_MAX && c->used - at >= PREFIX_SIZE) {
		size_t size = wire_get16(c->in + at);

		if (size > QUERY_MAX || size == 0) {
			conn_close(c);
			break;
		}
		if (c->used - at < PREFIX_SIZE + size)
			break;
		at += PREFIX_SIZE + size;
		conn_touch(c);
		if (c->listener)
			query(c, c->in + at - size, size);
	}
	c->used -= at;
	memmove(c->in, c->in + at, c->used);
	c->must_resume = false; /* what waits now, waits for an answer or for bytes */
}

/* There is room but while questions wait in the buffer: it is larger than any. */
static int conn_read(struct tcp_conn *c)
{
	ssize_t n;

	if (c->has_eof || c->used == sizeof(c->in))
		return 0;
	n = recv(c->fd, c->in + c->used, sizeof(c->in) - c->used, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		c->has_eof = true;
	c->used += (size_t)n;
	return 0;
}

static int on_conn(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct tcp_conn *c = arg;
	int r;

	(void)source;
	(void)fd;
	conn_ref(c);
	r = revents & (EPOLLERR | EPOLLHUP) ? -ECONNRESET : backlog_flush(c);
	if (r == 0 && c->fd >= 0 && revents & EPOLLIN)
		r = conn_read(c);
	if (r < 0)
		conn_close(c);
	conn_process(c);
	conn_watch(c);
	conn_unref(c);
	return 0;
}

struct tcp_conn *tcp_conn_get(struct tcp_conn *c)
{
	conn_ref(c);
	c->pending++;
	return c;
}

/* Questions that had to wait are not taken up here, within the answer of another, but
 * when the loop finds the socket writable. */
void tcp_conn_put(struct tcp_conn *c)
{
	if (!c)
		return;
	if (c->pending-- == PENDING_MAX)
		c->must_resume = true;
	conn_watch(c);
	conn_unref(c);
}

/* ---- the listener ---------------------------------------------------------- */

/* Makes room for one more; false: all are waiting for answers. */
static bool evict_idle(struct tcp_listener *l)
{
	struct tcp_conn *c;

	if (l->count < TCP_CONNS_MAX)
		return true;
	TAILQ_FOREACH (c, &l->conns, link) {
		if (c->pending == 0) {
			conn_close(c);
			return true;
		}
	}
	return false;
}

/* Takes fd also on error. */
static int conn_add(struct tcp_listener *l, int taken_fd)
{
	auto_close int fd = taken_fd;
	const int on = 1;
	struct tcp_conn *c;
	int r;

	if (!evict_idle(l))
		return -EBUSY;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* only speed */
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = sd_event_add_io(l->event, &c->io, fd, EPOLLIN, on_conn, c);
	if (r >= 0)
		r = sd_event_add_time_relative(l->event, &c->timer, CLOCK_MONOTONIC,
					       idle_us(l), TIMER_ACCURACY_US, on_idle, c);
	if (r < 0) {
		sd_event_source_disable_unref(c->io);
		free(c);
		return r;
	}
	c->refs = 1;
	c->fd = TAKE_FD(fd);
	c->listener = l;
	TAILQ_INSERT_TAIL(&l->conns, c, link);
	l->count++;
	return 0;
}

static int on_listener(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	(void)source;
	(void)revents;
	for (int i = 0; i < ACCEPT_BURST; i++) {
		int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		int r = conn < 0 ? -errno : conn_add(arg, conn);

		if (r == -EAGAIN)
			break;
		if (r < 0)
			log_warning_limited("cannot take a connection err=\"%s\"",
					    strerrordesc_np(-r));
	}
	return 0;
}

int tcp_listener_new(sd_event *event, int taken_fd, const struct tcp_ops *ops,
		     struct tcp_listener **ret, struct err *e)
{
	auto_close int fd = taken_fd;
	auto_free struct tcp_listener *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_sys(e, -ENOMEM, "DNS listener");
	r = sd_event_add_io(event, &l->io, fd, EPOLLIN, on_listener, l);
	if (r < 0)
		return err_sys(e, r, "watching the DNS listener");
	r = sd_event_source_set_ratelimit(l->io, ACCEPT_RATE_US, ACCEPT_RATE_BURST);
	if (r < 0) {
		sd_event_source_disable_unref(l->io);
		return err_sys(e, r, "rate of the DNS listener");
	}
	l->event = event;
	l->ops = *ops;
	l->fd = TAKE_FD(fd);
	TAILQ_INIT(&l->conns);
	*ret = TAKE(l);
	return 0;
}

void tcp_listener_free(struct tcp_listener *l)
{
	struct tcp_conn *c;

	if (!l)
		return;
	while ((c = TAILQ_FIRST(&l->conns)))
		conn_close(c);
	sd_event_source_disable_unref(l->io);
	(void)close(l->fd); /* nothing to do about a failed close */
	free(l);
}
