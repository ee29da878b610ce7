// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * failsync: for LD_PRELOAD. fdatasync fails with EIO while there is the file that the
 * environment names by FAILSYNC: a disk that does not take what was written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): __fildes */
int fdatasync(int fd)
{
	const char *file = getenv("FAILSYNC");

	if (file && access(file, F_OK) == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}
