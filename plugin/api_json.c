// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads requests and writes answers, for api_net.c and api_ipam.c. Everything is
 * copied out of the JSON tree, which dies with the document. Go's encoder sends null
 * for nil maps and lists, and engines differ in what they leave out, so nothing here
 * distinguishes the two; unknown members are ignored.
 */
#include "plugin/api_json.h"

#include "plugin/base/log.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_TEXT_SIZE 24

/* --- options ------------------------------------------------------------------- */

void api_options_fini(struct api_options *o)
{
	for (unsigned int i = 0; i < o->count; i++) {
		free(o->list[i].name);
		free(o->list[i].value);
	}
	free(o->list);
	*o = (struct api_options){0};
}

const char *api_options_find(const struct api_options *o, const char *name)
{
	for (unsigned int i = 0; i < o->count; i++) {
		if (!strcmp(o->list[i].name, name))
			return o->list[i].value;
	}
	return NULL;
}

int api_options_set(struct api_options *o, const char *name, const char *value)
{
	auto_free char *new_value = strdup(value);
	auto_free char *new_name = strdup(name);
	struct api_option *list;

	if (!new_name || !new_value)
		return -ENOMEM;
	for (unsigned int i = 0; i < o->count; i++) {
		if (!strcmp(o->list[i].name, name)) {
			free(o->list[i].value);
			o->list[i].value = TAKE(new_value);
			return 0;
		}
	}
	if (o->count >= API_OPTIONS_MAX)
		return -E2BIG;
	list = reallocarray(o->list, o->count + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	o->list = list;
	list[o->count++] =
		(struct api_option){.name = TAKE(new_name), .value = TAKE(new_value)};
	return 0;
}

/* --- the document -------------------------------------------------------------- */

static bool is_blank(const char *body, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!isspace((unsigned char)body[i]))
			return false;
	}
	return true;
}

struct api_node api_open(struct api_document *doc, const char *method, const char *body,
			 size_t len)
{
	struct api_node root = {.doc = doc};
	json_error_t je;

	*doc = (struct api_document){.method = method};
	if (is_blank(body, len)) {
		/* PROTOCOL 1.5: to say yes would make the engine believe it was done. */
		err_set(&doc->err, -EINVAL,
			"%s: the request has no body, as the engine repeats requests "
			"after a lost connection; nothing was done",
			method);
		return root;
	}
	doc->root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &je);
	if (!doc->root)
		err_set(&doc->err,
			json_error_code(&je) == json_error_out_of_memory ? -ENOMEM
									 : -EINVAL,
			"%s: bad JSON: %s (line %d, column %d)", method, je.text, je.line,
			je.column);
	else if (!json_is_object(doc->root))
		err_set(&doc->err, -EINVAL, "%s: the request is not a JSON object",
			method);
	root.json = doc->root;
	return root;
}

int api_close(struct api_document *doc, struct err *e)
{
	json_decref(doc->root);
	doc->root = NULL;
	if (doc->err.code < 0 && e)
		*e = doc->err;
	return doc->err.code;
}

/* "IPv4Data[0].Pool"; a very long one is cut. */
static const char *full_name(const struct api_node *node, const char *name, char *buf)
{
	(void)str_printf(buf, API_FIELD_SIZE, "%s%s%s", node->field,
			 *node->field && name ? "." : "", name ? name : "");
	return buf;
}

static void fail_code(const struct api_node *node, const char *name, int code,
		      const char *why)
{
	struct api_document *doc = node->doc;
	char field[API_FIELD_SIZE];
	char quoted[API_FIELD_SIZE];

	if (doc->err.code)
		return;
	full_name(node, name, field);
	err_set(&doc->err, code, "%s: %s %s", doc->method,
		log_quote(quoted, sizeof(quoted), field), why);
}

void api_fail(const struct api_node *node, const char *name, const char *why)
{
	fail_code(node, name, -EINVAL, why);
}

void *api_alloc(const struct api_node *node, unsigned int count, size_t size)
{
	void *p;

	if (!count || node->doc->err.code)
		return NULL;
	p = calloc(count, size);
	if (!p)
		fail_code(node, NULL, -ENOMEM, "out of memory");
	return p;
}

/* --- members ------------------------------------------------------------------- */

/* NULL: not there, null, or there was an error already. */
static json_t *member(const struct api_node *node, const char *name)
{
	json_t *v;

	if (node->doc->err.code || !node->json)
		return NULL;
	v = json_object_get(node->json, name);
	return json_is_null(v) ? NULL : v;
}

/* A text; NULL: not there, or an error. */
static const char *text_member(const struct api_node *node, const char *name,
			       enum api_need need)
{
	json_t *v = member(node, name);

	if (v && !json_is_string(v)) {
		api_fail(node, name, "must be a text");
		return NULL;
	}
	if (need == API_REQUIRED && !v)
		api_fail(node, name, "is missing");
	else if (need == API_REQUIRED && str_is_empty(json_string_value(v)))
		api_fail(node, name, "is empty");
	return node->doc->err.code ? NULL : json_string_value(v);
}

void api_text(const struct api_node *node, const char *name, enum api_need need,
	      char *ret, size_t size)
{
	const char *text = text_member(node, name, need);

	ret[0] = '\0';
	if (text && str_copy(ret, size, text) < 0)
		api_fail(node, name, "is too long");
}

void api_id(const struct api_node *node, const char *name, char ret[API_ID_SIZE])
{
	const char *text = text_member(node, name, API_REQUIRED);

	ret[0] = '\0';
	if (!text)
		return;
	for (const char *p = text; *p; p++) {
		bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');

		if (!letter && !(*p >= '0' && *p <= '9')) {
			api_fail(node, name, "must be letters and digits");
			return;
		}
	}
	if (str_copy(ret, API_ID_SIZE, text) < 0)
		api_fail(node, name, "is too long");
}

enum api_switch api_flag(const struct api_node *node, const char *name)
{
	json_t *v = member(node, name);
	bool on = json_is_true(v);

	if (!v)
		return API_SWITCH_UNSET;
	if (!json_is_boolean(v) &&
	    (!json_is_string(v) || str_to_bool(json_string_value(v), &on) < 0)) {
		api_fail(node, name, "must be true or false");
		return API_SWITCH_UNSET;
	}
	return on ? API_SWITCH_ON : API_SWITCH_OFF;
}

uint32_t api_number(const struct api_node *node, const char *name, uint32_t max)
{
	json_t *v = member(node, name);
	json_int_t n = json_integer_value(v);

	if (!v)
		return 0;
	if (!json_is_integer(v)) {
		api_fail(node, name, "must be a whole number");
		return 0;
	}
	if (n < 0 || n > max) {
		api_fail(node, name, "is out of range");
		return 0;
	}
	return (uint32_t)n;
}

struct addr api_addr(const struct api_node *node, const char *name)
{
	const char *text = text_member(node, name, API_OPTIONAL);
	struct addr a = {0};

	if (!str_is_empty(text) && addr_parse(text, &a) < 0)
		api_fail(node, name, "must be an IP address");
	return a;
}

struct cidr api_cidr(const struct api_node *node, const char *name, enum api_need need)
{
	const char *text = text_member(node, name, need);
	struct cidr c = {0};

	if (!str_is_empty(text) && cidr_parse(text, &c) < 0)
		api_fail(node, name, "must be an IP address with a prefix length");
	return c;
}

bool api_mac(const struct api_node *node, const char *name, uint8_t ret[MAC_SIZE])
{
	const char *text = text_member(node, name, API_OPTIONAL);

	memset(ret, 0, MAC_SIZE);
	if (str_is_empty(text))
		return false;
	if (strlen(text) != MAC_TEXT_SIZE - 1 ||
	    strspn(text, "0123456789abcdefABCDEF:") != MAC_TEXT_SIZE - 1 ||
	    mac_parse(text, ret) < 0) {
		api_fail(node, name, "must be a MAC address");
		return false;
	}
	return true;
}

/* --- objects and lists --------------------------------------------------------- */

struct api_node api_object(const struct api_node *node, const char *name)
{
	struct api_node n = {.doc = node->doc, .json = member(node, name)};

	full_name(node, name, n.field);
	if (n.json && !json_is_object(n.json)) {
		api_fail(&n, NULL, "must be an object");
		n.json = NULL;
	}
	return n;
}

struct api_node api_list(const struct api_node *node, const char *name)
{
	struct api_node n = {.doc = node->doc, .json = member(node, name)};

	full_name(node, name, n.field);
	if (n.json && !json_is_array(n.json)) {
		api_fail(&n, NULL, "must be a list");
		n.json = NULL;
	}
	return n;
}

unsigned int api_count(const struct api_node *node, unsigned int max)
{
	size_t count = json_is_array(node->json) ? json_array_size(node->json)
						 : json_object_size(node->json);

	if (node->doc->err.code)
		return 0;
	if (count > max) {
		api_fail(node, NULL, "has too many entries");
		return 0;
	}
	return (unsigned int)count;
}

struct api_node api_item(const struct api_node *list, unsigned int i)
{
	struct api_node n = {.doc = list->doc, .json = json_array_get(list->json, i)};

	if (str_printf(n.field, sizeof(n.field), "%s[%u]", list->field, i) < 0)
		memcpy(n.field, list->field, sizeof(n.field));
	if (!json_is_object(n.json)) {
		api_fail(&n, NULL, "must be an object");
		n.json = NULL;
	}
	return n;
}

/* An option's value as text, in buf where it has none of its own; NULL: a list ... */
static const char *option_text(const json_t *v, char buf[NUMBER_TEXT_SIZE])
{
	if (json_is_string(v))
		return json_string_value(v);
	if (json_is_boolean(v))
		return json_is_true(v) ? "true" : "false";
	if (!json_is_integer(v))
		return NULL;
	(void)snprintf(buf, NUMBER_TEXT_SIZE, "%" JSON_INTEGER_FORMAT,
		       json_integer_value(v)); /* 64 bits fit */
	return buf;
}

void api_option_map(const struct api_node *node, struct api_options *ret)
{
	unsigned int count = api_count(node, API_OPTIONS_MAX);
	char buf[NUMBER_TEXT_SIZE];
	const char *name;
	json_t *v;

	*ret = (struct api_options){0};
	ret->list = api_alloc(node, count, sizeof(*ret->list));
	if (!ret->list)
		return;
	json_object_foreach (node->json, name, v) {
		const char *text = option_text(v, buf);
		struct api_option *o = &ret->list[ret->count];

		if (!text)
			continue;
		if (strlen(name) > API_OPTION_NAME_MAX ||
		    strlen(text) > API_OPTION_VALUE_MAX) {
			api_fail(node, name, "is too long");
			break;
		}
		o->name = strdup(name);
		o->value = strdup(text);
		ret->count++;
		if (!o->name || !o->value) {
			fail_code(node, name, -ENOMEM, "out of memory");
			break;
		}
	}
	if (node->doc->err.code)
		api_options_fini(ret);
}

struct cidr *api_cidr_map(const struct api_node *node, unsigned int max,
			  unsigned int *ret_count)
{
	unsigned int count = api_count(node, max);
	struct cidr *list = api_alloc(node, count, sizeof(*list));
	const char *name;
	json_t *v;

	*ret_count = 0;
	if (!list)
		return NULL;
	json_object_foreach (node->json, name, v) {
		struct cidr c = api_cidr(node, name, API_OPTIONAL);

		if (addr_is_set(&c.addr))
			list[(*ret_count)++] = c;
	}
	return list;
}

/* --- answers ------------------------------------------------------------------- */

char *api_dump(json_t *root, size_t *ret_len)
{
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;

	json_decref(root);
	*ret_len = text ? strlen(text) : 0;
	return text;
}

char *api_encode_empty(size_t *ret_len)
{
	return api_dump(json_object(), ret_len);
}

char *api_encode_error(const char *text, size_t *ret_len)
{
	json_t *t = json_string(text);
	auto_free char *clean = NULL;

	if (!t) {
		clean = strdup(text);
		for (char *p = clean; p && *p; p++) {
			if (*p & 0x80)
				*p = '?';
		}
		t = clean ? json_string(clean) : NULL;
	}
	*ret_len = 0;
	if (!t)
		return NULL;
	return api_dump(json_pack("{s:O, s:o}", "Err", t, "Error", t), ret_len);
}
