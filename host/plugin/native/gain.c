#include "gain.h"

#include <math.h>

#define RAMP_SECONDS 0.005 /* short enough to follow a drawn envelope, long enough not to click */

static float factor(float decibels) { return powf(10.0f, decibels / 20.0f); }

void gain_start(gain *g, double rate, float decibels)
{
	g->now = g->from = g->to = factor(decibels);
	g->length = (uint32_t)(rate * RAMP_SECONDS + 0.5);
	g->ramp_sample = g->length;
	g->head = g->tail = 0;
}

void gain_set(gain *g, int64_t time, float decibels)
{
	/* Where no more can wait, the last one gives its place up: what stands in the end is right. */
	uint32_t place = g->head - g->tail < GAIN_CHANGES ? g->head++ : g->head - 1;
	g->changes[place % GAIN_CHANGES] = (gain_change){time, factor(decibels)};
}

void gain_apply(gain *g, int64_t time, float *left, float *right, uint32_t count)
{
	for (uint32_t i = 0; i < count; ++i) {
		while (g->tail != g->head && g->changes[g->tail % GAIN_CHANGES].time <= time + i) {
			g->from = g->now;
			g->to = g->changes[g->tail++ % GAIN_CHANGES].gain;
			g->ramp_sample = 0;
		}
		if (g->ramp_sample < g->length) {
			++g->ramp_sample;
			g->now = g->ramp_sample == g->length ? g->to : g->from + (g->to - g->from) * (float)g->ramp_sample / (float)g->length;
		}
		left[i] *= g->now;
		right[i] *= g->now;
	}
}
