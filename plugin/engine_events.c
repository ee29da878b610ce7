// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine's event stream: cut into lines, each line one JSON object. Only events
 * that change what a backend may get are of interest; the stream also carries
 * others (exec, resize, ...), which cost no more than a look at the action.
 */
#include "plugin/engine_parse.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#define LINES_SIZE_FIRST 4096
#define SIGNAL_MAX	 64
#define SIGNAL_RTMIN	 34 /* as Docker counts: of the kernel, less those of libc */

DEFINE_CLEANUP(json_t *, json_decref);

static int lines_append(struct engine_lines *l, const char *data, size_t size)
{
	size_t want = l->size ? l->size : LINES_SIZE_FIRST;
	char *buf;

	while (want < l->len + size)
		want *= 2;
	if (want > l->size) {
		buf = realloc(l->buf, want);
		if (!buf)
			return -ENOMEM;
		l->buf = buf;
		l->size = want;
	}
	memcpy(l->buf + l->len, data, size);
	l->len += size;
	return 0;
}

/* Takes a piece that has no line end in it. 1: the line is too long. */
static int lines_piece(struct engine_lines *l, const char *data, size_t size)
{
	if (l->skipping || size == 0)
		return 0;
	if (l->len + size > ENGINE_LINE_MAX) {
		l->skipping = true;
		l->len = 0;
		return 1;
	}
	return lines_append(l, data, size);
}

static void lines_end(struct engine_lines *l, engine_line_fn fn, void *ctx)
{
	size_t len = l->len;

	l->len = 0;
	if (l->skipping) {
		l->skipping = false;
		return;
	}
	while (len > 0 && l->buf[len - 1] == '\r')
		len--;
	if (len > 0)
		fn(ctx, l->buf, len);
}

int engine_lines_feed(struct engine_lines *l, const char *data, size_t size,
		      engine_line_fn fn, void *ctx)
{
	bool lost = false;

	while (size > 0) {
		const char *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		int r = lines_piece(l, data, len);

		if (r < 0)
			return r;
		lost |= r > 0;
		if (!end)
			break;
		lines_end(l, fn, ctx);
		data += len + 1;
		size -= len + 1;
	}
	return lost;
}

void engine_lines_fini(struct engine_lines *l)
{
	free(l->buf);
	memset(l, 0, sizeof(*l));
}

bool engine_id_valid(const char *id)
{
	size_t len = strspn(id, "0123456789abcdef");

	return len > 0 && len < ENGINE_ID_SIZE && !id[len];
}

static int signal_by_name(const char *name)
{
	for (int i = 1; i < 32; i++) {
		const char *abbrev = sigabbrev_np(i);

		if (abbrev && !strcasecmp(name, abbrev))
			return i;
	}
	return -EINVAL;
}

/* "RTMIN", "RTMIN+3", "RTMAX-2". */
static int signal_realtime(const char *name)
{
	int base = strncasecmp(name, "RTMIN", 5) ? SIGNAL_MAX : SIGNAL_RTMIN;
	char sign = base == SIGNAL_MAX ? '-' : '+';
	uint32_t offset;

	name += 5;
	if (!*name)
		return base;
	if (*name != sign || str_to_u32(name + 1, 0, SIGNAL_MAX - SIGNAL_RTMIN, &offset))
		return -EINVAL;
	return sign == '+' ? base + (int)offset : base - (int)offset;
}

int engine_parse_signal(const char *text)
{
	uint32_t number;

	if (!str_to_u32(text, 1, SIGNAL_MAX, &number))
		return (int)number;
	if (!strncasecmp(text, "SIG", 3))
		text += 3;
	if (!strncasecmp(text, "RTMIN", 5) || !strncasecmp(text, "RTMAX", 5))
		return signal_realtime(text);
	return signal_by_name(text);
}

static int health_of_action(const char *action, enum engine_health *ret)
{
	static const struct {
		const char *text;
		enum engine_health health;
	} names[] = {
		{"health_status: healthy", ENGINE_HEALTH_HEALTHY},
		{"health_status: unhealthy", ENGINE_HEALTH_UNHEALTHY},
		{"health_status: starting", ENGINE_HEALTH_STARTING},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(action, names[i].text)) {
			*ret = names[i].health;
			return 0;
		}
	}
	return -EINVAL;
}

static void read_container_event(const char *action, json_t *attributes,
				 struct engine_message *m)
{
	static const struct {
		const char *action;
		enum engine_message_kind kind;
		enum engine_event event;
	} names[] = {
		{"start", ENGINE_MESSAGE_INSPECT, 0},
		{"kill", ENGINE_MESSAGE_EVENT, ENGINE_EVENT_KILL},
		{"die", ENGINE_MESSAGE_EVENT, ENGINE_EVENT_DIE},
		{"pause", ENGINE_MESSAGE_EVENT, ENGINE_EVENT_PAUSE},
		{"unpause", ENGINE_MESSAGE_EVENT, ENGINE_EVENT_UNPAUSE},
	};
	const char *sig = json_string_value(json_object_get(attributes, "signal"));

	if (str_has_prefix(action, "health_status")) {
		m->event = ENGINE_EVENT_HEALTH;
		m->kind = health_of_action(action, &m->health) ? ENGINE_MESSAGE_INSPECT
							       : ENGINE_MESSAGE_EVENT;
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(action, names[i].action) != 0)
			continue;
		m->kind = names[i].kind;
		m->event = names[i].event;
	}
	if (m->kind == ENGINE_MESSAGE_EVENT && m->event == ENGINE_EVENT_KILL && sig)
		m->signal = engine_parse_signal(sig);
	if (m->signal < 0)
		m->signal = 0;
}

/* Attributes of other types are looked up in what is not an object: NULL. */
int engine_parse_event(const char *line, size_t len, struct engine_message *ret,
		       struct err *e)
{
	json_error_t je;
	auto_with(json_decref) json_t *root =
		json_loadb(line, len, JSON_REJECT_DUPLICATES, &je);
	json_t *actor = json_object_get(root, "Actor");
	json_t *attributes = json_object_get(actor, "Attributes");
	const char *type = json_string_value(json_object_get(root, "Type"));
	const char *action = json_string_value(json_object_get(root, "Action"));
	const char *id = json_string_value(json_object_get(actor, "ID"));
	struct engine_message m = {0};

	if (!root)
		return err_set(e, -EINVAL, "event: %s", je.text);
	if (!type || !action || !id)
		return err_set(e, -EINVAL, "event without Type, Action or Actor.ID");
	m.time_ns = json_integer_value(json_object_get(root, "timeNano"));
	if (!strcmp(type, "container")) {
		read_container_event(action, attributes, &m);
	} else if (!strcmp(type, "network") && !strcmp(action, "connect")) {
		id = json_string_value(json_object_get(attributes, "container"));
		if (id && engine_id_valid(id)) /* else a sandbox of the engine's own */
			m.kind = ENGINE_MESSAGE_CONNECT;
	} else if (!strcmp(type, "network") &&
		   (!strcmp(action, "create") || !strcmp(action, "destroy") ||
		    !strcmp(action, "remove"))) { /* of swarm's it is "remove" */
		m.kind = ENGINE_MESSAGE_NETWORK;
	}
	if (m.kind != ENGINE_MESSAGE_OTHER && m.kind != ENGINE_MESSAGE_NETWORK) {
		if (!engine_id_valid(id))
			return err_set(e, -EINVAL, "event %.40s: bad container id",
				       action);
		(void)str_copy(m.id, sizeof(m.id), id); /* its length is checked */
	}
	*ret = m;
	return 0;
}
