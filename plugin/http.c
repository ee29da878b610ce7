// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HTTP on a unix socket: libmicrohttpd with an external epoll in the event loop.
 *
 * A request lives in MHD's req_cls from its first header until NOTIFY_COMPLETED. While
 * it is with the handler its connection is suspended, and MHD does not look at a
 * suspended connection: a client that goes away is noticed only after the answer, so
 * the pointer stays good until then. There is no idle time-out: the engine repeats a
 * request whose connection was closed with an empty body (PROTOCOL 1.5).
 *
 * Connections are accepted here and given to MHD, which would stop accepting when file
 * descriptors run out, until one of its own connections ends (0.9.75): with clients
 * that keep theirs open, for ever.
 */
#include "plugin/http.h"

#define LOG_MODULE "http"
#include "plugin/api_json.h"
#include "plugin/base/log.h"
#include "plugin/base/limit.h"
#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#define BODY_SIZE_FIRST	   4096
#define FLUSH_TURNS	   50 /* how long free waits for clients that do not read */
#define FLUSH_TURN_MS	   10
#define TIMER_SLACK_USEC   1 /* 0 would be sd_event's default: 250 ms */
#define ACCEPTS_A_TURN	   64
#define RUNS_A_TURN	   4 /* of MHD; two are the rule */
#define ACCEPT_PAUSE_USEC  100000
#define LISTEN_BACKLOG	   512
#define RESPONSE_NO_MEMORY "{\"Err\":\"out of memory\",\"Error\":\"out of memory\"}"

enum request_state {
	REQUEST_READING,
	REQUEST_WAITING, /* with the handler; in the server's list */
	REQUEST_ANSWERED,
};

struct http_request {
	struct http_server *server;
	struct MHD_Connection *connection;
	TAILQ_ENTRY(http_request) link;
	enum request_state state;
	bool late;	 /* begun while draining: refused */
	bool in_handler; /* called from MHD: not suspended yet */
	bool no_memory;
	const char *method; /* both in the connection's memory */
	const char *path;
	char *body;
	size_t len; /* of all that came, also when it was too much to keep */
	size_t size;
	unsigned int status;
	struct MHD_Response *response; /* NULL: no memory for it */
};
TAILQ_HEAD(request_list, http_request);

struct http_server {
	struct MHD_Daemon *daemon;
	sd_event_source *io;
	sd_event_source *timer;
	sd_event_source *accept;   /* NULL: draining; owns the listening socket */
	sd_event_source *retry;	   /* timer: accept again */
	struct http_config config; /* path: a copy */
	char *path;		   /* NULL: nothing to unlink */
	dev_t dev;		   /* the socket file, to leave a successor's alone */
	ino_t ino;
	bool draining;
	bool closing; /* nothing goes to the handler any more */
	bool resumed; /* connections, since the last MHD_run */
	struct request_list waiting;
	unsigned int unanswered; /* begun before draining: being read, or waiting */
	unsigned int unsent;	 /* answered, and the answer is not written yet */
	struct MHD_Response *no_memory;
	struct limit log_limit;
};

const char *http_request_method(const struct http_request *rq)
{
	return rq->method;
}

const char *http_request_path(const struct http_request *rq)
{
	return rq->path;
}

const char *http_request_query(const struct http_request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_request_body(const struct http_request *rq, size_t *ret_len)
{
	if (ret_len)
		*ret_len = rq->len;
	return rq->body ? rq->body : "";
}

pid_t http_request_peer(const struct http_request *rq)
{
	const union MHD_ConnectionInfo *info;
	struct ucred cred;
	socklen_t size = sizeof(cred);

	info = MHD_get_connection_info(rq->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!info || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &cred, &size))
		return 0;
	return cred.pid;
}

/* --- answers ------------------------------------------------------------------- */

static struct MHD_Response *make_response(const struct http_server *s,
					  const char *content_type, char *body,
					  size_t len)
{
	struct MHD_Response *rs;

	rs = MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE);
	if (!rs) {
		free(body);
		return NULL;
	}
	if (MHD_add_response_header(rs, "Content-Type", content_type) != MHD_YES ||
	    (s->draining &&
	     MHD_add_response_header(rs, "Connection", "close") != MHD_YES)) {
		MHD_destroy_response(rs);
		return NULL;
	}
	return rs;
}

void http_reply(struct http_request *rq, unsigned int status, const char *content_type,
		char *body, size_t len)
{
	struct http_server *s = rq->server;

	assert(rq->state == REQUEST_WAITING);
	rq->status = status;
	rq->response = make_response(s, content_type, body, len);
	rq->state = REQUEST_ANSWERED;
	TAILQ_REMOVE(&s->waiting, rq, link);
	s->unanswered -= !rq->late;
	s->unsent++;
	if (!rq->in_handler) {
		MHD_resume_connection(rq->connection);
		s->resumed = true;
	}
}

void http_reply_error(struct http_request *rq, unsigned int status, const char *text)
{
	size_t len = 0;
	char *body = api_encode_error(text, &len);

	if (!body)
		status = MHD_HTTP_SERVICE_UNAVAILABLE;
	http_reply(rq, status, "application/json", body, len);
}

/* Sends what http_reply left. */
static enum MHD_Result send_answer(struct http_request *rq)
{
	struct MHD_Response *rs = rq->response;

	if (!rs)
		return MHD_queue_response(rq->connection, MHD_HTTP_SERVICE_UNAVAILABLE,
					  rq->server->no_memory);
	return MHD_queue_response(rq->connection, rq->status, rs);
}

/* --- requests ------------------------------------------------------------------ */

/* Keeps what fits; the rest is read and dropped, so that the client gets to read the
 * answer and the connection stays usable. */
static void append_body(struct http_request *rq, const char *data, size_t len)
{
	size_t limit = rq->server->config.body_limit;
	size_t size = rq->size ? rq->size : BODY_SIZE_FIRST;
	char *body;

	rq->len += len;
	if (rq->len > limit || rq->no_memory) {
		free(TAKE(rq->body));
		return;
	}
	while (size <= rq->len)
		size *= 2;
	if (size != rq->size) {
		body = realloc(rq->body, size);
		if (!body) {
			rq->no_memory = true;
			free(TAKE(rq->body));
			return;
		}
		rq->body = body;
		rq->size = size;
	}
	memcpy(rq->body + rq->len - len, data, len);
	rq->body[rq->len] = '\0';
}

static void dispatch(struct http_request *rq)
{
	struct http_server *s = rq->server;
	char text[80];

	rq->state = REQUEST_WAITING;
	TAILQ_INSERT_TAIL(&s->waiting, rq, link);
	rq->in_handler = true;
	if (rq->late || s->closing) {
		http_reply_error(rq, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting down");
	} else if (rq->len > s->config.body_limit) {
		(void)snprintf(text, sizeof(text), "request body larger than %zu bytes",
			       s->config.body_limit);
		http_reply_error(rq, MHD_HTTP_CONTENT_TOO_LARGE, text);
	} else if (rq->no_memory) {
		http_reply_error(rq, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	} else {
		s->config.handler(s->config.ctx, rq);
	}
	rq->in_handler = false;
}

/* NOLINTNEXTLINE(readability-function-size): parameters as MHD wants them */
static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection,
				 const char *url, const char *method, const char *version,
				 const char *upload, size_t *upload_size, void **req_cls)
{
	struct http_server *s = cls;
	struct http_request *rq = *req_cls;

	(void)version; /* MHD speaks 1.0 and 1.1 on its own */
	if (!rq) {
		rq = calloc(1, sizeof(*rq));
		if (!rq)
			return MHD_queue_response(
				connection, MHD_HTTP_SERVICE_UNAVAILABLE, s->no_memory);
		rq->server = s;
		rq->connection = connection;
		rq->method = method;
		rq->path = url;
		rq->late = s->draining;
		s->unanswered += !rq->late;
		*req_cls = rq;
		return MHD_YES;
	}
	if (*upload_size) {
		append_body(rq, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	if (rq->state == REQUEST_READING)
		dispatch(rq);
	if (rq->state == REQUEST_ANSWERED)
		return send_answer(rq);
	MHD_suspend_connection(connection);
	return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **req_cls,
			 enum MHD_RequestTerminationCode why)
{
	struct http_request *rq = TAKE(*req_cls);
	struct http_server *s = cls;

	(void)connection;
	if (!rq)
		return;
	assert(rq->state != REQUEST_WAITING);
	if (rq->state == REQUEST_ANSWERED)
		s->unsent--;
	else
		s->unanswered -= !rq->late;
	if (why != MHD_REQUEST_TERMINATED_COMPLETED_OK)
		log_debug("client went away method=%s", rq->method);
	if (rq->response)
		MHD_destroy_response(rq->response);
	free(rq->body);
	free(rq);
}

/* --- the loop ------------------------------------------------------------------ */

static void run_daemon(struct http_server *s)
{
	s->resumed = false;
	(void)MHD_run(s->daemon); /* fails only for a daemon of another mode */
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *cls)
{
	struct http_server *s = cls;

	(void)source;
	(void)fd;
	(void)revents;
	run_daemon(s);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *cls)
{
	struct http_server *s = cls;

	(void)source;
	(void)usec;
	run_daemon(s);
	return 0;
}

/* Has MHD something to do that no fd will announce? */
static bool is_due(const struct http_server *s, uint64_t *ret_ms)
{
	MHD_UNSIGNED_LONG_LONG ms = 0;

	if (!s->resumed && MHD_get_timeout(s->daemon, &ms) != MHD_YES)
		return false;
	*ret_ms = ms;
	return true;
}

/*
 * Before each poll. With an external epoll a resumed connection is not announced, not
 * even by MHD_get_timeout (0.9.75): the answers of a turn are written here, at its end.
 * After an answer MHD wants to be run twice more; a timer for each would cost more than
 * the request, so it is used only where that does not end.
 */
static int on_prepare(sd_event_source *source, void *cls)
{
	struct http_server *s = cls;
	uint64_t ms = 0;
	bool due = is_due(s, &ms);

	(void)source;
	for (int i = 0; i < RUNS_A_TURN && due && ms == 0; i++) {
		run_daemon(s);
		due = is_due(s, &ms);
	}
	if (!due)
		return sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	(void)sd_event_source_set_time_relative(s->timer, ms * 1000);
	return sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

/* MHD takes connections that it did not accept for TCP ones (0.9.75). */
static bool is_about_tcp(const char *fmt)
{
	return str_has_prefix(fmt, "Setting %s option to") ||
	       str_has_prefix(fmt, "Failed to push the data from buffers");
}

/* What MHD complains about: broken requests. */
__attribute__((format(printf, 2, 0))) static void on_log(void *cls, const char *fmt,
							 va_list ap)
{
	struct http_server *s = cls;
	char text[256];
	char quoted[256];
	size_t len;

	if (is_about_tcp(fmt) || !limit_pass(&s->log_limit))
		return;
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut off is fine */
	len = strlen(text);
	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	log_warning("%s (%u more not shown), ignoring",
		    log_quote(quoted, sizeof(quoted), text), s->log_limit.dropped);
	s->log_limit.dropped = 0;
}

/* --- connections ---------------------------------------------------------------- */

/* Clients wait in the backlog meanwhile. */
static void accept_later(struct http_server *s, int error)
{
	log_warning_limited("accept: %s, trying again", strerrordesc_np(error));
	(void)sd_event_source_set_enabled(s->accept, SD_EVENT_OFF);
	(void)sd_event_source_set_time_relative(s->retry, ACCEPT_PAUSE_USEC);
	(void)sd_event_source_set_enabled(s->retry, SD_EVENT_ONESHOT);
}

static bool is_full(const struct http_server *s)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info && info->num_connections >= s->config.connection_limit;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *cls)
{
	struct http_server *s = cls;

	(void)source;
	(void)revents;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_un sun = {.sun_family = AF_UNIX};
		socklen_t size = sizeof(sun);
		int client;

		if (is_full(s)) /* until on_connection tells of an end */
			return sd_event_source_set_enabled(s->accept, SD_EVENT_OFF);
		client = accept4(fd, (struct sockaddr *)&sun, &size,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (client >= 0) { /* closed by MHD also when it fails, which it logs */
			(void)MHD_add_connection(s->daemon, client,
						 (struct sockaddr *)&sun, size);
			s->resumed = true; /* and is to be looked at */
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			accept_later(s, errno);
			break;
		}
	}
	return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *cls)
{
	struct http_server *s = cls;

	(void)source;
	(void)usec;
	return s->accept ? sd_event_source_set_enabled(s->accept, SD_EVENT_ON) : 0;
}

static void on_connection(void *cls, struct MHD_Connection *connection,
			  void **socket_context, enum MHD_ConnectionNotificationCode what)
{
	struct http_server *s = cls;

	(void)connection;
	(void)socket_context;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED && s->accept)
		(void)sd_event_source_set_enabled(s->accept, SD_EVENT_ON);
}

/* --- start and stop ------------------------------------------------------------ */

/* A socket file must not be visible before connections to it are served: the engine
 * activates every socket it finds. So it is bound elsewhere and moved into place. */
static int bind_socket(struct http_server *s, const char *temp, int *ret_fd,
		       struct err *e)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	auto_close int fd = -1;
	struct stat st;

	if (str_copy(sun.sun_path, sizeof(sun.sun_path), temp) < 0)
		return err_set(e, -ENAMETOOLONG, "socket path %s is too long", temp);
	if (!lstat(s->config.path, &st) && !S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST, "%s is there and is no socket",
			       s->config.path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, -errno, "socket");
	if (unlink(temp) < 0 && errno != ENOENT)
		return err_sys(e, -errno, "unlink %s", temp);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return err_sys(e, -errno, "bind %s", temp);
	if (chmod(temp, s->config.mode) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
	    lstat(temp, &st) < 0) {
		int r = -errno;

		(void)unlink(temp); /* the first error counts */
		return err_sys(e, r, "socket %s", temp);
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int start_daemon(struct http_server *s, struct err *e)
{
	s->no_memory = MHD_create_response_from_buffer(strlen(RESPONSE_NO_MEMORY),
						       (void *)RESPONSE_NO_MEMORY,
						       MHD_RESPMEM_PERSISTENT);
	if (!s->no_memory)
		return err_sys(e, -ENOMEM, "HTTP server");
	s->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
			MHD_USE_NO_LISTEN_SOCKET,
		0, NULL, NULL, on_access, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s,
		MHD_OPTION_CONNECTION_LIMIT, s->config.connection_limit,
		MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
		MHD_OPTION_END);
	if (!s->daemon)
		return err_set(e, -EIO, "HTTP server does not start");
	return 0;
}

/* fd is taken on success. */
static int attach_listener(struct http_server *s, sd_event *event, int fd, struct err *e)
{
	int r = sd_event_add_time_relative(event, &s->retry, CLOCK_MONOTONIC, 0,
					   TIMER_SLACK_USEC, on_retry, s);

	if (r >= 0)
		r = sd_event_source_set_enabled(s->retry, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_io(event, &s->accept, fd, EPOLLIN, on_accept, s);
	if (r >= 0)
		r = sd_event_source_set_io_fd_own(s->accept, true);
	return r < 0 ? err_sys(e, r, "HTTP listener") : 0;
}

static int attach(struct http_server *s, sd_event *event, struct err *e)
{
	const union MHD_DaemonInfo *info;
	int r;

	info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return err_set(e, -EOPNOTSUPP, "libmicrohttpd is without epoll");
	r = sd_event_add_io(event, &s->io, info->epoll_fd, EPOLLIN, on_io, s);
	if (r < 0)
		return err_sys(e, r, "HTTP event source");
	r = sd_event_add_time_relative(event, &s->timer, CLOCK_MONOTONIC, 0,
				       TIMER_SLACK_USEC, on_timer, s);
	if (r < 0)
		return err_sys(e, r, "HTTP timer");
	r = sd_event_source_set_prepare(s->io, on_prepare);
	if (r < 0)
		return err_sys(e, r, "HTTP event source");
	return 0;
}

static int check_inherited(int fd, struct err *e)
{
	int listening = 0;
	socklen_t size = sizeof(listening);
	int flags;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0)
		return err_sys(e, -errno, "inherited socket %d", fd);
	if (!listening)
		return err_set(e, -EINVAL, "inherited socket %d does not listen", fd);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(e, -errno, "inherited socket %d", fd);
	return 0;
}

/* Binds (to temp), starts and attaches; what fails half-way is for the caller's free. */
static int start(struct http_server *s, sd_event *event, const char *temp, struct err *e)
{
	auto_close int fd = s->config.listen_fd;
	int r;

	if (fd >= 0)
		r = check_inherited(fd, e);
	else
		r = bind_socket(s, temp, &fd, e);
	if (r < 0)
		return r;
	r = start_daemon(s, e);
	if (r == 0)
		r = attach(s, event, e);
	if (r == 0)
		r = attach_listener(s, event, fd, e);
	if (r == 0)
		(void)TAKE_FD(fd);
	return r;
}

int http_server_new(sd_event *event, const struct http_config *config,
		    struct http_server **ret, struct err *e)
{
	char temp[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 8] = "";
	bool inherited = config->listen_fd >= 0;
	struct http_server *s;
	int r;

	s = calloc(1, sizeof(*s));
	if (!s) {
		if (inherited)
			(void)close(config->listen_fd);
		return err_sys(e, -ENOMEM, "HTTP server");
	}
	s->config = *config;
	TAILQ_INIT(&s->waiting);
	if (!inherited && str_printf(temp, sizeof(temp), "%s.new", config->path) < 0)
		r = err_set(e, -ENAMETOOLONG, "socket path %s is too long", config->path);
	else
		r = start(s, event, temp, e);
	if (r == 0 && !inherited) {
		s->path = strdup(config->path);
		if (!s->path)
			r = err_sys(e, -ENOMEM, "HTTP server");
		else if (rename(temp, config->path) < 0)
			r = err_sys(e, -errno, "rename %s to %s", temp, config->path);
	}
	if (r < 0) {
		if (s->ino)
			(void)unlink(temp); /* the first error counts */
		http_server_free(s);
		return r;
	}
	s->config.path = s->path;
	*ret = s;
	return 0;
}

/* Not if the name belongs to a successor already. */
static void remove_socket(struct http_server *s)
{
	struct stat st;

	if (!s->path)
		return;
	if (!lstat(s->path, &st) && st.st_dev == s->dev && st.st_ino == s->ino &&
	    unlink(s->path) < 0)
		log_warning("unlink %s: %s, ignoring", s->path, strerrordesc_np(errno));
	free(TAKE(s->path));
}

void http_server_drain(struct http_server *s)
{
	if (s->draining)
		return;
	s->draining = true;
	remove_socket(s);
	s->accept = sd_event_source_disable_unref(s->accept);
}

unsigned int http_server_pending(const struct http_server *s)
{
	return s->unanswered;
}

/* Writes the answers, as long as the clients read them. */
static void flush(struct http_server *s)
{
	struct pollfd pfd = {.fd = sd_event_source_get_io_fd(s->io), .events = POLLIN};

	run_daemon(s); /* also: a last look for requests that came */
	for (int i = 0; i < FLUSH_TURNS && s->unsent; i++) {
		MHD_UNSIGNED_LONG_LONG ms;

		if (MHD_get_timeout(s->daemon, &ms) != MHD_YES || ms)
			(void)poll(&pfd, 1, FLUSH_TURN_MS);
		run_daemon(s);
	}
}

void http_server_free(struct http_server *s)
{
	struct http_request *rq;

	if (!s)
		return;
	if (s->daemon && s->io) {
		http_server_drain(s);
		s->closing = true;
		while ((rq = TAILQ_FIRST(&s->waiting)) != NULL)
			http_reply_error(rq, MHD_HTTP_SERVICE_UNAVAILABLE,
					 "shutting down");
		flush(s);
	}
	remove_socket(s);
	s->accept = sd_event_source_disable_unref(s->accept); /* not there is fine */
	sd_event_source_disable_unref(s->retry);
	sd_event_source_disable_unref(s->timer);
	sd_event_source_disable_unref(s->io);
	if (s->daemon)
		MHD_stop_daemon(s->daemon);
	if (s->no_memory)
		MHD_destroy_response(s->no_memory);
	free(s);
}
