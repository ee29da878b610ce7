/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_DOCKER_USER_H
#define DRIVER_DOCKER_USER_H
/*
 * Our part of Docker's DOCKER-USER chain: firewall.c's, nobody else includes it.
 * Thread: kernel.
 */
#include "driver/kern/nft.h"
#include "plugin/base/err.h"

/* See firewall_allow_forward. */
int docker_user_allow(struct nft_sock *nft, struct err *e);

#endif
