/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_LAB_SRC_PLUGINCALL_H
#define TESTS_LAB_SRC_PLUGINCALL_H
/*
 * Calls to a plugin over its unix socket, for the clients of tests and figures
 * (ipamload.c, ipamkill.c): connections that stay open, one request at a time on
 * each, so cheap that what is measured is the plugin. Answers must be small.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PLUGIN_ANSWER_MAX  4096
#define PLUGIN_REQUEST_MAX 4096

struct plugin_conn {
	int fd; /* -1: closed */
	size_t got;
	const char *body; /* of the whole answer, ends with NUL */
	char in[PLUGIN_ANSWER_MAX];
};

enum plugin_state {
	PLUGIN_PART,  /* of an answer is here */
	PLUGIN_WHOLE, /* the answer is in body, until the next request */
	PLUGIN_GONE,  /* the connection has ended */
};

static inline uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* A blocking connection in *c; false: nobody listens (errno). */
static inline bool plugin_dial(struct plugin_conn *c, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	c->fd = -1;
	c->got = 0;
	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		int error = errno;

		(void)close(fd);
		errno = error;
		return false;
	}
	c->fd = fd;
	return true;
}

static inline void plugin_hang_up(struct plugin_conn *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
}

/* Sends a request; false: the other end is gone. */
static inline bool plugin_post(struct plugin_conn *c, const char *method,
			       const char *json)
{
	char text[PLUGIN_REQUEST_MAX];
	int len = snprintf(text, sizeof(text),
			   "POST /%s HTTP/1.1\r\nHost: \r\nContent-Length: %zu\r\n\r\n%s",
			   method, strlen(json), json);

	c->got = 0;
	if (len < 0 || (size_t)len >= sizeof(text)) {
		errno = EMSGSIZE;
		return false;
	}
	/* It is far below what a socket's buffer takes at once. */
	return send(c->fd, text, (size_t)len, MSG_NOSIGNAL) == len;
}

/* Reads what there is (waits if there is nothing). */
static inline enum plugin_state plugin_read(struct plugin_conn *c)
{
	static const char length_name[] = "Content-Length: ";
	ssize_t n = recv(c->fd, c->in + c->got, sizeof(c->in) - 1 - c->got, 0);
	const char *length;
	char *body;

	if (n <= 0)
		return n < 0 && errno == EINTR ? PLUGIN_PART : PLUGIN_GONE;
	c->got += (size_t)n;
	c->in[c->got] = '\0';
	body = strstr(c->in, "\r\n\r\n");
	if (!body)
		return PLUGIN_PART;
	body += 4;
	length = strstr(c->in, length_name);
	if (!length || length > body)
		return PLUGIN_GONE; /* no answer of ours */
	length += sizeof(length_name) - 1;
	if (c->got - (size_t)(body - c->in) < strtoul(length, NULL, 10))
		return PLUGIN_PART;
	c->body = body;
	return PLUGIN_WHOLE;
}

/* One request and its answer; false: the connection has ended. */
static inline bool plugin_call(struct plugin_conn *c, const char *method,
			       const char *json)
{
	enum plugin_state s = PLUGIN_GONE;

	if (plugin_post(c, method, json))
		do
			s = plugin_read(c);
		while (s == PLUGIN_PART);
	return s == PLUGIN_WHOLE;
}

/* Copies a text member of the answer; false: there is none (an error, perhaps). */
static inline bool plugin_member(const struct plugin_conn *c, const char *name, char *buf,
				 size_t size)
{
	char key[64];
	const char *from;
	size_t len;

	(void)snprintf(key, sizeof(key), "\"%s\":\"", name);
	from = strstr(c->body, key);
	if (!from)
		return false;
	from += strlen(key);
	len = strcspn(from, "\"");
	if (len >= size)
		return false;
	memcpy(buf, from, len);
	buf[len] = '\0';
	return true;
}

/* Calls Plugin.Activate until it is answered, on a connection that stays. */
static inline bool plugin_wait(struct plugin_conn *c, const char *path, unsigned int ms)
{
	const struct timespec tick = {.tv_nsec = 1000000};
	uint64_t end = now_us() + ms * 1000ULL;

	do {
		if (plugin_dial(c, path)) {
			if (plugin_call(c, "Plugin.Activate", "") &&
			    strstr(c->body, "IpamDriver"))
				return true;
			plugin_hang_up(c);
		}
		(void)nanosleep(&tick, NULL);
	} while (now_us() < end);
	return false;
}

#endif
