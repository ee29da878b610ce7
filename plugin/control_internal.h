/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_CONTROL_INTERNAL_H
#define PLUGIN_CONTROL_INTERNAL_H
/* What the pages of the admin socket share; nobody else includes it. Thread: loop. */
#include "plugin/control.h"

struct network_name {
	UT_hash_handle hh;
	uint64_t told; /* the order of being told */
	char id[NETWORK_ID_SIZE];
	char name[128];
};

struct control {
	struct control_config config;
	bool ready;
	bool connected;
	bool synced;
	char engine_version[16];
	char engine_text[256];
	struct network_name *names; /* also of networks that are not ours, or gone */
	uint64_t told;
};

/* "" when it is not known; ctx is a struct control. */
const char *control_network_name(void *ctx, const char *id);

/* Answer GET /v1/pools and GET /metrics. */
void control_pools(struct control *c, struct http_request *rq);
void control_metrics(struct control *c, struct http_request *rq);

#endif
