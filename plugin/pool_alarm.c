// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Levels of pools, in a map by id. The usual case, a pool with much room that was never
 * full, is one comparison when the map is empty and one look-up when it is not.
 */
#include "plugin/pool_alarm.h"

#include "ipam/ipam.h"
#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <stdbool.h>

struct pool_alarm {
	UT_hash_handle hh;
	unsigned int level; /* highest one told of and not ended since, in percent */
	char id[IPAM_POOL_ID_SIZE];
};

static const unsigned int levels[] = {80, 95};

/* used / capacity is at least percent. */
static bool reaches(uint64_t used, uint64_t capacity, unsigned int percent)
{
	return (unsigned __int128)used * 100 >= (unsigned __int128)capacity * percent;
}

/* The highest level reached, each taken to be lower by slack; 0: none. */
static unsigned int level_of(uint64_t used, uint64_t capacity, unsigned int slack)
{
	unsigned int level = 0;

	for (size_t i = 0; capacity > 0 && i < ARRAY_SIZE(levels); i++)
		if (reaches(used, capacity, levels[i] - slack))
			level = levels[i];
	return level;
}

static void drop(struct pool_alarm **alarms, struct pool_alarm *a)
{
	HASH_DEL(*alarms, a);
	free(a);
}

void pool_alarm_fini(struct pool_alarm **alarms)
{
	struct pool_alarm *a;
	struct pool_alarm *next;

	HASH_ITER (hh, *alarms, a, next)
		drop(alarms, a);
}

void pool_alarm_forget(struct pool_alarm **alarms, const char *id)
{
	struct pool_alarm *a;

	HASH_FIND_STR(*alarms, id, a);
	if (a)
		drop(alarms, a);
}

static void remember(struct pool_alarm **alarms, const char *id, unsigned int level)
{
	struct pool_alarm *a = calloc(1, sizeof(*a));

	if (!a || str_copy(a->id, sizeof(a->id), id) < 0) {
		free(a);
		return;
	}
	a->level = level;
	HASH_ADD_STR(*alarms, id, a);
	if (!MAP_ADDED(a))
		free(a);
}

unsigned int pool_alarm_check(struct pool_alarm **alarms, const char *id, uint64_t used,
			      uint64_t capacity)
{
	unsigned int reached = level_of(used, capacity, 0);
	unsigned int ended;
	struct pool_alarm *a;

	HASH_FIND_STR(*alarms, id, a);
	if (!a) {
		if (reached)
			remember(alarms, id, reached);
		return reached;
	}
	if (reached > a->level) {
		a->level = reached;
		return reached;
	}
	ended = level_of(used, capacity, POOL_ALARM_SLACK);
	if (ended == 0)
		drop(alarms, a);
	else if (ended < a->level)
		a->level = ended;
	return 0;
}
