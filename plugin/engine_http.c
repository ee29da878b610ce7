// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libcurl asks for what it wants to wait for (a socket function, a timer function),
 * sd_event waits, and each wake-up is given back to curl_multi_socket_action. What is
 * finished is collected after every such call, until nothing is left. libcurl
 * refuses to be called from inside its own callbacks, hence the rules for opened
 * and data.
 */
#include "plugin/engine_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#define CONNECT_TIMEOUT_S 10L
#define ERROR_BODY_MAX	  65536 /* of a stream that was refused */
/* The default, 250 ms, would delay each request. */
#define TIMER_ACCURACY_USEC 1000
#define URL_SIZE	    1024
#define KEEPALIVE_S	    30L

struct engine_http {
	sd_event *event;
	CURLM *multi;
	sd_event_source *timer;
	char base[256];						  /* "http://localhost" */
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": tcp */
};

struct engine_request {
	struct engine_http *http;
	struct engine_get get; /* path is not kept */
	CURL *easy;
	char *body;
	size_t size;
	bool is_open; /* a stream whose answer is 200 */
	bool too_big;
	char error[CURL_ERROR_SIZE];
};

static void request_free(struct engine_request *rq)
{
	if (!rq)
		return;
	if (rq->easy)
		curl_easy_cleanup(rq->easy);
	free(rq->body);
	free(rq);
}
DEFINE_CLEANUP(struct engine_request *, request_free);

static void reply_text(struct engine_request *rq, CURLcode code, char *buf, size_t size)
{
	long os_errno = 0;
	const char *reason = rq->error[0] ? rq->error : curl_easy_strerror(code);

	(void)curl_easy_getinfo(rq->easy, CURLINFO_OS_ERRNO, &os_errno);
	if (code == CURLE_COULDNT_CONNECT && os_errno && strerrordesc_np((int)os_errno))
		reason = strerrordesc_np((int)os_errno);
	if (rq->too_big)
		reason = "the answer is too big";
	if (code == CURLE_OK && rq->is_open)
		reason = "the stream was closed";
	else if (code == CURLE_OK)
		reason = "";
	(void)snprintf(buf, size, "%s", reason); /* cut off is fine */
}

static void request_finish(struct engine_request *rq, CURLcode code)
{
	struct engine_reply reply = {.body = rq->body ? rq->body : "", .size = rq->size};
	struct curl_header *version = NULL;
	char text[CURL_ERROR_SIZE];

	reply_text(rq, code, text, sizeof(text));
	(void)curl_easy_getinfo(rq->easy, CURLINFO_RESPONSE_CODE, &reply.status);
	if (code != CURLE_OK && !rq->is_open)
		reply.status = 0; /* half an answer is none */
	(void)curl_easy_header(rq->easy, "Api-Version", 0, CURLH_HEADER, -1, &version);
	reply.version = version ? version->value : "";
	reply.text = text;
	(void)curl_multi_remove_handle(rq->http->multi, rq->easy);
	rq->get.done(rq->get.ctx, &reply);
	request_free(rq);
}

/* One message at a time: what done does may cancel others. */
static void collect_finished(struct engine_http *h)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left))) {
		char *rq = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &rq);
		request_finish((struct engine_request *)(void *)rq, msg->data.result);
	}
}

static void act(struct engine_http *h, curl_socket_t fd, int what)
{
	int running;

	(void)curl_multi_socket_action(h->multi, fd, what, &running);
	collect_finished(h); /* each request tells its own failure */
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	int what = 0;

	(void)source;
	if (revents & EPOLLIN)
		what |= CURL_CSELECT_IN;
	if (revents & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (revents & (EPOLLERR | EPOLLHUP))
		what |= CURL_CSELECT_ERR;
	act(userdata, fd, what);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	act(userdata, CURL_SOCKET_TIMEOUT, 0);
	return 0;
}

/* libcurl: wait for this (no more). The source is kept as the socket's pointer. */
static int want_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *ptr)
{
	static const uint32_t events[] = {
		[CURL_POLL_IN] = EPOLLIN,
		[CURL_POLL_OUT] = EPOLLOUT,
		[CURL_POLL_INOUT] = EPOLLIN | EPOLLOUT,
	};
	struct engine_http *h = ctx;
	sd_event_source *source = ptr;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		sd_event_source_disable_unref(source);
		return 0;
	}
	if (what < 0 || what >= (int)ARRAY_SIZE(events))
		return -1;
	if (source)
		return sd_event_source_set_io_events(source, events[what]) < 0 ? -1 : 0;
	if (sd_event_add_io(h->event, &source, fd, events[what], on_socket, h) < 0)
		return -1;
	(void)curl_multi_assign(h->multi, fd, source); /* fd is known: it asked for it */
	return 0;
}

static int want_timer(CURLM *multi, long timeout_ms, void *ctx)
{
	struct engine_http *h = ctx;

	(void)multi;
	if (timeout_ms < 0)
		return sd_event_source_set_enabled(h->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
	if (sd_event_source_set_time_relative(h->timer, (uint64_t)timeout_ms * 1000) < 0)
		return -1;
	return sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT) < 0 ? -1 : 0;
}

/* "unix:///path" -> a path, "tcp://host:port" -> a base. */
static int read_url(struct engine_http *h, const char *url, struct err *e)
{
	int r;

	if (str_has_prefix(url, "unix:///")) {
		r = str_copy(h->socket, sizeof(h->socket), url + strlen("unix://"));
		(void)str_copy(h->base, sizeof(h->base), "http://localhost");
	} else if (str_has_prefix(url, "tcp://") && url[strlen("tcp://")] &&
		   !strpbrk(url + strlen("tcp://"), "/?#@ \t\r\n")) {
		r = str_printf(h->base, sizeof(h->base), "http://%s",
			       url + strlen("tcp://"));
	} else {
		r = -EINVAL;
	}
	if (r < 0)
		return err_set(e, -EINVAL,
			       "engine %.128s: not unix:///PATH or tcp://HOST:PORT", url);
	return 0;
}

static int open_multi(struct engine_http *h, struct err *e)
{
	int r;

	h->multi = curl_multi_init();
	if (!h->multi)
		return err_sys(e, -ENOMEM, "engine: curl");
	r = sd_event_add_time_relative(h->event, &h->timer, CLOCK_MONOTONIC, 0,
				       TIMER_ACCURACY_USEC, on_timer, h);
	if (r < 0)
		return err_sys(e, r, "engine: timer");
	(void)sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
	/* These take any value of their type. */
	(void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	(void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	(void)curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	(void)curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	return 0;
}

int engine_http_new(sd_event *event, const char *url, struct engine_http **ret,
		    struct err *e)
{
	struct engine_http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return err_sys(e, -ENOMEM, "engine");
	if (curl_global_init(CURL_GLOBAL_DEFAULT)) {
		free(h);
		return err_set(e, -ENOMEM, "engine: curl cannot be set up");
	}
	h->event = sd_event_ref(event);
	r = read_url(h, url, e);
	if (!r)
		r = open_multi(h, e);
	if (r < 0) {
		engine_http_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void engine_http_free(struct engine_http *h)
{
	if (!h)
		return;
	if (h->multi)
		(void)curl_multi_cleanup(h->multi); /* calls want_socket */
	sd_event_source_disable_unref(h->timer);
	sd_event_unref(h->event);
	curl_global_cleanup();
	free(h);
}

static int body_append(struct engine_request *rq, const char *data, size_t size)
{
	size_t limit = rq->get.data ? ERROR_BODY_MAX : rq->get.limit;
	char *body;

	if (size > limit - rq->size) {
		rq->too_big = true;
		return -EFBIG;
	}
	body = realloc(rq->body, rq->size + size + 1);
	if (!body)
		return -ENOMEM;
	memcpy(body + rq->size, data, size);
	rq->body = body;
	rq->size += size;
	body[rq->size] = '\0';
	return 0;
}

static size_t on_body(char *data, size_t one, size_t size, void *ctx)
{
	struct engine_request *rq = ctx;
	int r;

	(void)one;
	if (rq->is_open)
		r = rq->get.data(rq->get.ctx, data, size);
	else
		r = body_append(rq, data, size);
	return r < 0 ? size + 1 : size; /* another number than size ends it */
}

/* The empty line after the headers: a stream may stay silent for long after it. */
static size_t on_header(char *data, size_t one, size_t size, void *ctx)
{
	struct engine_request *rq = ctx;
	long status = 0;

	(void)one;
	if (!rq->get.data || rq->is_open || data[0] != '\r')
		return size;
	(void)curl_easy_getinfo(rq->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status == 200) {
		rq->is_open = true;
		rq->get.opened(rq->get.ctx);
	}
	return size;
}

/* As curl does it, but not to be inherited by programs that the daemon starts. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose,
				 struct curl_sockaddr *addr)
{
	(void)ctx;
	(void)purpose;
	return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

/* Only strings are copied by curl and can fail; the first failure is kept. */
static CURLcode set_options(struct engine_request *rq, const char *url)
{
	const struct engine_http *h = rq->http;
	CURL *c = rq->easy;
	CURLcode r = curl_easy_setopt(c, CURLOPT_URL, url);

	if (!r && h->socket[0])
		r = curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, h->socket);
	if (!r)
		r = curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
	if (!r)
		r = curl_easy_setopt(c, CURLOPT_PROXY, ""); /* not from the environment */
	if (r)
		return r;
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)rq->get.timeout_s);
	(void)curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(c, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
	(void)curl_easy_setopt(c, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S);
	(void)curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, rq->error);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, rq);
	(void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(c, CURLOPT_HEADERDATA, rq);
	(void)curl_easy_setopt(c, CURLOPT_PRIVATE, rq);
	return CURLE_OK;
}

int engine_http_get(struct engine_http *h, const struct engine_get *get,
		    struct engine_request **ret, struct err *e)
{
	auto_with(request_free) struct engine_request *rq = calloc(1, sizeof(*rq));
	char url[URL_SIZE];

	if (!rq)
		return err_sys(e, -ENOMEM, "GET %s", get->path);
	if (str_printf(url, sizeof(url), "%s%s", h->base, get->path) < 0)
		return err_sys(e, -ENAMETOOLONG, "GET %s", get->path);
	rq->http = h;
	rq->get = *get;
	rq->get.path = NULL;
	rq->easy = curl_easy_init();
	if (!rq->easy || set_options(rq, url) ||
	    curl_multi_add_handle(h->multi, rq->easy) != CURLM_OK)
		return err_sys(e, -ENOMEM, "GET %s", get->path);
	*ret = TAKE(rq);
	return 0;
}

void engine_http_cancel(struct engine_request *rq)
{
	if (!rq)
		return;
	(void)curl_multi_remove_handle(rq->http->multi, rq->easy);
	request_free(rq);
}
