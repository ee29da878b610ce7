// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of options. Sources are applied from the weakest to the strongest, so each
 * good value simply overwrites. A service that is named explicitly belongs to no
 * project: it means the same for a driver option, which is known before the container's
 * labels are, and projects that share a network can share it.
 */
#include "lb/options.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PREFIX		"fairlead."
#define SWARM_SERVICE	"com.docker.swarm.service.name"
#define COMPOSE_SERVICE "com.docker.compose.service"
#define COMPOSE_PROJECT "com.docker.compose.project"
#define COMPOSE_ONEOFF	"com.docker.compose.oneoff"

enum source {
	SOURCE_NETWORK = 1,
	SOURCE_LABEL = 2,
	SOURCE_ENDPOINT = 4,
	SOURCE_CONTAINER = SOURCE_LABEL | SOURCE_ENDPOINT,
	SOURCE_ANY = SOURCE_NETWORK | SOURCE_CONTAINER,
};

/* Each returns NULL, or why the value is refused. */
typedef const char *(*apply_fn)(struct options *o, const char *value);

/* Letters (made lower case), digits, "-" and "_", as a label of a DNS name. */
static const char *check_name(const char *value, char dst[LB_NAME_SIZE])
{
	char name[LB_NAME_SIZE] = "";
	size_t len = strlen(value);

	if (len == 0)
		return "is empty";
	if (len >= LB_NAME_SIZE)
		return "is longer than 63 characters";
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)value[i];

		if (c > 127 || (!isalnum(c) && c != '-' && c != '_'))
			return "may have only letters, digits, - and _";
		name[i] = (char)tolower(c);
	}
	if (name[0] == '-' || name[len - 1] == '-')
		return "must not begin or end with -";
	memcpy(dst, name, LB_NAME_SIZE);
	return NULL;
}

static const char *apply_service(struct options *o, const char *value)
{
	const char *why = check_name(value, o->name);

	if (!why)
		o->service_project[0] = '\0';
	return why;
}

static const char *apply_enable(struct options *o, const char *value)
{
	return str_to_bool(value, &o->enabled) < 0 ? "must be true or false" : NULL;
}

static const char *apply_scheduler(struct options *o, const char *value)
{
	texts_clean(o->scheduler_wanted, sizeof(o->scheduler_wanted), value);
	return lb_scheduler_parse(value, &o->scheduler) < 0 ? "no such scheduler" : NULL;
}

static const char *apply_weight(struct options *o, const char *value)
{
	if (str_to_u32(value, 0, LB_WEIGHT_MAX, &o->weight) < 0)
		return "must be a number from 0 to 256";
	return NULL;
}

static const char *apply_mode(struct options *o, const char *value)
{
	if (strcmp(value, "vip") && strcmp(value, "dnsrr"))
		return "must be vip or dnsrr";
	o->dnsrr = !strcmp(value, "dnsrr");
	return NULL;
}

/* One address, or one of each family with a comma between them. */
static const char *apply_vip(struct options *o, const char *value)
{
	struct addr vip[VIP_FAMILY_COUNT] = {0};

	do {
		size_t len = strcspn(value, ",");
		char text[ADDR_TEXT_SIZE];
		struct addr *slot;
		struct addr a;

		if (str_printf(text, sizeof(text), "%.*s", (int)len, value) < 0 ||
		    addr_parse(text, &a) < 0)
			return "must be an IPv4 or IPv6 address, or one of each with a "
			       "comma";
		slot = &vip[a.family == AF_INET ? VIP_V4 : VIP_V6];
		if (addr_is_set(slot))
			return "has two addresses of one IP version";
		*slot = a;
		value += len;
	} while (*value++ == ',');
	for (unsigned int i = 0; i < VIP_FAMILY_COUNT; i++) {
		if (addr_is_set(&vip[i]))
			o->vip[i] = vip[i];
	}
	return NULL;
}

static const char *apply_drain(struct options *o, const char *value)
{
	if (str_to_u32(value, 0, OPTIONS_DRAIN_MAX_S, &o->drain_s) < 0)
		return "must be a number of seconds from 0 to 86400";
	return NULL;
}

static const char *apply_health(struct options *o, const char *value)
{
	if (str_has_prefix(value, "tcp:") || str_has_prefix(value, "http:"))
		return "not supported yet";
	if (strcmp(value, "docker") && strcmp(value, "none"))
		return "must be docker or none";
	o->ignore_health = !strcmp(value, "none");
	return NULL;
}

static const char *apply_later(struct options *o, const char *value)
{
	(void)o;
	(void)value;
	return "not supported yet";
}

static const struct option_def {
	const char *name;
	unsigned int where; /* enum source */
	apply_fn apply;
} defs[] = {
	{PREFIX "service", SOURCE_CONTAINER, apply_service},
	{PREFIX "enable", SOURCE_ANY, apply_enable},
	{PREFIX "scheduler", SOURCE_ANY, apply_scheduler},
	{PREFIX "weight", SOURCE_ANY, apply_weight},
	{PREFIX "mode", SOURCE_ANY, apply_mode},
	{PREFIX "vip", SOURCE_CONTAINER, apply_vip},
	{PREFIX "drain", SOURCE_ANY, apply_drain},
	{PREFIX "health", SOURCE_ANY, apply_health},
	{PREFIX "affinity", SOURCE_ANY, apply_later},
	{PREFIX "idle-timeout", SOURCE_ANY, apply_later},
	{PREFIX "publish", SOURCE_ANY, apply_later},
	{PREFIX "host-ip", SOURCE_ANY, apply_later},
	{PREFIX "allow-from", SOURCE_ANY, apply_later},
};

static const struct option_def *find_def(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(defs); i++) {
		if (!strcmp(defs[i].name, name))
			return &defs[i];
	}
	return NULL;
}

static bool is_docker_label(const char *name)
{
	return !strcmp(name, SWARM_SERVICE) || !strcmp(name, COMPOSE_SERVICE) ||
	       !strcmp(name, COMPOSE_PROJECT) || !strcmp(name, COMPOSE_ONEOFF);
}

static void free_item(struct option_item *item)
{
	free(item->name);
	free(item->value);
}

void option_set_fini(struct option_set *set)
{
	for (unsigned int i = 0; i < set->count; i++)
		free_item(&set->items[i]);
	free(set->items);
	*set = (struct option_set){0};
}

bool option_set_equal(const struct option_set *a, const struct option_set *b)
{
	if (a->count != b->count)
		return false;
	for (unsigned int i = 0; i < a->count; i++) {
		if (strcmp(a->items[i].name, b->items[i].name) ||
		    strcmp(a->items[i].value, b->items[i].value))
			return false;
	}
	return true;
}

static bool too_many_unknown(const struct option_set *set)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < set->count; i++)
		count += !is_docker_label(set->items[i].name) &&
			 !find_def(set->items[i].name);
	return count >= OPTIONS_UNKNOWN_MAX;
}

/* Makes room at index i. */
static int open_gap(struct option_set *set, unsigned int i)
{
	struct option_item *items =
		realloc(set->items, (set->count + 1) * sizeof(*items));

	if (!items)
		return -ENOMEM;
	set->items = items;
	memmove(items + i + 1, items + i, (set->count - i) * sizeof(*items));
	set->count++;
	return 0;
}

static int set_item(struct option_set *set, struct option_item *item)
{
	unsigned int i = 0;
	int order = 1;

	while (i < set->count && (order = strcmp(item->name, set->items[i].name)) > 0)
		i++;
	if (i < set->count && order == 0)
		free_item(&set->items[i]);
	else if (open_gap(set, i) < 0)
		return -ENOMEM;
	set->items[i] = *item;
	return 0;
}

int option_set_add(struct option_set *set, const char *name, const char *value)
{
	bool known = is_docker_label(name) || find_def(name);
	struct option_item item;

	if (!known && (!str_has_prefix(name, PREFIX) || too_many_unknown(set)))
		return 0;
	item.name = strndup(name, OPTIONS_NAME_MAX);
	item.value = strndup(value, OPTIONS_VALUE_MAX + 1);
	if (item.name && item.value && set_item(set, &item) == 0)
		return 0;
	free_item(&item);
	return -ENOMEM;
}

int option_set_copy(const struct registry_option *list, unsigned int count,
		    struct option_set *ret)
{
	struct option_set set = {0};

	for (unsigned int i = 0; i < count; i++) {
		if (option_set_add(&set, list[i].name, list[i].value) < 0) {
			option_set_fini(&set);
			return -ENOMEM;
		}
	}
	*ret = set;
	return 0;
}

static const char *source_name(enum source source)
{
	if (source == SOURCE_NETWORK)
		return "network option";
	return source == SOURCE_LABEL ? "label" : "driver option";
}

static void note(struct texts *errors, enum source source, const struct option_item *item,
		 const char *why)
{
	char name[TEXTS_CLEAN_SIZE];
	char value[TEXTS_CLEAN_SIZE];

	texts_add(errors, "%s %s=%s: %s", source_name(source),
		  texts_clean(name, sizeof(name), item->name),
		  texts_clean(value, sizeof(value), item->value), why);
}

static const char *apply(struct options *o, enum source source,
			 const struct option_item *item)
{
	const struct option_def *def = find_def(item->name);

	if (!def)
		return "unknown option";
	if (!(def->where & source))
		return "not for a network";
	if (strlen(item->value) > OPTIONS_VALUE_MAX)
		return "is too long";
	return def->apply(o, item->value);
}

static void apply_set(struct options *o, enum source source, const struct option_set *set,
		      struct texts *errors)
{
	const char *why;

	for (unsigned int i = 0; set && i < set->count; i++) {
		if (is_docker_label(set->items[i].name))
			continue;
		why = apply(o, source, &set->items[i]);
		if (why)
			note(errors, source, &set->items[i], why);
	}
}

/* The value of a label as a name into dst; false: it is not there or refused. */
static bool name_label(const struct option_set *set, const char *name,
		       char dst[LB_NAME_SIZE], struct texts *errors)
{
	const char *why;

	for (unsigned int i = 0; i < set->count; i++) {
		if (strcmp(set->items[i].name, name))
			continue;
		why = check_name(set->items[i].value, dst);
		if (why)
			note(errors, SOURCE_LABEL, &set->items[i], why);
		return !why;
	}
	return false;
}

static bool is_oneoff(const struct option_set *set)
{
	for (unsigned int i = 0; i < set->count; i++) {
		if (!strcmp(set->items[i].name, COMPOSE_ONEOFF))
			return !strcasecmp(set->items[i].value, "true");
	}
	return false;
}

static void apply_docker_labels(struct options *o, const struct option_set *set,
				struct texts *errors)
{
	(void)name_label(set, COMPOSE_PROJECT, o->project, errors); /* "" is fine */
	/* "docker compose run" makes a container of a service that must not get the
	 * service's traffic; Compose itself gives it no alias either. */
	if (!is_oneoff(set) && name_label(set, COMPOSE_SERVICE, o->name, errors))
		memcpy(o->service_project, o->project, sizeof(o->project));
	if (name_label(set, SWARM_SERVICE, o->name, errors))
		o->service_project[0] = '\0';
}

void options_parse(const struct option_sources *sources, struct options *ret,
		   struct texts *errors)
{
	*ret = (struct options){
		.enabled = true,
		.weight = 1,
		.scheduler = LB_SCHEDULER_RR,
		.scheduler_wanted = "rr",
	};
	apply_set(ret, SOURCE_NETWORK, sources->network, errors);
	if (sources->container)
		apply_docker_labels(ret, sources->container, errors);
	apply_set(ret, SOURCE_LABEL, sources->container, errors);
	apply_set(ret, SOURCE_ENDPOINT, sources->endpoint, errors);
	if (!ret->enabled) {
		ret->name[0] = '\0';
		ret->service_project[0] = '\0';
	}
}
