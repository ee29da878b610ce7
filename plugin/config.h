/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_CONFIG_H
#define PLUGIN_CONFIG_H
/*
 * The settings of the daemon. One table (config.c) drives the command line
 * (--state-dir DIR), the environment (FAIRLEAD_STATE_DIR), the file (state-dir = DIR),
 * the checks and --help. A flag wins over the environment, that over the file, that
 * over the default. After config_load the values do not change: pass a
 * const struct config on. Thread: main.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "plugin/base/addr.h"
#include "plugin/base/err.h"

#define CONFIG_FILE_DEFAULT "/etc/fairlead/fairlead.conf"
#define CONFIG_PATH_SIZE    256
#define CONFIG_SOCKET_SIZE  108 /* of sun_path */
#define CONFIG_HELP	    1

enum config_balancer {
	CONFIG_BALANCER_AUTO,
	CONFIG_BALANCER_IPVS,
	CONFIG_BALANCER_NFT,
};

enum config_scope {
	CONFIG_SCOPE_LOCAL,
	CONFIG_SCOPE_GLOBAL,
};

/* Pools for networks without a subnet of their own: parts of cidr. */
struct config_pools {
	struct cidr cidr;
	uint8_t size; /* prefix length of each */
};

struct config_default_pools {
	struct config_pools v4;
	struct config_pools v6;
};

struct config {
	char state_dir[CONFIG_PATH_SIZE];
	char run_dir[CONFIG_PATH_SIZE];
	char plugin_socket[CONFIG_SOCKET_SIZE];
	char control_socket[CONFIG_SOCKET_SIZE];
	char docker_host[CONFIG_SOCKET_SIZE + 8]; /* "unix:///..." or "tcp://..." */
	enum config_balancer balancer;
	enum config_scope scope;
	struct config_default_pools default_pools;
	uint32_t address_rest_s; /* 0: a released address may be given at once */
	uint32_t mtu;		 /* 0: that of the route to the outside */
	bool dns;
	uint32_t reconcile_interval_s;
	char log[128]; /* for log_setup */
};

/*
 * Reads all sources. args: what follows "serve" on the command line, ended by NULL;
 * env: "NAME=value" texts, ended by NULL (environ). CONFIG_HELP: --help was asked for,
 * *ret is not written. -EINVAL: bad; the text begins with "FILE:LINE", "--flag" or the
 * variable's name. Other errors: the file cannot be read.
 */
int config_load(char *const *args, char *const *env, struct config *ret, struct err *e);

/* Writes the text of "fairlead serve --help". */
void config_print_help(FILE *out);

#endif
