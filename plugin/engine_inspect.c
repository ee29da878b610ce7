// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine's answers: containers, their list, its version and its errors. Strings
 * of a container are borrowed from the JSON tree, which the inspection keeps. Go
 * sends null for empty maps and lists: a missing value and null are the same here.
 */
#include "plugin/engine_parse.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#define API_MAJOR	   1
#define API_MINOR	   47 /* the highest that this code was written for */
#define STOP_TIMEOUT_S	   10
#define STOP_TIMEOUT_S_MAX (365LL * 24 * 3600)

struct engine_inspection {
	json_t *root;
	struct engine_container container;
	struct engine_label labels[ENGINE_LABELS_MAX];
	struct engine_endpoint endpoints[ENGINE_ENDPOINTS_MAX];
};

DEFINE_CLEANUP(json_t *, json_decref);
DEFINE_CLEANUP(struct engine_inspection *, engine_inspection_free);

static const char *get_string(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static enum engine_health health_of(json_t *state)
{
	static const char *const names[] = {
		[ENGINE_HEALTH_STARTING] = "starting",
		[ENGINE_HEALTH_HEALTHY] = "healthy",
		[ENGINE_HEALTH_UNHEALTHY] = "unhealthy",
	};
	const char *text = get_string(json_object_get(state, "Health"), "Status");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i] && !strcmp(text, names[i]))
			return (enum engine_health)i;
	return ENGINE_HEALTH_NONE;
}

static void read_stop(json_t *config, struct engine_container *c)
{
	json_t *timeout = json_object_get(config, "StopTimeout");
	json_int_t seconds = json_integer_value(timeout);

	c->stop_signal = engine_parse_signal(get_string(config, "StopSignal"));
	if (c->stop_signal < 0)
		c->stop_signal = SIGTERM;
	c->stop_timeout_s = STOP_TIMEOUT_S;
	if (json_is_integer(timeout))
		c->stop_timeout_s = seconds < 0 || seconds > STOP_TIMEOUT_S_MAX
					    ? ENGINE_STOP_FOREVER
					    : (unsigned int)seconds;
}

static bool label_wanted(const char *name)
{
	return str_has_prefix(name, "fairlead.") ||
	       str_has_prefix(name, "com.docker.compose.") ||
	       str_has_prefix(name, "com.docker.swarm.");
}

static void read_labels(json_t *labels, struct engine_inspection *in)
{
	struct engine_container *c = &in->container;
	const char *name;
	json_t *value;

	json_object_foreach (labels, name, value) {
		if (!label_wanted(name) || !json_is_string(value))
			continue;
		if (c->label_count == ENGINE_LABELS_MAX)
			return;
		in->labels[c->label_count++] = (struct engine_label){
			.name = name, .value = json_string_value(value)};
	}
}

/* A network that the container will join when it starts has no endpoint yet. */
static void read_endpoints(json_t *networks, struct engine_inspection *in)
{
	struct engine_container *c = &in->container;
	const char *name;
	json_t *value;

	json_object_foreach (networks, name, value) {
		const char *id = get_string(value, "EndpointID");

		if (str_is_empty(id))
			continue;
		if (c->endpoint_count == ENGINE_ENDPOINTS_MAX)
			return;
		in->endpoints[c->endpoint_count++] = (struct engine_endpoint){
			.network_id = get_string(value, "NetworkID"),
			.network_name = name,
			.endpoint_id = id};
	}
}

int engine_inspection_new(const char *text, size_t len, struct engine_inspection **ret,
			  struct err *e)
{
	auto_with(engine_inspection_free) struct engine_inspection *in =
		calloc(1, sizeof(*in));
	struct engine_container *c;
	json_error_t je;
	json_t *state;
	json_t *config;

	if (!in)
		return err_sys(e, -ENOMEM, "container");
	in->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!in->root)
		return err_set(e, -EINVAL, "container: %s", je.text);
	c = &in->container;
	state = json_object_get(in->root, "State");
	config = json_object_get(in->root, "Config");
	c->id = get_string(in->root, "Id");
	if (!engine_id_valid(c->id) || !json_is_object(state))
		return err_set(e, -EINVAL, "container without a sound Id or State");
	c->name = get_string(in->root, "Name");
	c->name += c->name[0] == '/';
	c->running = json_is_true(json_object_get(state, "Running"));
	c->paused = json_is_true(json_object_get(state, "Paused"));
	c->health = health_of(state);
	read_stop(config, c);
	c->labels = in->labels;
	c->endpoints = in->endpoints;
	read_labels(json_object_get(config, "Labels"), in);
	read_endpoints(
		json_object_get(json_object_get(in->root, "NetworkSettings"), "Networks"),
		in);
	*ret = TAKE(in);
	return 0;
}

void engine_inspection_free(struct engine_inspection *in)
{
	if (!in)
		return;
	json_decref(in->root);
	free(in);
}

const struct engine_container *engine_inspection_container(
	const struct engine_inspection *in)
{
	return &in->container;
}

int engine_parse_list(const char *text, size_t len, char (**ret_ids)[ENGINE_ID_SIZE],
		      unsigned int *ret_count, struct err *e)
{
	json_error_t je;
	auto_with(json_decref) json_t *root =
		json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	auto_free char(*ids)[ENGINE_ID_SIZE] = NULL;
	size_t count = json_array_size(root);
	size_t i;
	json_t *value;

	if (!json_is_array(root))
		return err_set(e, -EINVAL, "list of containers: %s",
			       root ? "not a list" : je.text);
	if (count > ENGINE_CONTAINERS_MAX)
		return err_set(e, -E2BIG, "list of containers: %zu of them", count);
	ids = calloc(count ? count : 1, sizeof(*ids));
	if (!ids)
		return err_sys(e, -ENOMEM, "list of containers");
	json_array_foreach (root, i, value) {
		const char *id = get_string(value, "Id");

		if (!engine_id_valid(id))
			return err_set(e, -EINVAL, "list of containers: bad Id");
		(void)str_copy(ids[i], sizeof(ids[i]), id); /* its length is checked */
	}
	*ret_ids = TAKE(ids);
	*ret_count = (unsigned int)count;
	return 0;
}

/* The null IPAM driver has the subnet 0.0.0.0/0. */
static void read_network(json_t *value, struct engine_network *ret)
{
	json_t *ipam = json_object_get(value, "IPAM");
	size_t i;
	json_t *pool;

	*ret = (struct engine_network){.id = get_string(value, "Id"),
				       .name = get_string(value, "Name"),
				       .driver = get_string(value, "Driver"),
				       .ipam_driver = get_string(ipam, "Driver")};
	json_array_foreach (json_object_get(ipam, "Config"), i, pool) {
		struct cidr subnet;

		if (ret->subnet_count < ENGINE_SUBNETS_MAX &&
		    cidr_parse(get_string(pool, "Subnet"), &subnet) == 0 && subnet.prefix)
			ret->subnets[ret->subnet_count++] = subnet;
	}
}

int engine_parse_networks(const char *text, size_t len,
			  void (*fn)(void *ctx, const struct engine_network *list,
				     unsigned int count),
			  void *ctx, struct err *e)
{
	json_error_t je;
	auto_with(json_decref) json_t *root =
		json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	auto_free struct engine_network *list = NULL;
	size_t i;
	json_t *value;

	if (!json_is_array(root))
		return err_set(e, -EINVAL, "list of networks: %s",
			       root ? "not a list" : je.text);
	if (json_array_size(root) > ENGINE_NETWORKS_MAX)
		return err_set(e, -E2BIG, "list of networks: %zu of them",
			       json_array_size(root));
	list = calloc(json_array_size(root) + 1, sizeof(*list));
	if (!list)
		return err_sys(e, -ENOMEM, "list of networks");
	json_array_foreach (root, i, value)
		read_network(value, &list[i]);
	fn(ctx, list, (unsigned int)json_array_size(root));
	return 0;
}

int engine_parse_version(const char *text, char ret[ENGINE_VERSION_SIZE])
{
	char major_text[ENGINE_VERSION_SIZE];
	const char *dot = strchr(text, '.');
	uint32_t major;
	uint32_t minor;

	if (!dot || dot - text >= (ptrdiff_t)sizeof(major_text))
		return -EINVAL;
	memcpy(major_text, text, (size_t)(dot - text));
	major_text[dot - text] = '\0';
	if (str_to_u32(major_text, API_MAJOR, 9, &major) ||
	    str_to_u32(dot + 1, 0, 9999, &minor))
		return -EINVAL;
	if (major > API_MAJOR || minor > API_MINOR) {
		major = API_MAJOR;
		minor = API_MINOR;
	}
	return str_printf(ret, ENGINE_VERSION_SIZE, "%u.%u", major, minor);
}

char *engine_parse_error(const char *text, size_t len)
{
	json_error_t je;
	auto_with(json_decref) json_t *root = json_loadb(text, len, 0, &je);
	const char *message = get_string(root, "message");

	return str_is_empty(message) ? NULL : strdup(message);
}
