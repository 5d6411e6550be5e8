#define _GNU_SOURCE
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core_internal.h"

int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * (int64_t)1000 + now.tv_nsec / 1000000;
}

/* The words lie in memory that two processes share, so these are not private futexes. */
void futex_wait(_Atomic uint32_t *word, uint32_t value, int milliseconds)
{
	struct timespec patience = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
	syscall(SYS_futex, word, FUTEX_WAIT, value, &patience, NULL, 0);
}

void futex_wake(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0); }
