// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tasks' DNS server. Each task has its sockets, its view of the zone and (from its
 * first foreign name on) its forwarder. A request is a question that was forwarded and
 * waits: it belongs to its task, is counted, and dies with it.
 */
#include "lb/dns/server.h"

#include "lb/dns/answer.h"
#include "lb/dns/forward.h"
#include "lb/dns/tcp.h"
#include "lb/dns/wire.h"
#define LOG_MODULE "dns"
#include "plugin/base/log.h"
#include "plugin/base/limit.h"
#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#define REQUESTS_MAX	  4096 /* on their way, of all tasks */
#define TASK_REQUESTS_MAX 256
#define UDP_BURST	  32 /* questions of one task before others have their turn */
#define NETWORKS_MAX	  256

struct task;

/* Where a question came from, and how large its answer may be. */
struct origin {
	struct task *task;
	struct tcp_conn *conn; /* NULL: UDP */
	struct sockaddr_in from;
	size_t limit;
};

struct request {
	struct forward_query forward;
	struct wire_query query;
	struct origin origin;
	TAILQ_ENTRY(request) link;
};
TAILQ_HEAD(request_list, request);

struct task {
	UT_hash_handle hh;
	struct dns_server *server;
	char *key;
	int nsfd;
	int udp;
	sd_event_source *udp_source;
	struct tcp_listener *tcp;
	struct forward *forward;
	struct zone_client client;
	char (*networks)[LB_ID_SIZE];
	char project[LB_NAME_SIZE];
	struct request_list requests;
	unsigned int request_count;
};

struct dns_server {
	sd_event *event;
	const struct zone *zone;
	struct task *tasks;
	unsigned int request_count;
	unsigned int timeout_ms;
	uint32_t random;
	uint8_t in[WIRE_UDP_MAX];
	uint8_t out[WIRE_MESSAGE_MAX];
};

/* ---- answers --------------------------------------------------------------- */

/* A datagram that cannot be sent is lost, as any may be: the client asks again. */
static void origin_reply(const struct origin *o, const uint8_t *msg, size_t size)
{
	if (o->conn)
		tcp_conn_reply(o->conn, msg, size);
	else if (sendto(o->task->udp, msg, size, MSG_DONTWAIT | MSG_NOSIGNAL,
			(const struct sockaddr *)&o->from, sizeof(o->from)) < 0)
		log_debug("answer lost err=\"%s\"", strerrordesc_np(errno));
}

static void origin_refuse(const struct origin *o, const struct wire_query *q,
			  enum wire_rcode rcode)
{
	uint8_t msg[WIRE_UDP_MIN];

	origin_reply(o, msg, wire_error(q, rcode, msg));
}

static void request_free(struct request *rq)
{
	struct task *t = rq->origin.task;

	TAILQ_REMOVE(&t->requests, rq, link);
	t->request_count--;
	t->server->request_count--;
	tcp_conn_put(rq->origin.conn);
	free(rq);
}

static void on_forwarded(struct forward_query *fq, uint8_t *answer, size_t size)
{
	struct request *rq = CONTAINER_OF(fq, struct request, forward);

	if (answer)
		origin_reply(&rq->origin, answer,
			     wire_truncate(answer, size, rq->origin.limit));
	else
		origin_refuse(&rq->origin, &rq->query, WIRE_RCODE_SERVFAIL);
	request_free(rq);
}

/* ---- questions ------------------------------------------------------------- */

static struct request *request_new(const struct origin *o, const struct wire_query *q)
{
	struct task *t = o->task;
	struct request *rq = calloc(1, sizeof(*rq));

	if (!rq)
		return NULL;
	rq->query = *q;
	rq->origin = *o;
	if (o->conn)
		(void)tcp_conn_get(o->conn); /* the same pointer */
	rq->forward.done = on_forwarded;
	rq->forward.query = &rq->query;
	TAILQ_INSERT_TAIL(&t->requests, rq, link);
	t->request_count++;
	t->server->request_count++;
	return rq;
}

static int request_start(struct request *rq, uint8_t *msg, size_t size, struct err *e)
{
	struct task *t = rq->origin.task;
	struct dns_server *s = t->server;
	int r = 0;

	if (!t->forward)
		r = forward_new(s->event, t->nsfd, s->timeout_ms, &t->forward, e);
	if (r == 0)
		r = forward_send(t->forward, &rq->forward, msg, size, e);
	return r;
}

static void forward_question(const struct origin *o, const struct wire_query *q,
			     uint8_t *msg, size_t size)
{
	struct task *t = o->task;
	struct request *rq = NULL;
	struct err e;

	if (t->request_count >= TASK_REQUESTS_MAX ||
	    t->server->request_count >= REQUESTS_MAX)
		log_warning_limited("too many questions on their way sandbox=%s", t->key);
	else
		rq = request_new(o, q);
	if (!rq) {
		origin_refuse(o, q, WIRE_RCODE_SERVFAIL);
		return;
	}
	if (request_start(rq, msg, size, &e) < 0) {
		log_warning_limited("cannot forward sandbox=%s err=\"%s\"", t->key,
				    e.text);
		on_forwarded(&rq->forward, NULL, 0);
	}
}

/* Marsaglia's xorshift: spreads, keeps no secret. */
static uint32_t next_random(struct dns_server *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 17;
	s->random ^= s->random << 5;
	return s->random;
}

static void handle(struct origin *o, uint8_t *msg, size_t size)
{
	struct dns_server *s = o->task->server;
	struct wire_query q;
	int r = wire_parse_query(msg, size, &q);
	size_t out_size;

	if (r == -EINVAL)
		return;
	if (r < 0) {
		origin_refuse(o, &q,
			      r == -EBADMSG ? WIRE_RCODE_FORMERR : WIRE_RCODE_NOTIMP);
		return;
	}
	o->limit = o->conn ? WIRE_MESSAGE_MAX : q.udp_size;
	out_size = answer_write(s->zone, &o->task->client, &q, next_random(s), s->out,
				o->limit);
	if (out_size)
		origin_reply(o, s->out, out_size);
	else
		forward_question(o, &q, msg, size);
}

static void on_tcp(void *ctx, struct tcp_conn *c, uint8_t *msg, size_t size)
{
	struct origin o = {.task = ctx, .conn = c};

	handle(&o, msg, size);
}

static int on_udp(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct task *t = arg;
	struct dns_server *s = t->server;

	(void)source;
	(void)revents;
	for (int i = 0; i < UDP_BURST; i++) {
		struct origin o = {.task = t};
		socklen_t len = sizeof(o.from);
		ssize_t n = recvfrom(fd, s->in, sizeof(s->in), MSG_TRUNC,
				     (struct sockaddr *)&o.from, &len);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n > 0 && (size_t)n <= sizeof(s->in))
			handle(&o, s->in, (size_t)n);
	}
	return 0;
}

/* ---- tasks ----------------------------------------------------------------- */

static void task_free(struct task *t)
{
	struct request *rq;

	if (!t)
		return;
	tcp_listener_free(t->tcp);
	forward_free(t->forward);
	while ((rq = TAILQ_FIRST(&t->requests)))
		request_free(rq);
	sd_event_source_disable_unref(t->udp_source);
	mem_cleanup_close(&t->udp);
	mem_cleanup_close(&t->nsfd);
	free(t->networks);
	free(t->key);
	free(t);
}
DEFINE_CLEANUP(struct task *, task_free);

static struct task *task_find(const struct dns_server *s, const char *key)
{
	struct task *t;

	HASH_FIND_STR(s->tasks, key, t);
	return t;
}

int dns_server_new(sd_event *event, const struct zone *zone, struct dns_server **ret,
		   struct err *e)
{
	struct dns_server *s = calloc(1, sizeof(*s));

	if (!s)
		return err_sys(e, -ENOMEM, "DNS server");
	if (getrandom(&s->random, sizeof(s->random), 0) < 0 || s->random == 0)
		s->random = 1; /* any but 0 */
	s->event = sd_event_ref(event);
	s->zone = zone;
	s->timeout_ms = FORWARD_TIMEOUT_MS;
	*ret = s;
	return 0;
}

void dns_server_free(struct dns_server *s)
{
	struct task *t;
	struct task *next;

	if (!s)
		return;
	HASH_ITER (hh, s->tasks, t, next) {
		HASH_DEL(s->tasks, t);
		task_free(t);
	}
	sd_event_unref(s->event);
	free(s);
}

void dns_server_set_timeout(struct dns_server *s, unsigned int timeout_ms)
{
	s->timeout_ms = timeout_ms;
}

/* Takes what it uses of the sockets. */
static int task_start(struct task *t, int nsfd, struct dns_sockets *sockets,
		      struct err *e)
{
	const struct tcp_ops ops = {.query = on_tcp, .ctx = t, .idle_ms = TCP_IDLE_MS};
	struct dns_server *s = t->server;
	int r;

	t->nsfd = fcntl(nsfd, F_DUPFD_CLOEXEC, 0);
	if (t->nsfd < 0)
		return err_sys(e, -errno, "namespace");
	t->udp = TAKE_FD(sockets->udp);
	r = sd_event_add_io(s->event, &t->udp_source, t->udp, EPOLLIN, on_udp, t);
	if (r < 0)
		return err_sys(e, r, "watching the DNS socket");
	return tcp_listener_new(s->event, TAKE_FD(sockets->tcp), &ops, &t->tcp, e);
}

static struct task *task_new(struct dns_server *s, const char *key)
{
	struct task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->server = s;
	t->nsfd = -1;
	t->udp = -1;
	t->client.project = t->project;
	TAILQ_INIT(&t->requests);
	t->key = strdup(key);
	if (!t->key) {
		task_free(t);
		return NULL;
	}
	return t;
}

int dns_server_add(struct dns_server *s, const char *key, int nsfd,
		   struct dns_sockets *sockets, struct err *e)
{
	auto_with(task_free) struct task *t = task_new(s, key);
	int r = t ? task_start(t, nsfd, sockets, e) : err_sys(e, -ENOMEM, "server");

	dns_sockets_close(sockets);
	if (r < 0 || !t)
		return err_wrap(e, r, "DNS of %s", key);
	dns_server_del(s, key);
	HASH_ADD_KEYPTR(hh, s->tasks, t->key, strlen(t->key), t);
	if (!MAP_ADDED(t))
		return err_sys(e, -ENOMEM, "DNS of %s", key);
	t = NULL;
	return 0;
}

int dns_server_set_client(struct dns_server *s, const char *key,
			  const struct zone_client *client)
{
	struct task *t = task_find(s, key);
	size_t size = client->network_count * sizeof(client->networks[0]);
	char(*networks)[LB_ID_SIZE] = NULL;

	if (!t)
		return -ENOENT;
	if (client->network_count > NETWORKS_MAX)
		return -E2BIG;
	if (client->project && strlen(client->project) >= sizeof(t->project))
		return -ENAMETOOLONG;
	if (size > 0) {
		networks = malloc(size);
		if (!networks)
			return -ENOMEM;
		memcpy(networks, client->networks, size);
	}
	free(t->networks);
	t->networks = networks;
	t->client.networks = networks;
	t->client.network_count = client->network_count;
	(void)str_copy(t->project, sizeof(t->project),
		       client->project ? client->project : ""); /* fits: was checked */
	return 0;
}

void dns_server_del(struct dns_server *s, const char *key)
{
	struct task *t = task_find(s, key);

	if (!t)
		return;
	HASH_DEL(s->tasks, t);
	task_free(t);
}
