/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_ENGINE_PARSE_H
#define PLUGIN_ENGINE_PARSE_H
/*
 * What the engine sends, as values: events (engine_events.c) and containers
 * (engine_inspect.c). Pure: no I/O. All input is hostile. Thread: any.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin/base/err.h"
#include "plugin/engine.h"

#define ENGINE_VERSION_SIZE   12	      /* "1.47" */
#define ENGINE_LINE_MAX	      (1024UL * 1024) /* of one event */
#define ENGINE_CONTAINERS_MAX 65536	      /* in one list */

/* What an event asks for. */
enum engine_message_kind {
	ENGINE_MESSAGE_OTHER,	/* nothing */
	ENGINE_MESSAGE_EVENT,	/* tell event */
	ENGINE_MESSAGE_INSPECT, /* inspect the container */
	ENGINE_MESSAGE_CONNECT, /* inspect it if it runs already */
	ENGINE_MESSAGE_NETWORK, /* list the networks */
};

struct engine_message {
	enum engine_message_kind kind;
	char id[ENGINE_ID_SIZE]; /* of the container */
	enum engine_event event;
	int signal; /* of ENGINE_EVENT_KILL; 0: not told */
	enum engine_health health;
	int64_t time_ns; /* of the engine's clock; 0: not told */
};

/* Reads one line of the event stream. Events that are none of ours give
 * ENGINE_MESSAGE_OTHER; -EINVAL: not an event at all. */
int engine_parse_event(const char *line, size_t len, struct engine_message *ret,
		       struct err *e);

/* Cuts the stream into lines. Zeroed is empty; engine_lines_fini frees. */
struct engine_lines {
	char *buf;
	size_t len;
	size_t size;
	bool skipping; /* the rest of a line that is too long */
};

/* A line without its end, never empty; not NUL-terminated. */
typedef void (*engine_line_fn)(void *ctx, const char *line, size_t len);

/* Calls fn for each line that data completes. 1: at least one line was longer than
 * ENGINE_LINE_MAX and is left out; -ENOMEM. */
int engine_lines_feed(struct engine_lines *l, const char *data, size_t size,
		      engine_line_fn fn, void *ctx);
void engine_lines_fini(struct engine_lines *l);

/* The answer of GET /containers/ID/json; owns what container points to. */
struct engine_inspection;

/* -EINVAL: not a container; -ENOMEM. Labels and endpoints beyond the limits of
 * engine.h are left out. */
int engine_inspection_new(const char *text, size_t len, struct engine_inspection **ret,
			  struct err *e);
void engine_inspection_free(struct engine_inspection *in);
const struct engine_container *engine_inspection_container(
	const struct engine_inspection *in);

/* The ids in the answer of GET /containers/json. *ret_ids is the caller's (free).
 * -EINVAL: not such a list; -E2BIG: too many; -ENOMEM. */
int engine_parse_list(const char *text, size_t len, char (**ret_ids)[ENGINE_ID_SIZE],
		      unsigned int *ret_count, struct err *e);

/* Calls fn with the networks in the answer of GET /networks. -EINVAL: not such a list;
 * -E2BIG: too many; -ENOMEM. */
int engine_parse_networks(const char *text, size_t len,
			  void (*fn)(void *ctx, const struct engine_network *list,
				     unsigned int count),
			  void *ctx, struct err *e);

/* The API version to speak with an engine whose highest is text: the smaller of it
 * and the highest known here. -EINVAL: not a version. */
int engine_parse_version(const char *text, char ret[ENGINE_VERSION_SIZE]);

/* The reason in the body of an error, for the caller to free, or NULL. */
char *engine_parse_error(const char *text, size_t len);

/* "15", "SIGQUIT", "quit", "RTMIN+3" as a number; -EINVAL. */
int engine_parse_signal(const char *text);

/* Hexadecimal digits, at most 64: safe as part of a URL. */
bool engine_id_valid(const char *id);

#endif
