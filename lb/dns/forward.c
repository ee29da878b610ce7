// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The forwarder: one c-ares channel per task, made at its first question and dropped
 * after a while without any (its tables take 70 KiB). Sockets are made inside the
 * task's namespace and carry DNS_FORWARD_MARK, so that our own nft rule lets them pass
 * to Docker's. c-ares retries, times out and goes on to TCP when an answer is cut off;
 * ids, the check of the answer and large datagrams are ours.
 */
#include "lb/dns/forward.h"

#include "driver/kern/ns.h"
#include "lb/dns/server.h"
#define LOG_MODULE "dns"
#include "plugin/base/log.h"
#include "plugin/base/limit.h"
#include "plugin/base/mem.h"

#include <arpa/inet.h>
#include <ares.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#define FORWARD_TRIES	  2
#define IDLE_US		  (30 * 1000000ULL)
#define TIMER_ACCURACY_US 10000
#define ID_DRAWS	  32 /* with 256 of 65536 in use, one is nearly always enough */

struct forward_socket {
	struct forward *forward;
	int fd;
	bool is_udp;
	sd_event_source *source;
	TAILQ_ENTRY(forward_socket) link;
};
TAILQ_HEAD(socket_list, forward_socket);

struct forward {
	sd_event *event;
	int nsfd;
	int timeout_ms;
	ares_channel channel; /* NULL: none yet, or idle */
	sd_event_source *timer;
	bool timer_is_idle; /* it will close the channel */
	bool is_closing;
	struct socket_list sockets;
	struct forward_query *queries; /* by id */
};

/* ---- sockets, for c-ares --------------------------------------------------- */

static struct forward_socket *socket_find(struct forward *f, int fd)
{
	struct forward_socket *s;

	TAILQ_FOREACH (s, &f->sockets, link)
		if (s->fd == fd)
			return s;
	return NULL;
}

static void socket_free(struct forward_socket *s)
{
	TAILQ_REMOVE(&s->forward->sockets, s, link);
	sd_event_source_disable_unref(s->source);
	(void)close(s->fd); /* nothing to do about a failed close */
	free(s);
}

static void timer_arm(struct forward *f);

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct forward_socket *s = arg;
	struct forward *f = s->forward; /* s may die below */
	bool readable = revents & (EPOLLIN | EPOLLERR | EPOLLHUP);
	bool writable = revents & EPOLLOUT;

	(void)source;
	ares_process_fd(f->channel, readable ? fd : ARES_SOCKET_BAD,
			writable ? fd : ARES_SOCKET_BAD);
	if (!f->queries)
		timer_arm(f);
	return 0;
}

static int socket_setup(int fd, bool is_udp)
{
	const int mark = DNS_FORWARD_MARK;
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		return -errno;
	if (!is_udp && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

static int socket_open(struct forward *f, int domain, int type, int protocol,
		       struct err *e)
{
	struct forward_socket *s;
	auto_close int fd = -1;
	int r;

	fd = ns_socket(f->nsfd, domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol, e);
	if (fd < 0)
		return fd;
	r = socket_setup(fd, type == SOCK_DGRAM);
	if (r < 0)
		return err_sys(e, r, "socket to %s", FORWARD_ADDR);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_sys(e, -ENOMEM, "socket to %s", FORWARD_ADDR);
	s->forward = f;
	s->is_udp = type == SOCK_DGRAM;
	r = sd_event_add_io(f->event, &s->source, fd, EPOLLIN, on_socket, s);
	if (r < 0) {
		free(s);
		return err_sys(e, r, "watching a socket to %s", FORWARD_ADDR);
	}
	s->fd = TAKE_FD(fd);
	TAILQ_INSERT_TAIL(&f->sockets, s, link);
	return s->fd;
}

static ares_socket_t hook_socket(int domain, int type, int protocol, void *arg)
{
	struct err e;
	int fd = socket_open(arg, domain, type, protocol, &e);

	if (fd >= 0)
		return fd;
	log_warning_limited("cannot ask Docker's resolver err=\"%s\"", e.text);
	errno = -fd;
	return ARES_SOCKET_BAD;
}

static int hook_close(ares_socket_t fd, void *arg)
{
	struct forward_socket *s = socket_find(arg, fd);

	if (s)
		socket_free(s);
	return 0;
}

static int hook_connect(ares_socket_t fd, const struct sockaddr *addr, ares_socklen_t len,
			void *arg)
{
	(void)arg;
	return connect(fd, addr, len);
}

/*
 * c-ares 1.18 takes no datagram above 512 bytes (unless it writes the OPT record
 * itself, which cannot be: it would cut bytes of ours off after a FORMERR) and asks by
 * TCP instead; upstream servers without TCP exist. So a large or cut datagram is kept:
 * a whole one is the answer, and c-ares is shown its question only; a cut one is
 * second best when TCP fails.
 */
static size_t datagram_keep(struct forward *f, uint8_t *msg, size_t size)
{
	struct forward_query *q;
	bool is_cut;
	uint16_t id;
	uint8_t *copy;

	if (size < WIRE_HEADER_SIZE)
		return size;
	is_cut = wire_get16(msg + 2) & WIRE_FLAG_TC;
	if (size <= WIRE_UDP_MIN && !is_cut)
		return size;
	id = wire_get16(msg);
	HASH_FIND(hh, f->queries, &id, sizeof(id), q);
	if (!q || !wire_answers(msg, size, q->query))
		return size;
	copy = malloc(size);
	if (!copy)
		return size;
	memcpy(copy, msg, size);
	free(q->datagram);
	q->datagram = copy;
	q->datagram_size = size;
	if (is_cut)
		return size;
	memset(msg + 6, 0, 6); /* no records */
	return WIRE_HEADER_SIZE + (size_t)q->query->question_size;
}

/* NOLINTNEXTLINE(readability-function-size): parameters as c-ares wants them */
static ares_ssize_t hook_recv(ares_socket_t fd, void *buf, size_t size, int flags,
			      struct sockaddr *from, ares_socklen_t *len, void *arg)
{
	struct forward *f = arg;
	const struct forward_socket *s = socket_find(f, fd);
	ssize_t n = recvfrom(fd, buf, size, flags, from, len);

	if (n > 0 && s && s->is_udp)
		return (ares_ssize_t)datagram_keep(f, buf, (size_t)n);
	return n;
}

static ares_ssize_t hook_send(ares_socket_t fd, const struct iovec *vec, int count,
			      void *arg)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)vec, .msg_iovlen = (size_t)count};

	(void)arg;
	return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static void hook_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct forward_socket *s = socket_find(arg, fd);
	uint32_t events = (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U);

	if (s && events) /* none: it is about to be closed */
		(void)sd_event_source_set_io_events(s->source, events); /* is valid */
}

/* ---- the channel ----------------------------------------------------------- */

/*
 * All that c-ares would else read from files on the loop's thread is given. No
 * ARES_FLAG_EDNS (see datagram_keep); NOCHECKRESP lets SERVFAIL and REFUSED pass.
 */
static int channel_open(struct forward *f, struct err *e)
{
	static const struct ares_socket_functions hooks = {
		.asocket = hook_socket,
		.aclose = hook_close,
		.aconnect = hook_connect,
		.arecvfrom = hook_recv,
		.asendv = hook_send,
	};
	struct in_addr server = {.s_addr = inet_addr(FORWARD_ADDR)};
	char lookups[] = "b";
	struct ares_options o = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES |
			 ARES_FLAG_NOCHECKRESP | ARES_FLAG_STAYOPEN,
		.timeout = f->timeout_ms,
		.tries = FORWARD_TRIES,
		.ndots = 1,
		.servers = &server,
		.nservers = 1,
		.lookups = lookups,
		.sock_state_cb = hook_state,
		.sock_state_cb_data = f,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
		   ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS |
		   ARES_OPT_SORTLIST | ARES_OPT_SOCK_STATE_CB;
	int r;

	if (f->channel)
		return 0;
#ifdef ARES_OPT_QUERY_CACHE /* 1.31: on by default; 0 seconds turn it off */
	mask |= ARES_OPT_QUERY_CACHE;
#endif
	r = ares_init_options(&f->channel, &o, mask);
	if (r != ARES_SUCCESS) {
		f->channel = NULL;
		return err_set(e, -ENOMEM, "resolver: %s", ares_strerror(r));
	}
	ares_set_socket_functions(f->channel, &hooks, f);
	return 0;
}

static void channel_close(struct forward *f)
{
	struct forward_socket *s;

	if (!f->channel)
		return;
	f->is_closing = true;
	ares_destroy(f->channel);
	f->channel = NULL;
	f->is_closing = false;
	while ((s = TAILQ_FIRST(&f->sockets)))
		socket_free(s);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct forward *f = arg;

	(void)source;
	(void)usec;
	if (!f->queries && f->timer_is_idle) {
		channel_close(f);
		return 0;
	}
	if (f->channel)
		ares_process_fd(f->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	timer_arm(f);
	return 0;
}

/* The next time-out of a question; with none on its way, the time to close. */
static void timer_arm(struct forward *f)
{
	uint64_t us = IDLE_US;
	struct timeval tv;
	int r;

	if (!f->channel)
		return;
	f->timer_is_idle = ares_timeout(f->channel, NULL, &tv) == NULL;
	if (!f->timer_is_idle)
		us = (uint64_t)tv.tv_sec * 1000000 + (uint64_t)tv.tv_usec;
	r = sd_event_source_set_time_relative(f->timer, us);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->timer, SD_EVENT_ONESHOT);
	if (r < 0)
		log_warning_limited("cannot set a timer err=\"%s\"", strerrordesc_np(-r));
}

int forward_new(sd_event *event, int nsfd, unsigned int timeout_ms, struct forward **ret,
		struct err *e)
{
	struct forward *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return err_sys(e, -ENOMEM, "resolver");
	f->event = event;
	f->nsfd = nsfd;
	f->timeout_ms = (int)timeout_ms;
	TAILQ_INIT(&f->sockets);
	r = sd_event_add_time_relative(event, &f->timer, CLOCK_MONOTONIC, IDLE_US,
				       TIMER_ACCURACY_US, on_timer, f);
	if (r < 0) {
		free(f);
		return err_sys(e, r, "resolver's timer");
	}
	*ret = f;
	return 0;
}

void forward_free(struct forward *f)
{
	if (!f)
		return;
	channel_close(f);
	sd_event_source_disable_unref(f->timer);
	free(f);
}

/* ---- questions ------------------------------------------------------------- */

/* An id that no question on its way has; guessing it is the only way to forge an
 * answer. */
static int id_draw(struct forward *f, uint16_t *ret)
{
	for (int i = 0; i < ID_DRAWS; i++) {
		struct forward_query *q;
		uint16_t id;

		if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
			return -EBUSY;
		HASH_FIND(hh, f->queries, &id, sizeof(id), q);
		if (!q) {
			*ret = id;
			return 0;
		}
	}
	return -EBUSY;
}

/* The kept datagram, if it is whole or TCP brought nothing better. */
static bool prefer_datagram(const uint8_t *datagram, const uint8_t *answer, size_t size)
{
	uint16_t kept;

	if (!datagram)
		return false;
	kept = wire_get16(datagram + 2);
	if (!(kept & WIRE_FLAG_TC) || !answer || size < WIRE_HEADER_SIZE)
		return true;
	return (kept & WIRE_RCODE_MASK) == WIRE_RCODE_NOERROR &&
	       (wire_get16(answer + 2) & WIRE_RCODE_MASK) != WIRE_RCODE_NOERROR;
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *answer,
		      int answer_size)
{
	struct forward_query *q = arg;
	auto_free uint8_t *datagram = TAKE(q->datagram);
	size_t size = answer_size > 0 ? (size_t)answer_size : 0;

	(void)timeouts;
	if (status != ARES_SUCCESS)
		answer = NULL;
	HASH_DEL(q->forward->queries, q);
	if (prefer_datagram(datagram, answer, size)) {
		answer = datagram;
		size = q->datagram_size;
	}
	if (q->forward->is_closing)
		return;
	if (answer && !wire_answers(answer, size, q->query))
		answer = NULL;
	if (answer)
		wire_put16(answer, q->query->id);
	else
		log_warning_limited("no answer from Docker's resolver err=\"%s\"",
				    ares_strerror(status));
	q->done(q, answer, answer ? size : 0);
}

int forward_send(struct forward *f, struct forward_query *q, uint8_t *msg, size_t size,
		 struct err *e)
{
	size_t opt = q->query->opt_offset;
	uint16_t client_id = wire_get16(msg);
	uint16_t udp_size = opt ? wire_get16(msg + opt + 3) : 0;
	int r = channel_open(f, e);

	if (r < 0)
		return r;
	r = id_draw(f, &q->id);
	if (r < 0)
		return err_sys(e, r, "query id");
	q->forward = f;
	q->datagram = NULL;
	HASH_ADD(hh, f->queries, id, sizeof(q->id), q);
	if (!MAP_ADDED(q))
		return err_sys(e, -ENOMEM, "query");
	wire_put16(msg, q->id);
	if (udp_size > WIRE_UDP_MAX)
		wire_put16(msg + opt + 3, WIRE_UDP_MAX);
	ares_send(f->channel, msg, (int)size, on_answer, q); /* copies; may end q */
	wire_put16(msg, client_id);
	if (opt)
		wire_put16(msg + opt + 3, udp_size);
	timer_arm(f);
	return 0;
}
