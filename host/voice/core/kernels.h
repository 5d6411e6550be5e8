/* All that computes, compiled once for each instruction set: NAME gives each its own names. */

typedef float NAME(lanes) __attribute__((vector_size(4 * LANES)));

static inline NAME(lanes) NAME(load)(const float *source)
{
	NAME(lanes) value;
	memcpy(&value, source, sizeof value);
	return value;
}

static inline void NAME(store)(float *target, NAME(lanes) value)
{
	memcpy(target, &value, sizeof value);
}

/* Sum of products in eight lanes, then of the lanes in pairs. */
static inline float NAME(energy)(const float *values, int32_t count)
{
	NAME(lanes) sums = {0};
	int32_t index = 0;
	for (; index + LANES <= count; index += LANES) {
		NAME(lanes) value = NAME(load)(values + index);
		sums += value * value;
	}
	float remainder[LANES] = {0}, total[LANES];
	for (int32_t lane = 0; index + lane < count; ++lane)
		remainder[lane] = values[index + lane];
	NAME(lanes) last_values = NAME(load)(remainder);
	sums += last_values * last_values;
	NAME(store)(total, sums);
	return ((total[0] + total[4]) + (total[2] + total[6])) + ((total[1] + total[5]) + (total[3] + total[7]));
}

/* Replace values by 2 to the power of `unit` times them. The limits are far beyond those of float results; in a loop of
   their own they are no branches of the powers. */
static inline void NAME(raise_to)(double unit, float *values, int32_t count)
{
	const float limit = (float)(1000.0 / unit);
	for (int32_t index = 0; index < count; ++index) {
		float value = values[index] > limit ? limit : values[index];
		values[index] = value < -limit ? -limit : value;
	}
	for (int32_t index = 0; index < count; ++index)
		values[index] = (float)normal_power_of_two((double)values[index] * unit);
}

/* ---- The decoder ---- */

static void NAME(decode)(Core *core, const float *const *codes, const int32_t *keys, int32_t count, float *frames)
{
	const Instrument *model = core->instrument;
	int32_t stride = core->widest, values = model->harmonics + model->bands;
	for (int32_t begin = 0; begin < count; begin += BATCH) {
		int32_t rows = count - begin < BATCH ? count - begin : BATCH;
		for (int32_t row = 0; row < rows; ++row) {
			float *input = core->inputs + (int64_t)row * stride;
			memcpy(input, codes[begin + row], sizeof(float) * model->latents);
			float pitch = (float)keys[begin + row];
			pitch = pitch < (float)model->pitch_low ? (float)model->pitch_low : pitch;
			pitch = pitch > (float)model->pitch_high ? (float)model->pitch_high : pitch;
			for (int32_t middle = 0; middle < model->middles; ++middle) {
				float distance = pitch - model->pitch_middles[middle];
				float weight = 1.0f - (distance < 0.0f ? -distance : distance) / (float)model->pitch_unit;
				input[model->latents + middle] = weight > 0.0f ? weight : 0.0f;
			}
		}
		float *layer_inputs = core->inputs, *layer_outputs = core->outputs;
		int32_t inputs = model->latents + model->middles;
		for (int32_t layer = 0; layer < LAYERS; ++layer) {
			core->kernels->dense(layer_inputs, rows, stride, inputs, model->weights[layer], model->biases[layer],
			                     model->widths[layer], layer < LAYERS - 1 ? model->slope : 1.0f, layer_outputs);
			float *swap = layer_inputs;
			layer_inputs = layer_outputs;
			layer_outputs = swap;
			inputs = model->widths[layer];
		}
		for (int32_t row = 0; row < rows; ++row) {
			const float *restrict outputs = layer_inputs + (int64_t)row * stride;
			float *restrict frame = frames + (int64_t)(begin + row) * values;
			const float most = model->most;
			for (int32_t value = 0; value < values; ++value) {
				float nepers = outputs[value] + model->means[value];
				frame[value] = nepers > most ? most : nepers;
			}
			NAME(raise_to)(1.44269504088896340736, frame, values);
		}
	}
}

/* Levels of noise and low noise of bands' powers. */
static void NAME(noise_levels)(const Instrument *model, const float *power, float *residue, float *low)
{
	memset(residue, 0, sizeof(float) * model->bins);
	for (int32_t tap = 0; tap < model->spread_taps; ++tap) {
		const int32_t *band = model->tap_bands + (int64_t)tap * model->bins;
		const float *share = model->tap_shares + (int64_t)tap * model->bins;
		int32_t bin = 0, count = model->tap_counts[tap];
		for (; bin + LANES <= count; bin += LANES) {
			if (band[bin] == band[bin + LANES - 1]) { /* bands ascend: all bins of the vector are in one */
				NAME(lanes) sum = NAME(load)(residue + bin) + NAME(load)(share + bin) * power[band[bin]];
				NAME(store)(residue + bin, sum);
			} else
				for (int32_t lane = bin; lane < bin + LANES; ++lane)
					residue[lane] += power[band[lane]] * share[lane];
		}
		for (; bin < count; ++bin)
			residue[bin] += power[band[bin]] * share[bin];
	}
	for (int32_t bin = 0; bin < model->bins; ++bin)
		residue[bin] = sqrtf(residue[bin]);
	for (int32_t low_partial = 0; low_partial < model->lows; ++low_partial) {
		float sum = 0.0f;
		for (int32_t band = 0; band < model->bands; ++band)
			sum += power[band] * model->low_spread[(int64_t)band * model->lows + low_partial];
		low[low_partial] = sqrtf(sum);
	}
}

/* A row of the caller's, in the order of its Layout. */
static void NAME(copy_row)(const Instrument *model, const float *values, Row *row)
{
	float *parts[] = {row->heights, row->free_places, row->free_heights, row->residue, row->low, row->power};
	int32_t counts[] = {model->harmonics, model->most_free, model->most_free, model->bins, model->lows, model->bands};
	for (int32_t part = 0; part < (int32_t)(sizeof counts / sizeof *counts); values += counts[part++])
		memcpy(parts[part], values, sizeof(float) * (size_t)counts[part]);
}

static void NAME(fill_row)(const Instrument *model, const float *frame, Row *row)
{
	float highest = 0.0f;
	for (int32_t harmonic = 0; harmonic < model->harmonics; ++harmonic)
		highest = frame[harmonic] > highest ? frame[harmonic] : highest;
	for (int32_t harmonic = 0; harmonic < model->harmonics; ++harmonic)
		row->heights[harmonic] = frame[harmonic] < model->quietest * highest ? 0.0f : frame[harmonic];
	for (int32_t band = 0; band < model->bands; ++band)
		row->power[band] = frame[model->harmonics + band] * frame[model->harmonics + band];
	NAME(noise_levels)(model, row->power, row->residue, row->low);
}

static uint32_t NAME(set_of)(const Core *core, const float *codes, int32_t condition)
{
	uint64_t hash = 0x9E3779B97F4A7C15ULL * (uint64_t)(condition + 1);
	for (int32_t latent = 0; latent < core->instrument->latents; ++latent) {
		uint32_t bits;
		memcpy(&bits, codes + latent, sizeof bits);
		hash = (hash ^ bits) * 0xBF58476D1CE4E5B9ULL;
		hash ^= hash >> 29;
	}
	return (uint32_t)(hash % SETS);
}

static Row *NAME(known_row)(const Core *core, const float *codes, int32_t condition)
{
	Row *row = core->rows + NAME(set_of)(core, codes, condition) * WAYS;
	for (int32_t slot = 0; slot < WAYS; ++slot, ++row)
		if (row->condition == condition && memcmp(row->codes, codes, sizeof(float) * core->instrument->latents) == 0)
			return row;
	return NULL;
}

/* The caller's rows, in core->frames; its code meets denormals as it does elsewhere. */
static void NAME(decode_outside)(Core *core, const float *const *codes, const int32_t *conditions, int32_t count)
{
	size_t latents = (size_t)core->instrument->latents;
	memset(core->frames, 0, sizeof(float) * (size_t)count * (size_t)core->decoded_width);
	for (int32_t row = 0; row < count; ++row)
		memcpy(core->inputs + (size_t)row * latents, codes[row], sizeof(float) * latents);
	if (!count)
		return;
	restore_denormals(core->caller_mode);
	core->instrument->decode_rows(core->inputs, conditions, count, core->frames);
	core->caller_mode = flush_denormals();
}

/* Decode what is not known, at most BATCH rows; return how many. */
static int32_t NAME(remember)(Core *core, const float *const *codes, const int32_t *conditions, int32_t count)
{
	const float *new_codes[BATCH] = {0};
	int32_t new_conditions[BATCH] = {0}, new_count = 0;
	for (int32_t row_index = 0; row_index < count && new_count < BATCH; ++row_index) {
		if (NAME(known_row)(core, codes[row_index], conditions[row_index]))
			continue;
		int32_t new_row = 0;
		while (new_row < new_count && (new_conditions[new_row] != conditions[row_index] ||
		       memcmp(new_codes[new_row], codes[row_index], sizeof(float) * core->instrument->latents) != 0))
			++new_row;
		new_codes[new_row] = codes[row_index];
		new_conditions[new_row] = conditions[row_index];
		new_count += new_row == new_count;
	}
	if (core->instrument->decode_rows)
		NAME(decode_outside)(core, new_codes, new_conditions, new_count);
	else
		NAME(decode)(core, new_codes, new_conditions, new_count, core->frames);
	for (int32_t row_index = 0; row_index < new_count; ++row_index) {
		uint32_t set = NAME(set_of)(core, new_codes[row_index], new_conditions[row_index]);
		Row *row = core->rows + set * WAYS + core->oldest[set];
		core->oldest[set] = (uint8_t)((core->oldest[set] + 1) % WAYS);
		row->condition = new_conditions[row_index];
		memcpy(row->codes, new_codes[row_index], sizeof(float) * core->instrument->latents);
		const float *values = core->frames + (int64_t)row_index * core->decoded_width;
		if (core->instrument->decode_rows)
			NAME(copy_row)(core->instrument, values, row);
		else
			NAME(fill_row)(core->instrument, values, row);
	}
	return new_count;
}

static const Row *NAME(row_of)(Core *core, const float *codes, int32_t condition)
{
	const Row *row = NAME(known_row)(core, codes, condition);
	if (row == NULL) {
		NAME(remember)(core, &codes, &condition, 1);
		row = NAME(known_row)(core, codes, condition);
	}
	return row;
}

/* ---- Values over time ---- */

static double NAME(segment_value)(const double *segment, int64_t time)
{
	double progress = (double)(time - (int64_t)segment[0]) / segment[1];
	progress = progress < 0.0 ? 0.0 : progress;
	return progress < 1.0 ? segment[2] + (segment[3] - segment[2]) * progress : segment[3];
}

static double NAME(ramp_value)(const Ramp *ramp, int64_t time)
{
	int64_t segment = ramp->count - 1;
	while (segment > 0 && (int64_t)ramp->segments[4 * segment] > time)
		--segment;
	return NAME(segment_value)(ramp->segments + 4 * segment, time);
}

/* Multiply levels by a ramp over a block. */
static void NAME(multiply_ramp)(const Ramp *ramp, int64_t start, int32_t count, float *levels)
{
	const double *final = ramp->segments + 4 * (ramp->count - 1);
	if ((double)start >= final[0] + final[1]) {
		float constant = (float)final[3];
		for (int32_t sample = 0; sample < count; ++sample)
			levels[sample] *= constant;
		return;
	}
	for (int32_t sample = 0; sample < count; ++sample)
		levels[sample] *= (float)NAME(ramp_value)(ramp, start + sample);
}

static int64_t NAME(voice_end)(const Voice *voice)
{
	int64_t end = NEVER, fallen = voice->on + voice->attack + voice->decay;
	if (voice->sustain == 0.0 && (voice->off == NEVER || voice->off >= fallen))
		end = fallen;
	else if (voice->off != NEVER)
		end = voice->off + voice->release;
	if (voice->stolen_at != NEVER && voice->stolen_at + voice->steal < end)
		end = voice->stolen_at + voice->steal;
	return end;
}

static double NAME(held_level)(const Voice *voice, int64_t time)
{
	int64_t top = voice->on + voice->attack;
	if (time < top)
		return (double)(time > voice->on ? time - voice->on : 0) / (double)(voice->attack > 1 ? voice->attack : 1);
	double decay_share = (double)(top + voice->decay - time) / (double)voice->decay;
	decay_share = decay_share < 0.0 ? 0.0 : decay_share > 1.0 ? 1.0 : decay_share;
	return voice->sustain + (1.0 - voice->sustain) * (decay_share * decay_share * decay_share);
}

/* Samples of a block until a moment. */
static inline int32_t NAME(samples_until)(int64_t moment, int64_t start, int32_t count)
{
	return moment <= start ? 0 : moment < start + count ? (int32_t)(moment - start) : count;
}

/* Each part of the envelope has a loop without branches, which uses vectors; samples are exact as doubles. */
static void NAME(envelope)(const Voice *voice, int64_t start, int32_t count, float *restrict levels)
{
	int64_t top = voice->on + voice->attack, settled = top + voice->decay;
	int32_t held_count = voice->off == NEVER ? count : NAME(samples_until)(voice->off, start, count);
	int32_t sample = 0, rising = NAME(samples_until)(top, start, held_count);
	for (; sample < rising; ++sample)
		levels[sample] = (float)NAME(held_level)(voice, start + sample);
	int32_t falling = NAME(samples_until)(settled, start, held_count);
	const double sustain = voice->sustain, decay = (double)voice->decay, until_settled = (double)(settled - start);
	for (; sample < falling; ++sample) {
		double share = (until_settled - sample) / decay;
		levels[sample] = (float)(sustain + (1.0 - sustain) * (share * share * share));
	}
	for (; sample < held_count; ++sample)
		levels[sample] = (float)sustain;
	if (held_count == count)
		return;
	const float level_at_off = (float)NAME(held_level)(voice, voice->off);
	int64_t silent = voice->off + voice->release;
	const double release = (double)voice->release, until_silent = (double)(silent - start);
	int32_t sounding = NAME(samples_until)(silent, start, count);
	for (; voice->closes && sample < sounding; ++sample)
		levels[sample] = level_at_off * (float)sqrt(sqrt((until_silent - sample) / release));
	for (; sample < sounding; ++sample) {
		double share = (until_silent - sample) / release;
		levels[sample] = level_at_off * (float)(share * share * share);
	}
	for (; sample < count; ++sample)
		levels[sample] = 0.0f;
}

/* ---- Gestures ---- */

static double NAME(between)(const double *places, const double *values, int32_t count, double place)
{
	if (place <= places[0])
		return values[0];
	if (place >= places[count - 1])
		return values[count - 1];
	int32_t low = 0, high = count - 1;
	while (high - low > 1) {
		int32_t middle = (low + high) / 2;
		if (places[middle] <= place)
			low = middle;
		else
			high = middle;
	}
	return (values[high] - values[low]) / (places[high] - places[low]) * (place - places[low]) + values[low];
}

static double NAME(last_slope)(const double *places, const double *levels, int32_t count)
{
	const double slowest = 6.0; /* dB a second, so that a release ends */
	if (count < 2)
		return slowest;
	double slope = (levels[count - 2] - levels[count - 1]) / (places[count - 1] - places[count - 2]);
	return slope > slowest ? slope : slowest;
}

static double NAME(wander)(const Gesture *gesture, Voice *voice, double seconds)
{
	if (!voice->sines_known) {
		for (int32_t sine = 0; sine < SINES; ++sine) {
			voice->sine_hz[sine] = gesture->wander_hz * (0.3 + 1.2 * uniform(0, gesture->note, (uint64_t)sine * gesture->wander_columns));
			voice->sine_turns[sine] = uniform(0, gesture->note, (uint64_t)(SINES + sine) * gesture->wander_columns);
		}
		voice->sines_known = 1;
	}
	double swing = 0.0;
	for (int32_t sine = 0; sine < SINES; ++sine)
		swing += direction(seconds * voice->sine_hz[sine] + voice->sine_turns[sine]).sine;
	return swing * gesture->wander_db;
}

/* Level in dB at `moment` steps after the note-on. */
static double NAME(gesture_level)(const Gesture *gesture, Voice *voice, int64_t moment)
{
	double recorded = (double)(moment > 0 ? moment : 0) * (CURVE_STEP / gesture->rate) * gesture->speed;
	double last_time = gesture->level_times[gesture->level_points - 1];
	double level = NAME(between)(gesture->level_times, gesture->levels, gesture->level_points, recorded);
	level -= gesture->fall * (recorded > last_time ? recorded - last_time : 0.0);
	if (gesture->loudness_moments) {
		double place = recorded / gesture->residual_seconds;
		int32_t moments = gesture->loudness_moments, low = place >= moments - 1 ? moments - 1 : (int32_t)place;
		double move = gesture->loudness_moves[low];
		if (low < moments - 1)
			move = (gesture->loudness_moves[low + 1] - move) * (place - low) + move;
		level += move;
		level = level > gesture->ceiling ? gesture->ceiling : level;
	}
	if (recorded > gesture->held) {
		double part = (recorded / gesture->held - 1.0) / 0.5;
		part = part > 1.0 ? 1.0 : part;
		level += part * part * (3.0 - 2.0 * part) * NAME(wander)(gesture, voice, recorded);
	}
	return (level + gesture->louder) * gesture->loudness;
}

static double NAME(release_level)(const Gesture *gesture, int64_t moment)
{
	double recorded = (double)moment * (CURVE_STEP / gesture->rate) * gesture->stretch;
	int32_t points = gesture->release_points;
	double beyond = recorded - gesture->release_times[points - 1];
	double level = NAME(between)(gesture->release_times, gesture->release_levels, points, recorded);
	if (beyond > 0.0)
		level -= beyond * NAME(last_slope)(gesture->release_times, gesture->release_levels, points);
	return level;
}

/* A gain in steps of CURVE_STEP samples, linear in between; the last step computed is kept. */
static void NAME(find_held)(const Gesture *gesture, Voice *voice, int64_t step)
{
	if (step == voice->held_step)
		return;
	voice->held_from = step == voice->held_step + 1 ? voice->held_to
	                   : decibels_to_gain(NAME(gesture_level)(gesture, voice, step));
	voice->held_to = decibels_to_gain(NAME(gesture_level)(gesture, voice, step + 1));
	voice->held_step = step;
}

static void NAME(find_release)(const Gesture *gesture, Voice *voice, int64_t step)
{
	if (step == voice->release_step)
		return;
	voice->release_from = step == voice->release_step + 1 ? voice->release_to
	                      : decibels_to_gain(NAME(release_level)(gesture, step));
	voice->release_to = decibels_to_gain(NAME(release_level)(gesture, step + 1));
	voice->release_step = step;
}

static double NAME(between_steps)(double first_gain, double last_gain, int32_t sample)
{
	return (last_gain - first_gain) * ((double)sample / CURVE_STEP) + first_gain;
}

static void NAME(multiply_gesture)(const Gesture *gesture, Voice *voice, int64_t start, int32_t count, float *levels)
{
	if (gesture->loudness == 0.0)
		return;
	int32_t held_count = gesture->off == NEVER || gesture->off >= start + count ? count
	               : gesture->off > start ? (int32_t)(gesture->off - start) : 0;
	for (int32_t sample = 0; sample < held_count;) {
		int64_t elapsed = start + sample - gesture->begin, step = floor_divide(elapsed, CURVE_STEP);
		int32_t first = (int32_t)(elapsed - step * CURVE_STEP), run = CURVE_STEP - first;
		run = run < held_count - sample ? run : held_count - sample;
		NAME(find_held)(gesture, voice, step);
		const double from = voice->held_from, to = voice->held_to;
		for (int32_t index = 0; index < run; ++index)
			levels[sample + index] *= (float)NAME(between_steps)(from, to, first + index);
		sample += run;
	}
	if (held_count == count)
		return;
	if (!voice->left_known) {
		int64_t elapsed = gesture->off - gesture->begin, step = floor_divide(elapsed, CURVE_STEP);
		NAME(find_held)(gesture, voice, step);
		int32_t place = (int32_t)(elapsed - step * CURVE_STEP);
		voice->left = (float)NAME(between_steps)(voice->held_from, voice->held_to, place);
		voice->left_known = 1;
	}
	for (int32_t sample = held_count; sample < count;) {
		int64_t elapsed = start + sample - gesture->off, step = floor_divide(elapsed, CURVE_STEP);
		int32_t first = (int32_t)(elapsed - step * CURVE_STEP), run = CURVE_STEP - first;
		run = run < count - sample ? run : count - sample;
		if (gesture->release_points)
			NAME(find_release)(gesture, voice, step);
		for (int32_t index = 0; index < run; ++index)
			levels[sample + index] *= voice->left * (gesture->release_points ?
				(float)NAME(between_steps)(voice->release_from, voice->release_to, first + index) : 1.0f);
		sample += run;
	}
}

/* Value of a way, [points, latents], at a time: linear between its points, the first and the last beyond. */
static void NAME(code_at)(const double *times, const double *codes, int32_t points, int32_t latents, double time,
                          double *code)
{
	int32_t upper = 1;
	while (upper < points - 1 && times[upper] <= time)
		++upper;
	if (points == 1) {
		memcpy(code, codes, sizeof(double) * latents);
		return;
	}
	double part = (time - times[upper - 1]) / (times[upper] - times[upper - 1]);
	part = part < 0.0 ? 0.0 : part > 1.0 ? 1.0 : part;
	const double *lower_code = codes + (int64_t)(upper - 1) * latents, *upper_code = lower_code + latents;
	for (int32_t latent = 0; latent < latents; ++latent)
		code[latent] = lower_code[latent] * (1.0 - part) + upper_code[latent] * part;
}

/* The code of a held gesture along its way, without its offset. */
static void NAME(held_code)(const Core *core, Voice *voice, const CodeState *state, int64_t time, double *code)
{
	const Gesture *gesture = voice->gesture;
	int32_t latents = core->instrument->latents, directions = core->instrument->directions;
	double seconds = (double)(time - gesture->codes_begin + gesture->lead) * (gesture->speed / gesture->rate);
	NAME(code_at)(gesture->code_times, gesture->codes_way, gesture->code_points, latents, seconds, code);
	if (seconds <= gesture->held)
		return;
	if (!voice->code_sines_known) {
		for (int32_t entry = 0; entry < directions * 2 * SINES; ++entry) {
			int32_t column = 1 + entry / (2 * SINES), row = entry % (2 * SINES);
			double drawn = uniform(0, gesture->note, (uint64_t)row * (1 + directions) + column);
			state->sines[entry] = row < SINES ? gesture->hertz[column] * (0.3 + 1.2 * drawn) : drawn;
		}
		voice->code_sines_known = 1;
	}
	double part = (seconds / gesture->held - 1.0) / 0.5;
	part = part > 1.0 ? 1.0 : part;
	double amount = part * part * (3.0 - 2.0 * part);
	for (int32_t axis = 0; axis < directions; ++axis) {
		const double *hertz = state->sines + axis * 2 * SINES, *turns = hertz + SINES;
		double swing = 0.0;
		for (int32_t sine = 0; sine < SINES; ++sine)
			swing += direction(seconds * hertz[sine] + turns[sine]).sine;
		swing *= gesture->deviations[1 + axis] * amount;
		for (int32_t latent = 0; latent < latents; ++latent)
			code[latent] += swing * gesture->directions[axis * latents + latent];
	}
}

static void NAME(gesture_code)(const Core *core, Voice *voice, const CodeState *state, int64_t time, double *code)
{
	const Gesture *gesture = voice->gesture;
	int32_t latents = core->instrument->latents;
	if (gesture->off == NEVER || time < gesture->off || !gesture->release_code_points) {
		NAME(held_code)(core, voice, state, time, code);
	} else {
		if (!voice->off_code_known) {
			NAME(held_code)(core, voice, state, gesture->off, state->at_off);
			voice->off_code_known = 1;
		}
		double seconds = (double)(time - gesture->off + gesture->lead) * (gesture->speed / gesture->rate);
		double remaining = 1.0 - seconds / 0.1; /* crossfade from the codes at the note-off */
		NAME(code_at)(gesture->release_code_times, gesture->release_codes, gesture->release_code_points, latents, seconds,
		             code);
		for (int32_t latent = 0; latent < latents && remaining > 0.0; ++latent)
			code[latent] += (state->at_off[latent] - gesture->release_codes[latent]) * remaining;
	}
	for (int32_t latent = 0; latent < latents; ++latent)
		code[latent] = (gesture->offset[latent] + code[latent]) * (double)gesture->codes;
}

/* Add a gesture's code to those of the knobs at a hop, within the latents' spans. It stays until its change is audible,
   since equal codes are decoded once. */
static void NAME(add_gesture)(Core *core, Voice *voice, int64_t hop, float *codes)
{
	const Gesture *gesture = voice->gesture;
	int32_t latents = core->instrument->latents;
	CodeState state = voice_code_state(core, voice);
	int64_t last_hop = hop > gesture->first_hop ? hop : gesture->first_hop;
	int64_t first_hop = voice->gesture_hop == INT64_MIN ? gesture->first_hop : voice->gesture_hop + 1;
	for (int64_t next = first_hop; next <= last_hop; ++next) {
		NAME(gesture_code)(core, voice, &state, next * core->instrument->knob_hop, state.next);
		double distance = 0.0;
		for (int32_t column = 0; column < latents; ++column) {
			double decibels = 0.0;
			for (int32_t latent = 0; latent < latents; ++latent)
				decibels += state.next[latent] * gesture->decibels[latent * latents + column];
			double change = decibels - state.sounding[column];
			distance += change * change;
			core->sounding[column] = decibels;
		}
		if (voice->gesture_hop == INT64_MIN || distance >= 0.25) { /* half a decibel */
			memcpy(state.code, state.next, sizeof(double) * latents);
			memcpy(state.sounding, core->sounding, sizeof(double) * latents);
		}
		voice->gesture_hop = next;
	}
	for (int32_t latent = 0; latent < latents; ++latent) {
		const double *span = core->instrument->spans + 2 * latent;
		double low = span[0] < codes[latent] ? span[0] : codes[latent], high = span[1] > codes[latent] ? span[1] : codes[latent];
		double sum = (double)codes[latent] + state.code[latent];
		codes[latent] = (float)(sum < low ? low : sum > high ? high : sum);
	}
}

static int64_t NAME(mirrored_place)(int64_t last_place, int64_t span, int64_t place)
{
	int64_t cycle = (place - last_place + span) % (2 * span), offset = span - cycle;
	return last_place - (offset < 0 ? -offset : offset);
}

enum { NAME(OPENING) = 16, NAME(ONSET_FADE) = 6 };

/* Add the movement of a held note's residual at a moment, in dB; `early`: the onset's moment, -1 after it. */
static void NAME(add_movement)(const Gesture *gesture, int64_t place, int64_t early, float factor, float *gains)
{
	int32_t bands = gesture->bands;
	int64_t last_place = gesture->held_moments - 1;
	if (last_place < 0)
		return;
	int64_t span = last_place - (int64_t)nearest(0.25 * (double)last_place);
	if (place > last_place && span < NAME(OPENING)) {
		double remaining = 1.0 - (double)(place - last_place) / NAME(OPENING);
		float step = (float)(0.5 * (remaining > 0.0 ? remaining : 0.0));
		for (int32_t band = 0; band < bands; ++band)
			gains[band] += (float)gesture->movement[last_place * bands + band] * step * factor;
		return;
	}
	if (place > last_place) {
		const float *fast = gesture->fast + NAME(mirrored_place)(last_place, span, place) * bands;
		for (int32_t band = 0; band < bands; ++band)
			gains[band] += fast[band] * factor;
		return;
	}
	double share = 2.0 * (double)place / NAME(OPENING) - 1.0;
	float own_share = (float)(share < 0.0 ? 0.0 : share > 1.0 ? 1.0 : share);
	float quiet = gesture->loudness < 1.0 ? own_share + (1.0f - own_share) * (float)gesture->loudness : 1.0f;
	double remaining = (double)(gesture->onset_moments - early) / (NAME(ONSET_FADE) + 1);
	float onset_share = (float)(remaining < 1.0 ? remaining : 1.0);
	for (int32_t band = 0; band < bands; ++band) {
		float change = (float)gesture->movement[place * bands + band] * 0.5f;
		if (place < gesture->opening_moments)
			change = change * own_share + gesture->opening[place * bands + band] * (1.0f - own_share);
		if (early >= 0)
			change = change * (1.0f - onset_share) + gesture->onset[early * bands + band] * onset_share;
		gains[band] += change * quiet * factor;
	}
}

/* Gains of bands in dB for a frame that begins at `time`. */
static void NAME(band_gains)(const Gesture *gesture, int64_t time, int64_t ahead, float *gains)
{
	int32_t bands = gesture->bands;
	double moments = gesture->speed / (gesture->rate * gesture->residual_seconds);
	memcpy(gains, gesture->gains, sizeof(float) * bands);
	int64_t elapsed = time + ahead - gesture->begin;
	if (time < gesture->off) {
		double samples = (double)(elapsed > 0 ? elapsed : 0);
		int64_t early = (int64_t)(samples * (gesture->speed / (gesture->rate * gesture->onset_seconds)) + 0.5);
		early = early < gesture->onset_moments ? early : -1;
		NAME(add_movement)(gesture, (int64_t)(samples * moments + 0.5), early, 1.0f, gains);
	} else {
		int64_t place = (int64_t)((double)(time + ahead - gesture->off) * moments + 0.5);
		double fade = 1.0 - (double)place * gesture->residual_seconds / 0.1;
		float remaining = (float)(fade > 0.0 ? fade : 0.0);
		if (gesture->ending_moments) {
			int64_t moment = place < gesture->ending_moments - 1 ? place : gesture->ending_moments - 1;
			for (int32_t band = 0; band < bands; ++band)
				gains[band] += gesture->ending[moment * bands + band] - gesture->ending[band] * remaining;
		}
		if (remaining > 0.0f) {
			int64_t held_samples = gesture->off - gesture->begin;
			NAME(add_movement)(gesture, (int64_t)((double)(held_samples > 0 ? held_samples : 0) * moments + 0.5), -1, remaining,
			                   gains);
		}
	}
	for (int32_t band = 0; band < bands; ++band)
		gains[band] *= gesture->codes;
}

static double NAME(pitch_at)(const Gesture *gesture, int64_t place)
{
	int64_t last_place = gesture->vibrato_moments - 1;
	if (place <= last_place)
		return gesture->vibrato[place];
	int64_t span = last_place - (int64_t)nearest(0.25 * (double)last_place);
	if (span < NAME(OPENING)) {
		double remaining = 1.0 - (double)(place - last_place) / NAME(OPENING);
		return gesture->vibrato[last_place] * (remaining > 0.0 ? remaining : 0.0);
	}
	return gesture->vibrato[NAME(mirrored_place)(last_place, span, place)];
}

/* Deviation in semitones. */
static double NAME(vibrato)(const Gesture *gesture, int64_t time, int64_t ahead)
{
	if (!gesture->vibrato_moments)
		return 0.0;
	int64_t elapsed = time + ahead - gesture->begin;
	double moments = gesture->speed / (gesture->rate * gesture->residual_seconds);
	double moment = (double)(elapsed > 0 ? elapsed : 0) * moments;
	int64_t place = (int64_t)moment;
	double part = moment - (double)place, first = NAME(pitch_at)(gesture, place);
	double deviation = first + (NAME(pitch_at)(gesture, place + 1) - first) * part;
	if (deviation == 0.0)
		return 0.0;
	double depth = NAME(ramp_value)(gesture->depth, time > gesture->begin ? time : gesture->begin);
	if (gesture->deeper != 0.0) {
		depth += gesture->deeper;
		depth = depth < gesture->depth_low ? gesture->depth_low : depth > gesture->depth_high ? gesture->depth_high : depth;
	}
	return gesture->vibrato_semitones * (double)gesture->codes * deviation * depth;
}

/* ---- Frames ---- */

/* Transpose eight vectors of eight lanes. */
static inline __attribute__((always_inline)) void NAME(transpose)(NAME(lanes) *rows)
{
	NAME(lanes) pairs[LANES], fours[LANES];
	for (int32_t row = 0; row < LANES; row += 2) {
		pairs[row] = __builtin_shufflevector(rows[row], rows[row + 1], 0, 8, 1, 9, 4, 12, 5, 13);
		pairs[row + 1] = __builtin_shufflevector(rows[row], rows[row + 1], 2, 10, 3, 11, 6, 14, 7, 15);
	}
	for (int32_t row = 0; row < LANES; row += 4)
		for (int32_t half = 0; half < 2; ++half) {
			NAME(lanes) first = pairs[row + half], second = pairs[row + half + 2];
			fours[row + 2 * half] = __builtin_shufflevector(first, second, 0, 1, 8, 9, 4, 5, 12, 13);
			fours[row + 2 * half + 1] = __builtin_shufflevector(first, second, 2, 3, 10, 11, 6, 7, 14, 15);
		}
	for (int32_t row = 0; row < 4; ++row) {
		rows[row] = __builtin_shufflevector(fours[row], fours[row + 4], 0, 1, 2, 3, 8, 9, 10, 11);
		rows[row + 4] = __builtin_shufflevector(fours[row], fours[row + 4], 4, 5, 6, 7, 12, 13, 14, 15);
	}
}

/* The last step of a transform: eight interleaved ones become one, [8, eighth]. */
static void NAME(join)(const Core *core, const float *in_re, const float *in_im, float *out_re, float *out_im)
{
	int32_t eighth = core->half / LANES;
	const float root = 0.70710678118654752440f; /* of one half */
	for (int32_t first = 0; first < eighth; first += LANES) {
		NAME(lanes) re[LANES], im[LANES];
		for (int32_t row = 0; row < LANES; ++row) {
			re[row] = NAME(load)(in_re + (first + row) * LANES);
			im[row] = NAME(load)(in_im + (first + row) * LANES);
		}
		NAME(transpose)(re);
		NAME(transpose)(im);
		for (int32_t row = 1; row < LANES; ++row) {
			NAME(lanes) turn_re = NAME(load)(core->join_re + row * eighth + first);
			NAME(lanes) turn_im = NAME(load)(core->join_im + row * eighth + first);
			NAME(lanes) turned = re[row] * turn_re - im[row] * turn_im;
			im[row] = re[row] * turn_im + im[row] * turn_re;
			re[row] = turned;
		}
		NAME(lanes) sum_re[LANES], sum_im[LANES]; /* of the even and the odd four points, each transformed */
		for (int32_t odd = 0; odd < 2; ++odd) {
			NAME(lanes) a_re = re[odd] + re[odd + 4], a_im = im[odd] + im[odd + 4];
			NAME(lanes) b_re = re[odd] - re[odd + 4], b_im = im[odd] - im[odd + 4];
			NAME(lanes) c_re = re[odd + 2] + re[odd + 6], c_im = im[odd + 2] + im[odd + 6];
			NAME(lanes) d_re = re[odd + 2] - re[odd + 6], d_im = im[odd + 2] - im[odd + 6];
			NAME(lanes) *to_re = sum_re + 4 * odd, *to_im = sum_im + 4 * odd;
			to_re[0] = a_re + c_re;
			to_im[0] = a_im + c_im;
			to_re[1] = b_re - d_im;
			to_im[1] = b_im + d_re;
			to_re[2] = a_re - c_re;
			to_im[2] = a_im - c_im;
			to_re[3] = b_re + d_im;
			to_im[3] = b_im - d_re;
		}
		NAME(lanes) odd_re[4] = {sum_re[4], (sum_re[5] - sum_im[5]) * root, -sum_im[6], (-sum_re[7] - sum_im[7]) * root};
		NAME(lanes) odd_im[4] = {sum_im[4], (sum_re[5] + sum_im[5]) * root, sum_re[6], (sum_re[7] - sum_im[7]) * root};
		for (int32_t row = 0; row < 4; ++row) {
			NAME(store)(out_re + row * eighth + first, sum_re[row] + odd_re[row]);
			NAME(store)(out_im + row * eighth + first, sum_im[row] + odd_im[row]);
			NAME(store)(out_re + (row + 4) * eighth + first, sum_re[row] - odd_re[row]);
			NAME(store)(out_im + (row + 4) * eighth + first, sum_im[row] - odd_im[row]);
		}
	}
}

/* Inverse transform of `half` complex points: eight interleaved ones by Stockham's passes of radix 4 and, where their
   length asks for it, a last one of radix 2; then the eight are joined. All steps work on whole vectors. */
static void NAME(transform)(const Core *core, float *re, float *im, float *other_re, float *other_im)
{
	float *from_re = re, *from_im = im, *to_re = other_re, *to_im = other_im;
	int32_t length = core->half / LANES, stride = LANES;
	for (int32_t pass = 0; length > 1; ++pass) {
		if (length == 2) {
			for (int32_t index = 0; index < stride; ++index) {
				to_re[index] = from_re[index] + from_re[index + stride];
				to_im[index] = from_im[index] + from_im[index + stride];
				to_re[index + stride] = from_re[index] - from_re[index + stride];
				to_im[index + stride] = from_im[index] - from_im[index + stride];
			}
			length = 1;
		} else {
			int32_t quarter = length / 4, distance = stride * quarter;
			const Twiddles *roots = core->twiddles + pass;
			for (int32_t place = 0; place < quarter; ++place) {
				float re1 = roots->re1[place], im1 = roots->im1[place], re2 = roots->re2[place];
				float im2 = roots->im2[place], re3 = roots->re3[place], im3 = roots->im3[place];
				const float *in_re = from_re + stride * place, *in_im = from_im + stride * place;
				float *out_re = to_re + 4 * stride * place, *out_im = to_im + 4 * stride * place;
				for (int32_t index = 0; index < stride; index += LANES) {
					NAME(lanes) a_re = NAME(load)(in_re + index), a_im = NAME(load)(in_im + index);
					NAME(lanes) b_re = NAME(load)(in_re + index + distance), b_im = NAME(load)(in_im + index + distance);
					NAME(lanes) c_re = NAME(load)(in_re + index + 2 * distance), c_im = NAME(load)(in_im + index + 2 * distance);
					NAME(lanes) d_re = NAME(load)(in_re + index + 3 * distance), d_im = NAME(load)(in_im + index + 3 * distance);
					NAME(lanes) even_re = a_re + c_re, even_im = a_im + c_im, odd_re = b_re + d_re, odd_im = b_im + d_im;
					NAME(lanes) less_re = a_re - c_re, less_im = a_im - c_im, turn_re = b_im - d_im, turn_im = d_re - b_re;
					NAME(store)(out_re + index, even_re + odd_re);
					NAME(store)(out_im + index, even_im + odd_im);
					NAME(lanes) x_re = less_re - turn_re, x_im = less_im - turn_im;
					NAME(store)(out_re + index + stride, x_re * re1 - x_im * im1);
					NAME(store)(out_im + index + stride, x_re * im1 + x_im * re1);
					x_re = even_re - odd_re;
					x_im = even_im - odd_im;
					NAME(store)(out_re + index + 2 * stride, x_re * re2 - x_im * im2);
					NAME(store)(out_im + index + 2 * stride, x_re * im2 + x_im * re2);
					x_re = less_re + turn_re;
					x_im = less_im + turn_im;
					NAME(store)(out_re + index + 3 * stride, x_re * re3 - x_im * im3);
					NAME(store)(out_im + index + 3 * stride, x_re * im3 + x_im * re3);
				}
			}
			length = quarter;
			stride *= 4;
		}
		float *swap = from_re;
		from_re = to_re;
		to_re = swap;
		swap = from_im;
		from_im = to_im;
		to_im = swap;
	}
	NAME(join)(core, from_re, from_im, to_re, to_im);
	if (to_re != re) {
		memcpy(re, to_re, sizeof(float) * core->half);
		memcpy(im, to_im, sizeof(float) * core->half);
	}
}

static inline __attribute__((always_inline)) NAME(lanes) NAME(load_backward)(const float *final)
{
	NAME(lanes) value = NAME(load)(final - LANES + 1);
	return __builtin_shufflevector(value, value, 7, 6, 5, 4, 3, 2, 1, 0);
}

/* Samples of a spectrum of half + 1 bins, by one transform of half the length. The ends' imaginary parts become 0. */
static void NAME(samples_of)(const Core *core, const float *re, float *im, float *samples)
{
	int32_t half = core->half;
	float *points_re = core->points, *points_im = core->points + half;
	float scale = 0.5f / (float)half; /* of both halves' sums */
	im[0] = im[half] = 0.0f;
	for (int32_t bin = 0; bin < half; bin += LANES) {
		NAME(lanes) here_re = NAME(load)(re + bin), here_im = NAME(load)(im + bin);
		NAME(lanes) there_re = NAME(load_backward)(re + half - bin), there_im = -NAME(load_backward)(im + half - bin);
		NAME(lanes) root_re = NAME(load)(core->real_re + bin), root_im = NAME(load)(core->real_im + bin);
		NAME(lanes) less_re = here_re - there_re, less_im = here_im - there_im;
		NAME(lanes) turned_re = less_re * root_re - less_im * root_im;
		NAME(lanes) turned_im = less_re * root_im + less_im * root_re;
		NAME(store)(points_re + bin, (here_re + there_re - turned_im) * scale);
		NAME(store)(points_im + bin, (here_im + there_im + turned_re) * scale);
	}
	NAME(transform)(core, points_re, points_im, core->points + 2 * half, core->points + 3 * half);
	for (int32_t index = 0; index < half; index += LANES) {
		NAME(lanes) even = NAME(load)(points_re + index), odd = NAME(load)(points_im + index);
		NAME(store)(samples + 2 * index, __builtin_shufflevector(even, odd, 0, 8, 1, 9, 2, 10, 3, 11));
		NAME(store)(samples + 2 * index + LANES, __builtin_shufflevector(even, odd, 4, 12, 5, 13, 6, 14, 7, 15));
	}
}

/* Heights of harmonics with the spectral envelope kept in place. */
static void NAME(keep_formants)(const Instrument *model, const float *heights, double formant_ratio,
                                float *moved_heights, double *envelope)
{
	int32_t count = model->harmonics;
	for (int32_t harmonic = 0; harmonic < count; ++harmonic) {
		float height = heights[harmonic], lower = heights[harmonic > 0 ? harmonic - 1 : 0];
		float upper = heights[harmonic + 1 < count ? harmonic + 1 : harmonic];
		envelope[harmonic] = logarithm((double)(lower * lower + height * height + upper * upper + 1e-20f)) / 2.0;
	}
	for (int32_t harmonic = 0; harmonic < count; ++harmonic) {
		double place = (double)(harmonic + 1) * formant_ratio - 1.0;
		place = place < 0.0 ? 0.0 : place > count - 1 ? count - 1 : place;
		int32_t low = (int32_t)place < count - 2 ? (int32_t)place : count - 2;
		low = low < 0 ? 0 : low;
		double share = place - low, high = envelope[low + 1 < count ? low + 1 : low];
		double gain = envelope[low] * (1.0 - share) + high * share - envelope[harmonic];
		gain = gain > model->formant_nepers ? model->formant_nepers : gain;
		gain = gain < -model->formant_nepers ? -model->formant_nepers : gain;
		moved_heights[harmonic] = (float)((double)heights[harmonic] * exponential(gain));
	}
}

typedef struct {
	int32_t partials;
	const double *orders;
	const float *heights, *residue, *low;
} NAME(Split);

/* A note's modes in place of harmonics and beyond them, at a key. */
static void NAME(place_modes)(Core *core, const Gesture *gesture, int32_t key, const float *power, NAME(Split) *split)
{
	const Instrument *model = core->instrument;
	int32_t more = model->harmonics, takers = 0;
	double shares[MOST_BANDS];
	memset(shares, 0, sizeof(double) * model->bands);
	memmove(core->heights, split->heights, sizeof(float) * model->harmonics);
	memcpy(core->orders, split->orders, sizeof(double) * model->harmonics);
	int32_t place_of[MOST_MODES], band_of[MOST_MODES];
	for (int32_t mode = 0; mode < gesture->modes; ++mode) {
		const double *row = gesture->mode_rows + 3 * mode;
		int32_t place = row[1] > 0.0 ? (int32_t)row[1] - 1 : more++;
		if (row[1] <= 0.0)
			core->heights[place] = 0.0f;
		core->orders[place] = row[0];
		double hertz = row[0] * model->key_hz[key];
		int32_t band = -1;
		while (band < model->bands && model->edges_hz[band + 1] <= hertz)
			++band;
		place_of[mode] = place;
		band_of[mode] = row[2] > 0.0 && band < model->bands ? band : -1;
		if (band_of[mode] >= 0) {
			shares[band] += row[2];
			++takers;
		}
	}
	for (int32_t mode = 0; mode < gesture->modes; ++mode) {
		int32_t band = band_of[mode];
		if (band < 0)
			continue;
		double share = gesture->mode_rows[3 * mode + 2] / (shares[band] > 1.0 ? shares[band] : 1.0);
		float height = core->heights[place_of[mode]], energy = (float)(share * model->band_energy[band]);
		core->heights[place_of[mode]] = sqrtf(height * height + energy * power[band]);
	}
	if (takers) {
		for (int32_t band = 0; band < model->bands; ++band)
			core->power[band] = power[band] * (float)(1.0 - (shares[band] < 1.0 ? shares[band] : 1.0));
		NAME(noise_levels)(model, core->power, core->noise, core->low);
		split->residue = core->noise;
		split->low = core->low;
	}
	split->heights = core->heights;
	split->orders = core->orders;
	split->partials = more;
}

/* The recorded residual's gains, at equal power; `first`: frequency of the fundamental, as decoded, in bins. */
static void NAME(filter)(Core *core, const float *decibels, double first, NAME(Split) *split)
{
	const Instrument *model = core->instrument;
	float gains[MOST_BANDS], *factors = core->factors, *noise = core->moved;
	int32_t bins = model->bins, first_bin = model->muted_bins > model->lowest_bin ? model->muted_bins : model->lowest_bin;
	memcpy(gains, decibels, sizeof(float) * (size_t)model->filter_bands);
	NAME(raise_to)(0.16609640474436811739, gains, model->filter_bands);
	for (int32_t bin = 0; bin < bins; ++bin) {
		int32_t low = model->filter_low[bin];
		factors[bin] = gains[low] + (gains[low + 1] - gains[low]) * model->filter_share[bin];
	}
	float power_before = model->hann * NAME(energy)(split->heights, split->partials);
	power_before += NAME(energy)(split->residue + first_bin, bins - first_bin);
	for (int32_t partial = 0; partial < split->partials; ++partial) {
		double bin_place = nearest(first * split->orders[partial]);
		core->heights[partial] = split->heights[partial] * factors[bin_place < bins - 1 ? (int32_t)bin_place : bins - 1];
	}
	for (int32_t bin = 0; bin < bins; ++bin)
		noise[bin] = split->residue[bin] * factors[bin];
	float power_after = model->hann * NAME(energy)(core->heights, split->partials);
	power_after += NAME(energy)(noise + first_bin, bins - first_bin);
	for (int32_t low_partial = 0; low_partial < model->lows; ++low_partial) {
		float low = split->low[low_partial], moved_low = low * factors[model->low_middles[low_partial]];
		power_before += low * low * model->low_widths[low_partial];
		power_after += moved_low * moved_low * model->low_widths[low_partial];
		core->low[low_partial] = moved_low;
	}
	float gain = sqrtf(power_before / (power_after > 1e-30f ? power_after : 1e-30f));
	for (int32_t partial = 0; partial < split->partials; ++partial)
		core->heights[partial] *= gain;
	for (int32_t bin = 0; bin < bins; ++bin)
		noise[bin] *= gain;
	for (int32_t low_partial = 0; low_partial < model->lows; ++low_partial)
		core->low[low_partial] *= gain;
	split->heights = core->heights;
	split->residue = noise;
	split->low = core->low;
}

/* Rows of an image's curves, [CURVES + 2, bins]; those of the last two are as recorded. */
enum { NAME(LEFT), NAME(RIGHT), NAME(COSINE), NAME(SINE), NAME(OWN), NAME(OTHER), NAME(RATIO), NAME(ANGLE) };

/* An image's curves at another amount, as `moved_curves` of host/model/image.py. */
static void NAME(move_image)(const Instrument *model, const float *image, double amount, float *curves)
{
	int32_t bins = model->bins;
	const double noise_angle = model->noise_angle;
	const float *octaves = image + NAME(RATIO) * bins, *angles = image + NAME(ANGLE) * bins;
	for (int32_t bin = 0; bin < bins; ++bin) {
		double ratio = normal_power_of_two(amount * octaves[bin]), right = 2.0 / (1.0 + ratio);
		curves[NAME(LEFT) * bins + bin] = (float)sqrt(right * ratio);
		curves[NAME(RIGHT) * bins + bin] = (float)sqrt(right);
	}
	for (int32_t bin = 0; bin < bins; ++bin) {
		Direction angle = quarter_direction(amount * angles[bin]);
		curves[NAME(COSINE) * bins + bin] = (float)angle.cosine;
		curves[NAME(SINE) * bins + bin] = (float)angle.sine;
	}
	if (noise_angle == 0.0) { /* the width adds no angle to that of noise */
		memcpy(curves + NAME(OWN) * bins, curves + NAME(COSINE) * bins, sizeof(float) * 2 * (size_t)bins);
		return;
	}
	for (int32_t bin = 0; bin < bins; ++bin) {
		Direction noise = quarter_direction(amount * angles[bin] + noise_angle);
		curves[NAME(OWN) * bins + bin] = (float)noise.cosine;
		curves[NAME(OTHER) * bins + bin] = (float)noise.sine;
	}
}

/* Curves of a voice's image for a frame at a moment; null where it plays none. Sets the sides that the frame computes. */
static const float *NAME(image_at)(Core *core, Voice *voice, int64_t moment)
{
	const Instrument *model = core->instrument;
	const Gesture *gesture = voice->gesture;
	double amount = model->image ? NAME(ramp_value)(model->image_amount, moment) : 0.0;
	core->sides = amount == 0.0 && model->alike == 1.0f ? 1 : model->channels;
	if (amount == 0.0)
		return NULL;
	const float *image = gesture && gesture->bands && gesture->image ? gesture->image : model->image;
	if (amount == model->image_rest)
		return image;
	float *curves = voice_curves(core, voice);
	if (amount != voice->moved_amount)
		NAME(move_image)(model, image, amount, curves);
	voice->moved_amount = amount;
	return curves;
}

/* A lobe of one of the unison's voices; `frequency` in bins before its detuning, `turn` in cycles; `sign`: of the left
   side's angle in the image, if there is one. */
static inline void NAME(add_sinusoid)(Core *core, int32_t voice, double frequency, double turn, float height, float sign,
                                      const float *image)
{
	const Instrument *model = core->instrument;
	int32_t width = 2 * model->taps + 1, apart = model->bins + PADDING;
	double tuned = frequency * model->detune[voice], top = ((double)(model->bins - 1) - tuned) / model->top_bins;
	if (top <= 0.0)
		return;
	float faded = top < 1.0 ? height * (float)top : height;
	double middle = nearest(tuned);
	Direction angle = direction(turn);
	float re = faded * (float)angle.cosine, im = faded * (float)angle.sine;
	int32_t entry = (int32_t)nearest((tuned - middle + 0.5) * model->lobe_steps);
	const float *lobe = model->lobes + (int64_t)entry * width;
	const float *curve = image ? image + (middle < model->bins - 1 ? (int32_t)middle : model->bins - 1) : NULL;
	for (int32_t channel = 0; channel < core->sides; ++channel) {
		float gain = model->gains[channel * model->unison + voice], part_re = re, part_im = im;
		if (curve) {
			float cosine = curve[NAME(COSINE) * model->bins];
			float sine = curve[NAME(SINE) * model->bins] * (channel ? -sign : sign);
			gain *= curve[channel * model->bins]; /* LEFT or RIGHT */
			part_re = re * cosine - im * sine;
			part_im = im * cosine + re * sine;
		}
		part_re *= gain;
		part_im *= gain;
		float *to_re = core->spectrum_re + (int64_t)channel * apart + (int32_t)middle;
		float *to_im = core->spectrum_im + (int64_t)channel * apart + (int32_t)middle;
		for (int32_t tap = 0; tap < width; ++tap) {
			to_re[tap] += lobe[tap] * part_re;
			to_im[tap] += lobe[tap] * part_im;
		}
	}
}

/* `order_turns`: of `keep_order_turns`; null where the key has always been the same. */
static void NAME(add_partials)(Core *core, const Phases *phases, const double *order_turns, double first,
                               const NAME(Split) *split, const float *image)
{
	const Instrument *model = core->instrument;
	float scale = model->amplitude * (float)model->frame;
	for (int32_t partial = 0; partial < split->partials; ++partial) {
		if (split->heights[partial] == 0.0f)
			continue;
		double order = split->orders[partial], harmonic = first * order;
		float height = split->heights[partial] * scale;
		for (int32_t voice = 0; voice < model->unison; ++voice) {
			double turn = phases->turns[voice] * order + model->phases[partial];
			if (order_turns && partial < model->harmonics)
				turn += order_turns[partial * model->unison + voice];
			NAME(add_sinusoid)(core, voice, harmonic, turn, height, model->harmonic_signs[partial], image);
		}
	}
}

/* A new key changes the orders of harmonics, not their phases. */
static void NAME(keep_order_turns)(const Instrument *model, Phases *phases, int32_t key, double *order_turns)
{
	const double *last = model->orders + (int64_t)phases->key * model->harmonics;
	const double *orders = model->orders + (int64_t)key * model->harmonics;
	if (phases->started && key != phases->key) {
		for (int32_t harmonic = 0; harmonic < model->harmonics; ++harmonic)
			for (int32_t voice = 0; voice < model->unison; ++voice)
				order_turns[harmonic * model->unison + voice] += phases->turns[voice] * (last[harmonic] - orders[harmonic]);
		phases->has_moved = 1;
	}
	phases->key = key;
}

/* Free partials continue from the phases of the last ones around their bins, [model_bins, unison] cycles. All phases
   are read before any is written: two partials may be near each other. */
static void NAME(add_free_partials)(Core *core, const Row *row, double ratio, double last_ratio, double *free_turns,
                                    const float *image)
{
	const Instrument *model = core->instrument;
	int32_t count = 0, unison = model->unison;
	float scale = model->amplitude * (float)model->frame;
	double *turns = core->free_turns, moves = (last_ratio + ratio) * (model->bin_ratio / 8.0);
	while (count < model->most_free && row->free_heights[count] != 0.0f)
		++count;
	for (int32_t partial = 0; partial < count; ++partial) {
		const double *last = free_turns + (int64_t)nearest((double)row->free_places[partial]) * unison;
		for (int32_t voice = 0; voice < unison; ++voice)
			turns[partial * unison + voice] = last[voice] + row->free_places[partial] * moves * model->detune[voice];
	}
	for (int32_t partial = 0; partial < count; ++partial) {
		int64_t nearest_bin = (int64_t)nearest((double)row->free_places[partial]);
		double *around = free_turns + (nearest_bin - 1) * unison;
		for (int32_t bin = 0; bin < 3; ++bin) /* between frames a free partial moves by a bin at most */
			memcpy(around + bin * unison, turns + partial * unison, sizeof(double) * (size_t)unison);
		double frequency = row->free_places[partial] * model->bin_ratio * ratio;
		for (int32_t voice = 0; voice < unison; ++voice)
			NAME(add_sinusoid)(core, voice, frequency, turns[partial * unison + voice], row->free_heights[partial] * scale,
			                   model->free_signs[nearest_bin], image);
	}
}

/* Noise levels by bin, moved with the key and smoothed, in core->level. */
static void NAME(shape_noise)(Core *core, const float *residue, double ratio)
{
	const Instrument *model = core->instrument;
	int32_t bins = model->bins;
	float *level = core->level, *other = core->smoothed;
	for (int32_t bin = 0; bin < bins; ++bin)
		level[bin] = residue[bin] * model->hiss;
	for (int32_t bin = 0; bin < model->muted_bins; ++bin)
		level[bin] = level[model->muted_bins];
	if (ratio != 1.0) {
		float gain = (float)(1.0 / sqrt(ratio));
		int32_t *restrict sources = core->sources;
		for (int32_t bin = 0; bin < bins; ++bin)
			sources[bin] = (int32_t)nearest((double)bin / ratio);
		level[bins] = 0.0f;
		for (int32_t bin = 0; bin < bins; ++bin)
			other[bin] = level[sources[bin] < bins ? sources[bin] : bins] * gain;
		float *swap = level;
		level = other;
		other = swap;
	}
	if (model->lows)
		memset(level, 0, sizeof(float) * model->muted_bins);
	else
		for (int32_t bin = 0; bin < model->lowest_bin; ++bin)
			level[bin] = level[model->lowest_bin];
	for (int32_t pass = 0; pass < 2; ++pass) {
		for (int32_t bin = 1; bin < bins - 1; ++bin)
			other[bin] = level[bin] * 0.5f + level[bin - 1] * 0.25f + level[bin + 1] * 0.25f;
		other[0] = level[0] * 0.5f + level[1] * 0.25f + level[1] * 0.25f;
		other[bins - 1] = level[bins - 1] * 0.5f + level[bins - 2] * 0.25f + level[bins - 2] * 0.25f;
		float *swap = level;
		level = other;
		other = swap;
	}
	core->level = level;
	core->smoothed = other;
}

/* A frame's noise of `bins`, its real or imaginary parts. */
static inline const float *NAME(noise_parts)(const float *noise, int64_t frame, int32_t bins, int32_t part)
{
	return noise + (2 * frame + part) * bins;
}

/* Add two noises' parts to those of a side, with their shares by bin. */
static inline void NAME(add_shares)(int32_t bins, float *restrict to, const float *restrict scales,
                                    const float *restrict own_shares, const float *restrict own, float sign,
                                    const float *restrict other_shares, const float *restrict other)
{
	for (int32_t bin = 0; bin < bins; ++bin)
		to[bin] += scales[bin] * (own_shares[bin] * own[bin] + sign * other_shares[bin] * other[bin]);
}

/* Noise of both sides with an image: two noises, added on the left and subtracted on the right. */
static void NAME(add_image_noise)(Core *core, int32_t noise_frame, const float *low, const float *image)
{
	const Instrument *model = core->instrument;
	int32_t bins = model->bins, other_frame = (noise_frame + model->noise_apart) % model->noise_frames;
	const float *own_shares = image + NAME(OWN) * bins, *other_shares = image + NAME(OTHER) * bins;
	float *restrict scales = core->factors;
	for (int32_t channel = 0; channel < 2; ++channel) {
		float *parts[] = {core->spectrum_re, core->spectrum_im};
		const float *gains = image + channel * bins, *levels = core->level;
		float sign = channel ? -1.0f : 1.0f;
		for (int32_t part = 0; part < 2; ++part)
			parts[part] += (int64_t)channel * (bins + PADDING) + model->taps;
		for (int32_t low_partial = 0; low_partial < model->lows; ++low_partial) {
			float level = low[low_partial] * model->hiss;
			int64_t own = (int64_t)noise_frame * model->lows + low_partial;
			int64_t other = (int64_t)other_frame * model->lows + low_partial;
			for (int32_t bin = 0; bin < model->low_width; ++bin)
				scales[bin] = level * gains[bin];
			for (int32_t part = 0; part < 2; ++part)
				NAME(add_shares)(model->low_width, parts[part], scales, own_shares,
				                 NAME(noise_parts)(model->low_noise, own, model->low_width, part), sign, other_shares,
				                 NAME(noise_parts)(model->low_noise, other, model->low_width, part));
		}
		for (int32_t bin = 0; bin < bins; ++bin)
			scales[bin] = levels[bin] * gains[bin];
		for (int32_t part = 0; part < 2; ++part)
			NAME(add_shares)(bins, parts[part], scales, own_shares,
			                 NAME(noise_parts)(model->noise, noise_frame, bins, part), sign, other_shares,
			                 NAME(noise_parts)(model->noise, other_frame, bins, part));
	}
}

static void NAME(add_noise)(Core *core, int32_t noise_frame, const float *low)
{
	const Instrument *model = core->instrument;
	int32_t bins = model->bins, side_frame = (noise_frame + model->noise_apart) % model->noise_frames;
	const float *restrict levels = core->level;
	for (int32_t channel = 0; channel < core->sides; ++channel) {
		float own_share = channel ? model->alike : 1.0f, side_share = channel ? model->unlike : 0.0f;
		for (int32_t part = 0; part < 2; ++part) {
			float *restrict to = (part ? core->spectrum_im : core->spectrum_re) + (int64_t)channel * (bins + PADDING);
			to += model->taps;
			for (int32_t low_partial = 0; low_partial < model->lows; ++low_partial) {
				int64_t own_place = (int64_t)noise_frame * model->lows + low_partial;
				int64_t side_place = (int64_t)side_frame * model->lows + low_partial;
				const float *restrict own = NAME(noise_parts)(model->low_noise, own_place, model->low_width, part);
				const float *restrict side = NAME(noise_parts)(model->low_noise, side_place, model->low_width, part);
				float gain = low[low_partial] * model->hiss;
				for (int32_t bin = 0; bin < model->low_width; ++bin)
					to[bin] += gain * (own_share * own[bin] + side_share * side[bin]);
			}
			const float *restrict own = NAME(noise_parts)(model->noise, noise_frame, bins, part);
			const float *restrict side = NAME(noise_parts)(model->noise, side_frame, bins, part);
			if (channel)
				for (int32_t bin = 0; bin < bins; ++bin)
					to[bin] += levels[bin] * (own_share * own[bin] + side_share * side[bin]);
			else
				for (int32_t bin = 0; bin < bins; ++bin)
					to[bin] += levels[bin] * own[bin];
		}
	}
}

/* In bins here; 0 where the row has none. */
static double NAME(fundamental)(const Instrument *model, int32_t condition)
{
	if (model->conditioning != BY_CLASS || condition < CLASS_SET)
		return model->fundamentals[condition];
	int32_t classes = condition - CLASS_SET, index = 0;
	while (index < CLASSES && classes != 1 << index)
		++index;
	return index < CLASSES ? model->fundamentals[index] : 0.0;
}

/* The next frame of a row, [channels, frame], in core->frame; `semitones`: from its pitch to the sounding one; `image`:
   its curves, or null. */
static void NAME(make_frame)(Core *core, Phases *phases, double *free_turns, double *order_turns, const Row *row,
                             double semitones, const Gesture *gesture, const float *gains, const float *image)
{
	const Instrument *model = core->instrument;
	int32_t key = (int32_t)row->condition;
	double ratio = power_of_two(semitones / 12.0), formant_ratio = model->keeps_formants ? ratio : 1.0;
	double pitch = key + semitones, lowest = model->lowest_key - 0.5, highest = model->highest_key + 0.5;
	if (model->moves_formants && (pitch < lowest || pitch > highest))
		formant_ratio = power_of_two((pitch < lowest ? pitch - lowest : pitch - highest) / 12.0);
	double base = NAME(fundamental)(model, key), first = base * ratio;
	double last_first = phases->started && phases->first > 0.0 ? phases->first : first;
	double last_ratio = phases->started ? phases->ratio : ratio;
	for (int32_t voice = 0; first > 0.0 && voice < model->unison; ++voice)
		phases->turns[voice] += (last_first + first) / 8.0 * model->detune[voice];
	if (model->orders_by_key)
		NAME(keep_order_turns)(model, phases, key, order_turns);
	phases->first = first;
	phases->ratio = ratio;
	phases->started = 1;
	NAME(Split) split = {model->harmonics, model->orders + (model->orders_by_key ? (int64_t)key * model->harmonics : 0),
	                     row->heights, row->residue, row->low};
	if (formant_ratio != 1.0) {
		NAME(keep_formants)(model, row->heights, formant_ratio, core->heights, core->orders);
		split.heights = core->heights;
	}
	if (gesture && gesture->modes)
		NAME(place_modes)(core, gesture, key, row->power, &split);
	if (gains && model->filter_bands)
		NAME(filter)(core, gains, base * formant_ratio, &split);
	int32_t bins = model->bins, apart = bins + PADDING;
	memset(core->spectrum_re, 0, sizeof(float) * core->sides * apart);
	memset(core->spectrum_im, 0, sizeof(float) * core->sides * apart);
	int32_t plays_modes = gesture && gesture->modes; /* whose orders no key changes */
	NAME(add_partials)(core, phases, phases->has_moved && !plays_modes ? order_turns : NULL, first, &split, image);
	if (model->most_free)
		NAME(add_free_partials)(core, row, ratio, last_ratio, free_turns, image);
	for (int32_t channel = 0; channel < core->sides; ++channel) {
		float *re = core->spectrum_re + (int64_t)channel * apart + model->taps;
		float *im = core->spectrum_im + (int64_t)channel * apart + model->taps;
		for (int32_t tap = 1; tap <= model->taps; ++tap) { /* below 0 Hz: the mirror image */
			re[tap] += re[-tap];
			im[tap] -= im[-tap];
		}
		re[0] *= 2.0f;
		im[0] *= 2.0f;
	}
	if (model->hiss > 0.0f) {
		NAME(shape_noise)(core, split.residue, ratio / formant_ratio);
		if (image)
			NAME(add_image_noise)(core, phases->noise, split.low, image);
		else
			NAME(add_noise)(core, phases->noise, split.low);
	}
	phases->noise = (phases->noise + 1) % model->noise_frames;
	for (int32_t channel = 0; channel < core->sides; ++channel) {
		float *re = core->spectrum_re + (int64_t)channel * apart + model->taps;
		float *im = core->spectrum_im + (int64_t)channel * apart + model->taps;
		for (int32_t bin = 0; bin < bins; ++bin) { /* time begins at the frame's begin, not its middle */
			float sign = bin & 1 ? -1.0f : 1.0f;
			re[bin] *= sign;
			im[bin] *= sign;
		}
		NAME(samples_of)(core, re, im, core->frame + (int64_t)channel * model->frame);
	}
	if (core->sides < model->channels)
		memcpy(core->frame + model->frame, core->frame, sizeof(float) * (size_t)model->frame);
}

static void NAME(begin_phases)(const Instrument *model, int64_t number, Phases *phases)
{
	for (int32_t voice = 0; voice < model->unison; ++voice) {
		double turns = ((double)number + (double)voice / model->unison) * model->golden;
		phases->turns[voice] = turns - whole(turns);
	}
	phases->noise = (int32_t)(number * model->noise_stride % model->noise_frames);
	phases->started = 0;
	phases->begun = 1;
}

/* ---- Voices ---- */

static const float *NAME(codes_at)(const Core *core, const Voice *voice, int64_t hop)
{
	int32_t slot = (int32_t)(hop % CODE_HOPS);
	return voice_codes(core, voice, slot < 0 ? slot + CODE_HOPS : slot);
}

static double NAME(bend)(const Voice *voice, int64_t time)
{
	if (!voice->master_count)
		return NAME(ramp_value)(voice->bend, time) + (voice->gesture ? voice->gesture->semitones : 0.0);
	int32_t master = voice->master_count - 1;
	while (master > 0 && voice->masters[master].since > time)
		--master;
	return NAME(ramp_value)(voice->masters[master].bend, time) + NAME(ramp_value)(voice->touch_bend, time);
}

static int32_t NAME(inside)(const Instrument *model, int32_t key)
{
	return key < model->lowest_key ? model->lowest_key : key > model->highest_key ? model->highest_key : key;
}

static int32_t NAME(key_of)(double pitch)
{
	double key = whole(pitch + 0.5);
	return key < 0.0 ? 0 : key > MOST_KEYS - 1 ? MOST_KEYS - 1 : (int32_t)key;
}

/* The condition of a voice's row at a moment, and its pitch's distance: from the key that it stands for, and from this
   one to the row's. */
static int32_t NAME(condition)(const Instrument *model, const Voice *voice, int64_t moment, double *from_key, double *to_row)
{
	double pitch = voice->pitch ? NAME(ramp_value)(voice->pitch, moment) : voice->key, nearest_key = whole(pitch + 0.5);
	if (model->conditioning == BY_KEY) {
		int32_t key = voice->gesture && voice->gesture->decoded_key >= 0 ? voice->gesture->decoded_key : NAME(key_of)(pitch);
		int32_t model_key = NAME(inside)(model, key);
		*from_key = pitch - key;
		*to_row = key - model_key;
		return model_key;
	}
	if (model->conditioning == UNCONDITIONED) {
		*from_key = 0.0;
		*to_row = pitch - MIDDLE_C;
		return 0;
	}
	int64_t key = (int64_t)nearest_key, octave = floor_divide(key, CLASSES) - 1;
	*from_key = pitch - nearest_key;
	*to_row = (double)(CLASSES * (octave - model->octave));
	if (voice->chord)
		return CLASS_SET + ((int32_t)NAME(ramp_value)(voice->chord, moment) & (CLASS_SET - 1));
	return (int32_t)(key - floor_divide(key, CLASSES) * CLASSES);
}

/* Keys of a chord's pitch classes, from its lowest on; returns how many there are. */
static int32_t NAME(chord_keys)(uint32_t classes, int32_t lowest, int32_t *keys)
{
	int32_t count = 0;
	for (int32_t above = 0; above < 12; ++above) {
		int32_t key = lowest + above < MOST_KEYS ? lowest + above : MOST_KEYS - 1;
		if ((classes >> ((lowest + above) % 12) & 1) && (count == 0 || keys[count - 1] != key))
			keys[count++] = key;
	}
	return count;
}

/* Add core->frame, which begins at `time`, to a voice's ring from sample `now` on. */
static void NAME(add_to_pending)(const Core *core, int64_t time, int64_t now, float scale, float *pending)
{
	const Instrument *model = core->instrument;
	int32_t mask = core->ring - 1;
	for (int32_t channel = 0; channel < model->channels; ++channel) {
		float *ring = pending + (int64_t)channel * core->ring;
		const float *frame = core->frame + (int64_t)channel * model->frame;
		for (int32_t sample = now > time ? (int32_t)(now - time) : 0; sample < model->frame;) {
			int32_t place = (int32_t)((time + sample) & mask), run = core->ring - place;
			run = run < model->frame - sample ? run : model->frame - sample;
			for (int32_t index = 0; index < run; ++index)
				ring[place + index] += frame[sample + index] * scale;
			sample += run;
		}
	}
}

/* The frame of a voice of several keys, each with phases of its own; `semitones`: of its bend. */
static void NAME(add_chord)(Core *core, Voice *voice, const float *codes, int64_t time, int64_t now, double semitones,
                            const float *gains, const float *image)
{
	const Instrument *model = core->instrument;
	int64_t moment = time > voice->on ? time : voice->on;
	double pitch = voice->pitch ? NAME(ramp_value)(voice->pitch, moment) : voice->key;
	int32_t keys[CLASSES], lowest = NAME(key_of)(pitch);
	int32_t count = NAME(chord_keys)((uint32_t)NAME(ramp_value)(voice->chord, moment), lowest, keys);
	float scale = 1.0f / sqrtf((float)(count ? count : 1));
	for (int32_t note = 0; note < count; ++note) {
		int32_t key = keys[note], model_key = NAME(inside)(model, key);
		Phases *phases = voice_phases(core, voice) + key;
		if (!phases->begun)
			NAME(begin_phases)(model, (int64_t)voice->number * MOST_KEYS + key, phases);
		double distance = pitch - lowest + semitones + (key - model_key); /* every key moves alike */
		NAME(make_frame)(core, phases, NULL, NULL, NAME(row_of)(core, codes, model_key), distance,
		                 gains ? voice->gesture : NULL, gains, image);
		NAME(add_to_pending)(core, time, now, scale, voice_pending(core, voice));
	}
}

/* Add the frame that begins at `time`, from sample `now` on. */
static void NAME(add_frame)(Core *core, Voice *voice, int64_t time, int64_t now)
{
	const Instrument *model = core->instrument;
	const Gesture *gesture = voice->gesture;
	int64_t moment = time > voice->on ? time : voice->on, half_frame = model->frame / 2;
	double semitones = NAME(bend)(voice, moment);
	float band_gains[MOST_BANDS], *gains = NULL;
	if (gesture && gesture->bands) {
		NAME(band_gains)(gesture, time, half_frame, band_gains);
		gains = band_gains;
		semitones += NAME(vibrato)(gesture, time, half_frame);
	}
	const float *codes = NAME(codes_at)(core, voice, floor_divide(time - model->delay, model->knob_hop));
	const float *image = NAME(image_at)(core, voice, moment);
	if (model->chord) {
		NAME(add_chord)(core, voice, codes, time, now, semitones, gains, image);
		return;
	}
	double from_key, to_row;
	const Row *row = NAME(row_of)(core, codes, NAME(condition)(model, voice, moment, &from_key, &to_row));
	NAME(make_frame)(core, voice_phases(core, voice), voice_free_turns(core, voice), voice_order_turns(core, voice), row,
	                 from_key + semitones + to_row, gains ? gesture : NULL, gains, image);
	NAME(add_to_pending)(core, time, now, 1.0f, voice_pending(core, voice));
}

/* A voice's sound over a block within the ring, times its levels, added to `sound`, [channels, stride]. */
static void NAME(add_voice)(Core *core, Voice *voice, int64_t start, int32_t count, float *sound, int64_t stride)
{
	const Instrument *model = core->instrument;
	int64_t end = NAME(voice_end)(voice), until = end < start + count ? end : start + count;
	while (voice->next_frame < until) {
		NAME(add_frame)(core, voice, voice->next_frame, start);
		voice->next_frame += model->hop;
	}
	float *levels = core->voice_level, *pending = voice_pending(core, voice);
	int32_t mask = core->ring - 1, place = (int32_t)(start & mask);
	NAME(envelope)(voice, start, count, levels);
	NAME(multiply_ramp)(voice->gain, start, count, levels);
	if (voice->touch_level)
		NAME(multiply_ramp)(voice->touch_level, start, count, levels);
	if (voice->gesture)
		NAME(multiply_gesture)(voice->gesture, voice, start, count, levels);
	if (voice->stolen_at < start + count)
		for (int32_t sample = 0; sample < count; ++sample) {
			double fade = (double)(voice->stolen_at + voice->steal - (start + sample)) / (double)voice->steal;
			fade = fade < 0.0 ? 0.0 : fade > 1.0 ? 1.0 : fade;
			levels[sample] *= (float)(fade * fade * fade);
		}
	for (int32_t sample = 0; sample < count; ++sample) /* no processor may meet denormals: not all set them to 0 */
		levels[sample] = levels[sample] < QUIETEST_LEVEL ? 0.0f : levels[sample];
	for (int32_t channel = 0; channel < model->channels; ++channel) {
		float *waiting = pending + (int64_t)channel * core->ring + place, *channel_sound = sound + channel * stride;
		for (int32_t sample = 0; sample < count; ++sample) {
			channel_sound[sample] += waiting[sample] * levels[sample];
			waiting[sample] = 0.0f;
		}
	}
}

/* Decode together what the block's frames need: a chord's notes share the reading of the weights. */
static void NAME(decode_due)(Core *core, Voice *const *voices, int32_t voice_count, int64_t end)
{
	const Instrument *model = core->instrument;
	const float *codes[BATCH];
	int32_t conditions[BATCH], count = 0;
	for (int32_t index = 0; index < voice_count; ++index) {
		const Voice *voice = voices[index];
		int64_t last_hop = NEVER;
		if (model->chord || voice->next_frame >= end)
			continue;
		for (int64_t time = voice->next_frame; time < end; time += model->hop) {
			int64_t moment = time > voice->on ? time : voice->on, hop = floor_divide(time - model->delay, model->knob_hop);
			if (hop == last_hop && !voice->pitch && !voice->chord)
				continue;
			last_hop = hop;
			double from_key, to_row;
			codes[count] = NAME(codes_at)(core, voice, hop);
			conditions[count++] = NAME(condition)(model, voice, moment, &from_key, &to_row);
			if (count == BATCH) {
				NAME(remember)(core, codes, conditions, count);
				count = 0;
			}
		}
	}
	NAME(remember)(core, codes, conditions, count);
}

/* Add voices to the parts of their buses, [buses, PARTS, channels, count]. */
static void NAME(render)(Core *core, Voice *const *voices, int32_t voice_count, int64_t start, int32_t count, float *parts)
{
	const Instrument *model = core->instrument;
	for (int32_t rendered = 0; rendered < count;) {
		int64_t now = start + rendered, next_hop = (floor_divide(now, model->hop) + 1) * model->hop;
		int32_t run = next_hop - now < count - rendered ? (int32_t)(next_hop - now) : count - rendered;
		NAME(decode_due)(core, voices, voice_count, now + run);
		for (int32_t index = 0; index < voice_count; ++index) {
			int64_t part = (int64_t)voices[index]->bus * PARTS + voices[index]->part;
			NAME(add_voice)(core, voices[index], now, run, parts + part * model->channels * count + rendered, count);
		}
		rendered += run;
	}
}

/* Sum of the parts of each bus in order, with its gains, and of the buses: [2, count]. */
static void NAME(mix)(const Instrument *model, const Bus *buses, int32_t bus_count, int64_t start, int32_t count,
                      float *parts, float *sound)
{
	int64_t size = (int64_t)model->channels * count;
	memset(sound, 0, sizeof(float) * 2 * (size_t)count);
	for (int32_t bus = 0; bus < bus_count; ++bus) {
		float *first = parts + bus * PARTS * size, *gains = first + size; /* the second part is done with */
		for (int32_t part = 1; part < PARTS; ++part)
			for (int64_t sample = 0; sample < size; ++sample)
				first[sample] += first[part * size + sample];
		const Ramp *sides[2] = {buses[bus].left, buses[bus].right};
		for (int32_t side = 0; side < 2; ++side) {
			const float *channel_sound = first + (side && model->channels > 1 ? count : 0);
			memcpy(gains, channel_sound, sizeof(float) * (size_t)count);
			NAME(multiply_ramp)(sides[side], start, count, gains);
			for (int32_t sample = 0; sample < count; ++sample)
				sound[(int64_t)side * count + sample] += gains[sample];
		}
	}
}

/* Rows that voices' newest codes need, for the pitches that sound at `now`, and that are not known: at most `most`. */
static int32_t NAME(unknown_rows)(const Core *core, Voice *const *voices, int32_t count, int64_t now, int32_t most,
                                  const float **codes, int32_t *conditions)
{
	const Instrument *model = core->instrument;
	int32_t waiting = 0;
	for (int32_t index = 0; index < count && waiting < most; ++index) {
		const Voice *voice = voices[index];
		if (model->chord || voice->newest_hop == INT64_MIN || NAME(voice_end)(voice) <= now)
			continue;
		double from_key, to_row;
		int32_t condition = NAME(condition)(model, voice, now > voice->on ? now : voice->on, &from_key, &to_row);
		const float *newest = NAME(codes_at)(core, voice, voice->newest_hop);
		if (NAME(known_row)(core, newest, condition))
			continue;
		codes[waiting] = newest;
		conditions[waiting++] = condition;
	}
	return waiting;
}

static int32_t NAME(ahead)(Core *core, Voice *const *voices, int32_t count, int64_t now, int32_t most)
{
	const float *codes[BATCH];
	int32_t conditions[BATCH];
	return NAME(remember)(core, codes, conditions, NAME(unknown_rows)(core, voices, count, now, most, codes, conditions));
}

/* ---- Rate conversion ---- */

static void NAME(convert)(const float *inputs, int64_t input_stride, int32_t channels, const float *table, int32_t taps,
                          int64_t up, int64_t down, int64_t phase, int64_t count, float *outputs)
{
	for (int32_t channel = 0; channel < channels; ++channel) {
		const float *window = inputs + channel * input_stride;
		int64_t place = phase;
		for (int64_t sample = 0; sample < count; ++sample) {
			const float *weight = table + place * taps;
			NAME(lanes) sums = {0};
			for (int32_t tap = 0; tap < taps; tap += LANES)
				sums += NAME(load)(window + tap) * NAME(load)(weight + tap);
			float total[LANES];
			NAME(store)(total, sums);
			outputs[channel * count + sample] = ((total[0] + total[4]) + (total[2] + total[6])) +
			                                    ((total[1] + total[5]) + (total[3] + total[7]));
			place += down;
			window += place / up;
			place %= up;
		}
	}
}

/* Largest magnitudes of channels; NaN where a sample is NaN. */
static void NAME(peaks)(const float *sound, int32_t channels, int64_t count, float *peaks)
{
	for (int32_t channel = 0; channel < channels; ++channel) {
		const float *channel_sound = sound + channel * count;
		float peak = 0.0f, sum = 0.0f;
		for (int64_t sample = 0; sample < count; ++sample) {
			float size = channel_sound[sample] < 0.0f ? -channel_sound[sample] : channel_sound[sample];
			peak = size > peak ? size : peak;
			sum += size * 0.0f; /* NaN where a sample is NaN or infinite */
		}
		peaks[channel] = peak + sum;
	}
}

static const Kernels NAME(kernels) = {NAME(decode), NAME(render), NAME(ahead), NAME(convert),
                                      NAME(mix),    NAME(add_gesture), NAME(peaks),  NAME(dense)};
