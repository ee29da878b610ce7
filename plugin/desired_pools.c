// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Warnings of pools that run full. They are looked at after each lease, so that the
 * warning comes while there is still room; the network is only looked for when there is
 * something to say.
 */
#include "plugin/desired_internal.h"

#include "plugin/base/str.h"

#include <stdio.h>
#include <string.h>

#define LOG_MODULE "ipam"
#include "plugin/base/log.h"

/* The network with the pool, NULL: none yet. Its pools are known by space and prefix. */
static const struct store_network *find_network(const struct desired *d,
						const struct ipam_pool_info *info)
{
	for (const struct store_network *n = d->networks; n; n = n->hh.next) {
		size_t len = strlen(n->space);

		if (!len || strncmp(info->id, n->space, len) || info->id[len] != '/')
			continue;
		for (unsigned int i = 0; i < n->config.subnet_count; i++)
			if (cidr_equal(&n->config.subnets[i].pool, &info->pool))
				return n;
	}
	return NULL;
}

void desired_pool_used(struct desired *d, const char *pool_id)
{
	const struct store_network *n;
	struct ipam_pool_info info;

	if (ipam_pool_find(d->ipam, pool_id, &info) < 0) {
		pool_alarm_forget(&d->alarms, pool_id);
		return;
	}
	if (!pool_alarm_check(&d->alarms, info.id, info.used, info.capacity))
		return;
	n = find_network(d, &info);
	log_warning(
		"pool is %u %% full: %llu of %llu addresses are used pool=%s net=%.12s",
		(unsigned int)((unsigned __int128)info.used * 100 / info.capacity),
		(unsigned long long)info.used, (unsigned long long)info.capacity, info.id,
		n ? n->config.id : "-");
}
