/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_API_JSON_H
#define PLUGIN_API_JSON_H
/*
 * What the codecs of the two drivers share: a request is read field by field, and the
 * first field that is wrong makes an error with the method and the field in its text;
 * after it all reads do nothing (sticky error). JSON null counts as "not there".
 * Thread: any (each document belongs to one).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin/base/addr.h"
#include "plugin/base/err.h"

#define API_ID_SIZE	     65 /* 64 hex digits or 25 base36 and the end */
#define API_OPTIONS_MAX	     512
#define API_OPTION_NAME_MAX  512 /* characters */
#define API_OPTION_VALUE_MAX 8192
#define API_FIELD_SIZE	     160

enum api_need {
	API_OPTIONAL,
	API_REQUIRED
};

/* A switch that a request may leave out. */
enum api_switch {
	API_SWITCH_UNSET,
	API_SWITCH_OFF,
	API_SWITCH_ON
};

struct api_option {
	char *name;
	char *value; /* bool: "true" or "false"; numbers in decimal */
};

/* A map of texts; all 0 is the empty one. */
struct api_options {
	unsigned int count;
	struct api_option *list;
};

void api_options_fini(struct api_options *o);
/* The value, or NULL. */
const char *api_options_find(const struct api_options *o, const char *name);
/* Adds or replaces; name and value are copied. -ENOMEM, -E2BIG: API_OPTIONS_MAX. */
int api_options_set(struct api_options *o, const char *name, const char *value);

/* --- answers: malloc'd JSON text, its length in *ret_len; NULL: no memory --------- */

/* {} */
char *api_encode_empty(size_t *ret_len);
/* {"Err": text, "Error": text}; bytes of text that are not UTF-8 become "?". */
char *api_encode_error(const char *text, size_t *ret_len);

/* --- for the codecs -------------------------------------------------------------- */

struct json_t;

struct api_document {
	const char *method; /* "NetworkDriver.Join" */
	struct json_t *root;
	struct err err; /* code 0 until something is wrong */
};

/* An object, a list or nothing (json NULL), and where it stands. */
struct api_node {
	struct api_document *doc;
	struct json_t *json;
	char field[API_FIELD_SIZE]; /* "IPv4Data[0]" */
};

/* Parses body; always to be closed. method must live as long. */
struct api_node api_open(struct api_document *doc, const char *method, const char *body,
			 size_t len);
/* Frees, and returns 0 or the first error, which it puts in e. */
int api_close(struct api_document *doc, struct err *e);
/* Makes an error about node's member name (NULL: node itself), unless there is one. */
void api_fail(const struct api_node *node, const char *name, const char *why);

/* Members of an object. What is not there is empty; API_REQUIRED: must be there and
 * not be empty. */
void api_text(const struct api_node *node, const char *name, enum api_need need,
	      char *ret, size_t size);
/* Letters and digits, at most 64; always required. */
void api_id(const struct api_node *node, const char *name, char ret[API_ID_SIZE]);
/* true, false, or a text that str_to_bool knows. */
enum api_switch api_flag(const struct api_node *node, const char *name);
/* A whole number up to max; 0 if it is not there. */
uint32_t api_number(const struct api_node *node, const char *name, uint32_t max);
struct addr api_addr(const struct api_node *node, const char *name);
struct cidr api_cidr(const struct api_node *node, const char *name, enum api_need need);
/* False: not there. */
bool api_mac(const struct api_node *node, const char *name, uint8_t ret[MAC_SIZE]);
struct api_node api_object(const struct api_node *node, const char *name);
struct api_node api_list(const struct api_node *node, const char *name);
/* Length of a list or number of members of an object, more than max is an error. */
unsigned int api_count(const struct api_node *node, unsigned int max);
/* The list's member, which must be an object. */
struct api_node api_item(const struct api_node *list, unsigned int i);
/* All members that are text, switch or whole number; others are left out. */
void api_option_map(const struct api_node *node, struct api_options *ret);
/* All members that are not empty, which must be addresses with prefix: calloc'd, NULL if
 * there is none. */
struct cidr *api_cidr_map(const struct api_node *node, unsigned int max,
			  unsigned int *ret_count);
/* calloc that makes an error of its failure; count 0: NULL. */
void *api_alloc(const struct api_node *node, unsigned int count, size_t size);
/* As text, and releases it; NULL (also for root NULL): no memory. */
char *api_dump(struct json_t *root, size_t *ret_len);

#endif
