/* The clock of Python's time.perf_counter; needs _POSIX_C_SOURCE, and on macOS _DARWIN_C_SOURCE. */
#ifndef TIMBREL_CLOCK_H
#define TIMBREL_CLOCK_H

#include <time.h>

#if defined(__APPLE__)
#define PYTHONS_CLOCK CLOCK_UPTIME_RAW
#else
#define PYTHONS_CLOCK CLOCK_MONOTONIC
#endif

static inline double seconds_now(void)
{
	struct timespec now;
	clock_gettime(PYTHONS_CLOCK, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
