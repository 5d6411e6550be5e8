#include "grains.h"

#include <math.h>

void core_grain_spectra(const Grain *grains, int32_t count)
{
	for (const Grain *grain = grains; grain < grains + count; ++grain) {
		const GrainCut *cut = grain->cut;
		const float *magnitudes = grain->frame, *noise = grain->noise, *phasors = grain->phasors;
		for (int32_t bin = 0; bin < cut->bins; ++bin) {
			int64_t lower = cut->lower_bins[bin];
			float gain = magnitudes[lower] * cut->lower_gains[bin] + magnitudes[lower + 1] * cut->upper_gains[bin];
			float re = noise[2 * bin], im = noise[2 * bin + 1], turn_re = phasors[2 * bin], turn_im = phasors[2 * bin + 1];
			grain->filtered[2 * bin] = (re * turn_re - im * turn_im) * gain;
			grain->filtered[2 * bin + 1] = (re * turn_im + im * turn_re) * gain;
		}
	}
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
		for (int32_t sample = grain->skipped; sample < cut->length; ++sample) {
			float value = grain->sound[sample];
			if (cut->points) {
				int64_t lower = cut->lower_points[sample];
				value *= levels[lower] * cut->lower_shares[sample] + levels[lower + 1] * cut->upper_shares[sample];
			}
			value *= grain->window[sample] * lowered;
			grain->left[sample - grain->skipped] += value * grain->left_gain;
			grain->right[sample - grain->skipped] += value * grain->right_gain;
		}
	}
}
