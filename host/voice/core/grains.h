/* Grains of filtered noise (NoiseFrames of host/engines/grain/sources.py). */
#ifndef TIMBREL_GRAINS_H
#define TIMBREL_GRAINS_H

#include "core.h"

/* Tables of grains of one length, pitch and low-pass. */
typedef struct {
	const int64_t *lower_bins;                /* [bins]: the frame's bin below each one */
	const float *lower_gains, *upper_gains;   /* [bins]: of that bin and of the next */
	const int64_t *lower_points;              /* [length]: the envelope's point before each sample */
	const float *lower_shares, *upper_shares; /* [length]: of that point and of the next */
	const int64_t *point_samples;             /* [points]: where the points lie */
	double power_unit;                        /* of a squared magnitude */
	int32_t bins, length, magnitudes, audible, points; /* audible: magnitudes below half the rate */
} GrainCut;

typedef struct {
	const GrainCut *cut;
	const float *frame;           /* magnitudes, then the envelope's points */
	const float *noise, *phasors; /* complex, [bins] */
	const float *other_noise, *other_phasors;
	const float *mixes;           /* [2, 2, bins]: gains of both noises on the left, then on the right; null: mono */
	float *filtered;              /* complex, [sides, bins]: the noise times the magnitudes */
	const float *sound, *window;  /* sound: the transforms of `filtered`, [sides, 2 bins - 2]; window: [length] */
	float *left, *right;          /* sums, from sample `skipped` of the grain on */
	double highest_power;         /* of the grain */
	float left_gain, right_gain;
	int32_t skipped;
} Grain;

/* Each grain's noise, times its frame's magnitudes. */
CORE_API void core_grain_spectra(const Grain *grains, int32_t count);
/* Add the grains, with envelope, window and gains, to their sums; those above the highest power are lowered to it. */
CORE_API void core_add_grains(const Grain *grains, int32_t count);

#endif
