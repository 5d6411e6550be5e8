#include "gap.h"

#include <string.h>

#define FADE_SECONDS 0.005 /* too short to be heard as a sound of its own, long enough not to click */

void gap_start(gap *g, double rate)
{
	memset(g, 0, sizeof *g);
	double length = rate * FADE_SECONDS;
	g->length = length < 1 ? 1 : length < GAP_LONGEST ? (uint32_t)length : GAP_LONGEST;
	g->risen = g->length;
}

/* What sounded last sounds on, backwards: so there is no step, and nothing louder than it was. */
static void fade_out(gap *g)
{
	for (uint32_t side = 0; side < 2; ++side)
		for (uint32_t i = 0; i < g->length; ++i)
			g->fade[side][i] =
			    g->past[side][(g->output_samples - 1 - i) % GAP_LONGEST] * ((float)(g->length - i) / (float)(g->length + 1));
	g->left = g->length;
	g->open = true;
}

void gap_mend(gap *g, float *left, float *right, uint32_t count, uint32_t present_count)
{
	float *sides[2] = {left, right};
	for (uint32_t i = 0; i < count; ++i) {
		bool present = i < present_count;
		if (!present && !g->open) fade_out(g);
		if (present && g->open) {
			g->open = false;
			g->risen = 0;
		}
		float in = !present ? 0.0f : g->risen < g->length ? (float)++g->risen / (float)g->length : 1.0f;
		for (uint32_t side = 0; side < 2; ++side) {
			float *sample = &sides[side][i];
			*sample = present ? *sample * in : 0.0f;
			if (g->left) *sample += g->fade[side][g->length - g->left];
			g->past[side][g->output_samples % GAP_LONGEST] = *sample;
		}
		g->left -= g->left > 0;
		g->output_samples += 1;
	}
}
