#include "grains.h"

#include <math.h>

static float magnitude_at(const Grain *grain, int32_t bin)
{
	const GrainCut *cut = grain->cut;
	int64_t lower = cut->lower_bins[bin];
	return grain->frame[lower] * cut->lower_gains[bin] + grain->frame[lower + 1] * cut->upper_gains[bin];
}

static void mono_spectrum(const Grain *grain)
{
	const float *noise = grain->noise, *phasors = grain->phasors;
	for (int32_t bin = 0; bin < grain->cut->bins; ++bin) {
		float gain = magnitude_at(grain, bin);
		float re = noise[2 * bin], im = noise[2 * bin + 1], turn_re = phasors[2 * bin], turn_im = phasors[2 * bin + 1];
		grain->filtered[2 * bin] = (re * turn_re - im * turn_im) * gain;
		grain->filtered[2 * bin + 1] = (re * turn_im + im * turn_re) * gain;
	}
}

static void side_spectra(const Grain *grain)
{
	int32_t bins = grain->cut->bins;
	const float *own = grain->noise, *own_turn = grain->phasors, *other = grain->other_noise, *turn = grain->other_phasors;
	for (int32_t bin = 0; bin < bins; ++bin) {
		int32_t re = 2 * bin, im = 2 * bin + 1;
		float gain = magnitude_at(grain, bin);
		float own_re = (own[re] * own_turn[re] - own[im] * own_turn[im]) * gain;
		float own_im = (own[re] * own_turn[im] + own[im] * own_turn[re]) * gain;
		float other_re = (other[re] * turn[re] - other[im] * turn[im]) * gain;
		float other_im = (other[re] * turn[im] + other[im] * turn[re]) * gain;
		for (int32_t side = 0; side < 2; ++side) {
			float own_share = grain->mixes[2 * side * bins + bin], other_share = grain->mixes[(2 * side + 1) * bins + bin];
			grain->filtered[2 * (side * bins + bin)] = own_share * own_re + other_share * other_re;
			grain->filtered[2 * (side * bins + bin) + 1] = own_share * own_im + other_share * other_im;
		}
	}
}

void core_grain_spectra(const Grain *grains, int32_t count)
{
	for (const Grain *grain = grains; grain < grains + count; ++grain)
		(grain->mixes ? side_spectra : mono_spectrum)(grain);
}

static double power_of(const Grain *grain)
{
	const GrainCut *cut = grain->cut;
	double power = 0.0, weighted = 0.0, weights = 0.0;
	for (int32_t bin = 0; bin < cut->audible; ++bin)
		power += (double)grain->frame[bin] * grain->frame[bin];
	power *= cut->power_unit;
	if (!cut->points)
		return power;
	const float *levels = grain->frame + cut->magnitudes;
	for (int32_t point = 0; point < cut->points; ++point) {
		double at_point = grain->window[cut->point_samples[point]];
		weighted += at_point * at_point * levels[point] * levels[point];
		weights += at_point * at_point;
	}
	return power * (weighted / weights);
}

void core_add_grains(const Grain *grains, int32_t count)
{
	for (const Grain *grain = grains; grain < grains + count; ++grain) {
		const GrainCut *cut = grain->cut;
		double power = power_of(grain);
		float lowered = power > grain->highest_power ? (float)sqrt(grain->highest_power / power) : 1.0f;
		const float *levels = grain->frame + cut->magnitudes;
		const float *right_sound = grain->sound + (grain->mixes ? 2 * (cut->bins - 1) : 0);
		for (int32_t sample = grain->skipped; sample < cut->length; ++sample) {
			float left = grain->sound[sample], right = right_sound[sample], weight = grain->window[sample] * lowered;
			if (cut->points) {
				int64_t lower = cut->lower_points[sample];
				float level = levels[lower] * cut->lower_shares[sample] + levels[lower + 1] * cut->upper_shares[sample];
				left *= level;
				right *= level;
			}
			grain->left[sample - grain->skipped] += left * weight * grain->left_gain;
			grain->right[sample - grain->skipped] += right * weight * grain->right_gain;
		}
	}
}
