/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_OPTIONS_H
#define LB_OPTIONS_H
/*
 * Labels and driver options become typed options of a backend and its service. The raw
 * texts are kept (and stored), since what they mean depends on all three sources: the
 * endpoint wins over its container, that over the network. A bad value gives an error
 * text and changes nothing, so the next source or the default counts. Pure.
 * Thread: any.
 */
#include <stdbool.h>
#include <stdint.h>

#include "lb/service.h"
#include "lb/texts.h"
#include "lb/types.h"
#include "lb/vip.h"

#define OPTIONS_NAME_MAX       80   /* of an option; longer ones are cut */
#define OPTIONS_VALUE_MAX      1024 /* longer values are an error */
#define OPTIONS_UNKNOWN_MAX    16   /* unknown names that are remembered for each list */
#define OPTIONS_DRAIN_MAX_S    86400
#define OPTIONS_SCHEDULER_SIZE 32

struct option_item {
	char *name;
	char *value;
};

/* The options of one object that concern us, by name; equal sets have equal order. */
struct option_set {
	struct option_item *items;
	unsigned int count;
};

/* Copies what concerns us; of equal names the last wins. -ENOMEM: *ret is unchanged. */
int option_set_copy(const struct registry_option *list, unsigned int count,
		    struct option_set *ret);
/* Adds one that concerns us, or does nothing. -ENOMEM. */
int option_set_add(struct option_set *set, const char *name, const char *value);
bool option_set_equal(const struct option_set *a, const struct option_set *b);
void option_set_fini(struct option_set *set);

struct option_sources {
	const struct option_set *endpoint;
	const struct option_set *container; /* NULL: not known */
	const struct option_set *network;
};

struct options {
	/* --- membership --- */
	bool enabled;
	char name[LB_NAME_SIZE];	    /* "": no service (also when not enabled) */
	char service_project[LB_NAME_SIZE]; /* of that service; "" = none */
	char project[LB_NAME_SIZE];	    /* of the container; "" = none */
	/* --- of the backend --- */
	uint32_t weight;
	uint32_t drain_s;
	bool ignore_health;
	/* --- of the service --- */
	enum lb_scheduler scheduler;
	char scheduler_wanted[OPTIONS_SCHEDULER_SIZE]; /* as written, fit to print */
	bool dnsrr;
	struct addr vip[VIP_FAMILY_COUNT]; /* fixed one; family 0: any */
};

/* Never fails: what is wrong is added to errors. */
void options_parse(const struct option_sources *sources, struct options *ret,
		   struct texts *errors);

#endif
