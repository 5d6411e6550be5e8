/* The gain of the output: changes take effect on their sample, over a ramp of 5 ms, in whatever blocks it is applied. */
#ifndef TIMBREL_GAIN_H
#define TIMBREL_GAIN_H

#include <stdint.h>

#define GAIN_CHANGES 512u /* that wait for their sample: one a millisecond at the longest latency; a power of two */

typedef struct {
	int64_t time; /* samples */
	float gain;   /* a factor */
} gain_change;

typedef struct {
	float now, from, to; /* factors */
	uint32_t ramp_sample, length; /* of the ramp: samples that are over, and all */
	gain_change changes[GAIN_CHANGES];
	uint32_t head, tail;
} gain;

void gain_start(gain *, double rate, float decibels); /* stands there, without a ramp */
void gain_set(gain *, int64_t time, float decibels);  /* in order of time */

/* Applies it in place to the samples from `time` on: nothing is changed at 0 dB. */
void gain_apply(gain *, int64_t time, float *left, float *right, uint32_t count);

#endif
