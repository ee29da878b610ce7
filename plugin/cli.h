/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_CLI_H
#define PLUGIN_CLI_H
/*
 * The commands of the operator: they ask the running daemon over its control socket
 * and print. Thread: main.
 */
#include <stddef.h>
#include <stdio.h>

#include "plugin/base/err.h"

/* Exit status of all commands. */
enum cli_exit {
	CLI_EXIT_OK = 0,
	CLI_EXIT_FAILURE = 1,	  /* the daemon's answer cannot be used */
	CLI_EXIT_USAGE = 2,	  /* bad command line */
	CLI_EXIT_NOT_RUNNING = 3, /* no daemon answers */
};

/* Runs the command argv[1], any but "serve"; returns the exit status. What fails is
 * said on standard error. */
int cli_main(int argc, char **argv);

/*
 * Prints the answer of GET /v1/status as text of at most 100 columns. What is missing
 * in it is left out. -EINVAL: it is not a JSON object; -EIO: out cannot be written.
 */
int cli_status_print(const char *json, size_t len, FILE *out, struct err *e);
/* The same for GET /v1/pools: one line for each pool. */
int cli_pools_print(const char *json, size_t len, FILE *out, struct err *e);

#endif
