/* Grains of filtered noise (NoiseFrames of host/engines/grain/sources.py). */
#ifndef TIMBREL_GRAINS_H
#define TIMBREL_GRAINS_H

#include "core.h"

typedef struct {
	const float *frame;                       /* magnitudes, then the envelope's points */
	const float *noise, *phasors;             /* complex, [bins] */
	const int64_t *lower_bins;                /* [bins]: the frame's bin below each one */
	const float *lower_gains, *upper_gains;   /* [bins]: of that bin and of the next */
	float *filtered;                          /* complex, [bins]: the noise times the magnitudes */
	const float *sound, *window;              /* [length]; sound: the transform of `filtered` */
	const int64_t *lower_points;              /* [length]: the envelope's point before each sample */
	const float *lower_shares, *upper_shares; /* [length]: of that point and of the next */
	const int64_t *point_samples;             /* [points]: where the points lie */
	float *left, *right;                      /* sums, from sample `skipped` of the grain on */
	double power_unit, highest_power;         /* of a squared magnitude; of the grain */
	float left_gain, right_gain;
	int32_t bins, magnitudes, audible, points, skipped, length; /* audible: magnitudes below half the rate */
} Grain;

/* Each grain's noise, times its frame's magnitudes. */
CORE_API void core_grain_spectra(const Grain *grains, int32_t count);
/* Add the grains, with envelope, window and gains, to their sums; those above the highest power are lowered to it. */
CORE_API void core_add_grains(const Grain *grains, int32_t count);

#endif
