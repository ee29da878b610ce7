// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * slowwrite: for LD_PRELOAD. The first write at an offset after each fdatasync waits a
 * millisecond, so that a database's commit takes that long before anything of it is in
 * the file: an answer that leaves too early is then seen when the process is killed.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_bool begun;

static ssize_t slow_pwrite(int fd, const void *data, size_t size, off_t at)
{
	const struct timespec wait = {.tv_nsec = 1000000};

	if (!atomic_exchange(&begun, 1))
		(void)nanosleep(&wait, NULL);
	return syscall(SYS_pwrite64, fd, data, size, at);
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): __fd, __buf ... */
ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	return slow_pwrite(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
	return slow_pwrite(fd, data, size, at);
}

int fdatasync(int fd)
{
	atomic_store(&begun, 0);
	return (int)syscall(SYS_fdatasync, fd);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
