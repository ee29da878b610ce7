// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of "fairlead status". Items are separated by two spaces and go to the
 * next line, indented, when a line would get longer than 100 columns. Names come
 * from users of Docker: control characters in them do not reach the terminal.
 */
#include "plugin/cli.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/cli_text.h"

#define ID_SHOWN      12
#define TABLE_INDENT  6
#define CONTAINER_MIN 9 /* "CONTAINER" */
/* All of a row but the container's name and the address, see print_row. */
#define ROW_FIXED (TABLE_INDENT + 2 + ID_SHOWN + 2 + 6 + 2 + 9 + 2 + 5 + 2)

DEFINE_CLEANUP(json_t *, json_decref);

/* A line under construction. */
struct line {
	FILE *out;
	unsigned int indent; /* of the lines after the first */
	unsigned int column;
	bool empty; /* no item yet */
};

static void line_begin(struct line *l, FILE *out, unsigned int first, unsigned int indent)
{
	cli_text_spaces(out, first);
	*l = (struct line){.out = out, .indent = indent, .column = first, .empty = true};
}

static void line_put(struct line *l, const char *text, unsigned int gap)
{
	unsigned int len = cli_text_width(text);

	if (!l->empty && l->column + gap + len > CLI_TEXT_COLUMNS) {
		(void)fputc('\n', l->out);
		cli_text_spaces(l->out, l->indent);
		l->column = l->indent;
	} else if (!l->empty) {
		cli_text_spaces(l->out, gap);
		l->column += gap;
	}
	(void)fputs(text, l->out);
	l->column += len;
	l->empty = false;
}

static void line_item(struct line *l, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void line_item(struct line *l, const char *fmt, ...)
{
	char text[CLI_TEXT_SIZE];
	char cleaned[CLI_TEXT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut off is fine */
	va_end(ap);
	line_put(l, cli_text_clean(text, cleaned, sizeof(cleaned)), 2);
}

static void line_end(struct line *l)
{
	(void)fputc('\n', l->out);
}

/* A sentence, wrapped between words. */
static void print_words(FILE *out, unsigned int first, unsigned int indent,
			const char *text)
{
	char copy[CLI_TEXT_SIZE];
	char *rest = copy;
	struct line l;
	char *word;

	(void)cli_text_clean(text, copy, sizeof(copy));
	line_begin(&l, out, first, indent);
	while ((word = strsep(&rest, " ")))
		if (*word)
			line_put(&l, word, 1);
	line_end(&l);
}

static const char *get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void print_errors(FILE *out, unsigned int first, const json_t *errors)
{
	size_t i;
	json_t *value;

	json_array_foreach (errors, i, value) {
		char text[CLI_TEXT_SIZE];

		(void)snprintf(text, sizeof(text), "! %s",
			       json_string_value(value) ? json_string_value(value) : "?");
		print_words(out, first, first + 2, text);
	}
}

/* "label a", "label b" ... of a list of texts. */
static void line_list(struct line *l, const char *label, const json_t *list)
{
	size_t i;
	json_t *value;

	json_array_foreach (list, i, value)
		if (!str_is_empty(json_string_value(value)))
			line_item(l, "%s%s", label, json_string_value(value));
}

/* "label n", if it is a number. */
static void line_number(struct line *l, const char *label, const json_t *value)
{
	if (json_is_integer(value))
		line_item(l, "%s %" JSON_INTEGER_FORMAT, label,
			  json_integer_value(value));
}

static void print_engine(struct line *l, const json_t *engine)
{
	const char *api = get_text(engine, "api");
	const char *text = get_text(engine, "text");
	const char *synced = json_is_true(json_object_get(engine, "synced"))
				     ? ""
				     : ", not yet in step";

	if (!json_is_object(engine))
		return;
	if (json_is_true(json_object_get(engine, "connected")))
		line_item(l, "engine connected, API %s%s", *api ? api : "?", synced);
	else
		line_item(l, "engine not connected%s%s", *text ? ": " : "", text);
}

static void print_head(FILE *out, const json_t *root)
{
	const json_t *balancer = json_object_get(root, "balancer");
	const json_t *repairs = json_object_get(root, "repairs");
	const char *version = get_text(root, "version");
	const char *why = get_text(balancer, "why");
	struct line l;

	line_begin(&l, out, 0, 2);
	line_item(&l, *version ? "fairlead %s" : "fairlead%s", version);
	print_engine(&l, json_object_get(root, "engine"));
	if (json_is_object(balancer))
		line_item(&l, *why ? "balancer %s (%s)" : "balancer %s%s",
			  get_text(balancer, "name"), why);
	if (json_integer_value(repairs) != 0)
		line_number(&l, "repairs", repairs);
	line_end(&l);
	print_errors(out, 0, json_object_get(root, "errors"));
}

/* Where the columns of one table of backends are. */
struct columns {
	unsigned int container;
};

static void cell_number(FILE *out, const json_t *value, unsigned int size)
{
	char text[24] = "-";

	if (json_is_integer(value))
		(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT,
			       json_integer_value(value)); /* fits */
	cli_text_cell(out, text, size);
}

static void print_row(FILE *out, const struct columns *cols, const json_t *backend)
{
	const json_t *addresses = json_object_get(backend, "address");
	char buf[CLI_TEXT_SIZE];
	size_t i;
	json_t *value;

	cli_text_spaces(out, TABLE_INDENT);
	cli_text_cell(out, get_text(backend, "container"), cols->container);
	(void)snprintf(buf, sizeof(buf), "%.*s", ID_SHOWN, get_text(backend, "endpoint"));
	cli_text_cell(out, buf, ID_SHOWN);
	cell_number(out, json_object_get(backend, "weight"), 6);
	cli_text_cell(out, get_text(backend, "state"), 9);
	cell_number(out, json_object_get(backend, "connections"), 5);
	json_array_foreach (addresses, i, value) {
		const char *text = json_string_value(value);

		if (i > 0) { /* further addresses below the first */
			(void)fputc('\n', out);
			cli_text_spaces(out, ROW_FIXED + cols->container);
		}
		(void)fputs(text ? cli_text_clean(text, buf, sizeof(buf)) : "?", out);
	}
	if (json_array_size(addresses) == 0)
		(void)fputc('-', out);
	(void)fputc('\n', out);
}

/* The longest name fits, unless that would push the addresses out of the line. */
static void measure(const json_t *backends, struct columns *ret)
{
	unsigned int name = CONTAINER_MIN;
	unsigned int address = 7; /* "ADDRESS" */
	size_t i;
	size_t k;
	json_t *backend;
	json_t *value;

	json_array_foreach (backends, i, backend) {
		unsigned int w = cli_text_width(get_text(backend, "container"));

		name = w > name ? w : name;
		json_array_foreach (json_object_get(backend, "address"), k, value) {
			w = json_is_string(value)
				    ? cli_text_width(json_string_value(value))
				    : 1;
			address = w > address ? w : address;
		}
	}
	if (address > CLI_TEXT_COLUMNS - ROW_FIXED - CONTAINER_MIN)
		address = CLI_TEXT_COLUMNS - ROW_FIXED - CONTAINER_MIN;
	if (name > CLI_TEXT_COLUMNS - ROW_FIXED - address)
		name = CLI_TEXT_COLUMNS - ROW_FIXED - address;
	ret->container = name;
}

static void print_backends(FILE *out, const json_t *backends)
{
	struct columns cols;
	size_t i;
	json_t *backend;

	if (json_array_size(backends) == 0) {
		cli_text_spaces(out, TABLE_INDENT);
		(void)fputs("no backends\n", out);
		return;
	}
	measure(backends, &cols);
	cli_text_spaces(out, TABLE_INDENT);
	cli_text_cell(out, "CONTAINER", cols.container);
	cli_text_cell(out, "ENDPOINT", ID_SHOWN);
	cli_text_cell(out, "WEIGHT", 6);
	cli_text_cell(out, "STATE", 9);
	cli_text_cell(out, "CONNS", 5);
	(void)fputs("ADDRESS\n", out);
	json_array_foreach (backends, i, backend)
		print_row(out, &cols, backend);
}

static void print_service(FILE *out, const json_t *service)
{
	const char *project = get_text(service, "project");
	const char *mode = get_text(service, "mode");
	const char *balancer = get_text(service, "balancer");
	const char *scheduler = get_text(service, "scheduler");
	struct line l;

	line_begin(&l, out, 2, 6);
	line_item(&l, "service %s", get_text(service, "name"));
	if (*project)
		line_item(&l, "project %s", project);
	if (*mode && strcmp(mode, "vip") != 0)
		line_item(&l, "mode %s", mode);
	line_list(&l, "vip ", json_object_get(service, "vip"));
	line_number(&l, "mark", json_object_get(service, "mark"));
	if (*balancer || *scheduler)
		line_item(&l, "%s%s%s", balancer, *balancer && *scheduler ? " " : "",
			  scheduler);
	line_list(&l, "", json_object_get(service, "ports"));
	line_end(&l);
	print_errors(out, 4, json_object_get(service, "errors"));
	print_backends(out, json_object_get(service, "backends"));
}

static void print_network(FILE *out, const json_t *network)
{
	const json_t *services = json_object_get(network, "services");
	const char *name = get_text(network, "name");
	const char *id = get_text(network, "id");
	const char *sandbox = get_text(network, "sandbox");
	size_t i;
	json_t *service;
	struct line l;

	(void)fputc('\n', out);
	line_begin(&l, out, 0, 4);
	line_item(&l, "network %s", *name ? name : id);
	if (*name && *id)
		line_item(&l, "id %.*s", ID_SHOWN, id);
	line_list(&l, "", json_object_get(network, "pools"));
	line_list(&l, "gateway ", json_object_get(network, "gateway"));
	line_list(&l, "vips ", json_object_get(network, "vip_range"));
	if (json_is_true(json_object_get(network, "internal")))
		line_item(&l, "internal");
	line_number(&l, "mtu", json_object_get(network, "mtu"));
	line_number(&l, "endpoints", json_object_get(network, "endpoints"));
	if (!strcmp(sandbox, "ok"))
		line_item(&l, "sandbox ok");
	line_end(&l);
	if (*sandbox && strcmp(sandbox, "ok") != 0) {
		char text[CLI_TEXT_SIZE];

		(void)snprintf(text, sizeof(text), "! sandbox: %s", sandbox);
		print_words(out, 2, 4, text);
	}
	json_array_foreach (services, i, service)
		print_service(out, service);
}

int cli_status_print(const char *json, size_t len, FILE *out, struct err *e)
{
	json_error_t je;
	auto_with(json_decref) json_t *root = json_loadb(json, len, 0, &je);
	const json_t *networks = json_object_get(root, "networks");
	size_t i;
	json_t *network;

	if (!json_is_object(root))
		return err_set(e, -EINVAL, "status: %s",
			       root ? "not an object" : je.text);
	print_head(out, root);
	json_array_foreach (networks, i, network)
		print_network(out, network);
	if (json_array_size(networks) == 0)
		(void)fputs("no networks\n", out);
	if (fflush(out) || ferror(out))
		return err_sys(e, -EIO, "output");
	return 0;
}
