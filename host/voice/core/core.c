#include "core.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "grains.h"
#include "maths.h"
#include "state.h"
#include "unattended.h"

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#define HAS_AVX2 1
#endif

/* ---- Denormals: numbers below 1e-38 would take a hundred times as long. ---- */

static unsigned flush_denormals(void)
{
#if defined(HAS_AVX2)
	unsigned mode = _mm_getcsr();
	_mm_setcsr(mode | 0x8040); /* flush to zero, denormals are zero */
	return mode;
#elif defined(__aarch64__)
	uint64_t mode;
	__asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
	__asm__ __volatile__("msr fpcr, %0" : : "r"(mode | (1ULL << 24)));
	return (unsigned)mode;
#else
	return 0;
#endif
}

static void restore_denormals(unsigned mode)
{
#if defined(HAS_AVX2)
	_mm_setcsr(mode);
#elif defined(__aarch64__)
	__asm__ __volatile__("msr fpcr, %0" : : "r"((uint64_t)mode));
#else
	(void)mode;
#endif
}

#define NAME(name) plain_##name
#define WIDE 4
#include "dense.h"
#include "kernels.h"
#undef WIDE
#undef NAME

#ifdef HAS_AVX2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define NAME(name) avx2_##name
#define WIDE 8
#include "dense.h"
#include "kernels.h"
#undef WIDE
#undef NAME
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f")
#endif
#define NAME(name) avx512_##name
#define WIDE 16
#include "dense.h"
#undef WIDE
#undef NAME
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static const Kernels avx512_kernels = {avx2_decode, avx2_render,      avx2_ahead, avx2_convert,
                                       avx2_mix,    avx2_add_gesture, avx2_peaks, avx512_dense};
#endif

/* ---- Memory ---- */

typedef struct {
	char *next; /* null: only count */
	int64_t used;
} Arena;

static void *take(Arena *arena, int64_t bytes)
{
	int64_t offset = arena->used;
	arena->used += (bytes + 63) & ~(int64_t)63;
	return arena->next ? arena->next + offset : NULL;
}

static float *take_floats(Arena *arena, int64_t count)
{
	return take(arena, count * (int64_t)sizeof(float));
}

static int32_t widest_of(const Instrument *model)
{
	int32_t widest = model->latents + model->middles;
	for (int32_t layer = 0; layer < LAYERS; ++layer)
		widest = model->widths[layer] > widest ? model->widths[layer] : widest;
	return (widest + TILE - 1) / TILE * TILE;
}

static void take_rows(Core *core, Arena *arena)
{
	const Instrument *model = core->instrument;
	int32_t rows = SETS * WAYS;
	core->rows = take(arena, rows * (int64_t)sizeof(Row));
	core->oldest = take(arena, SETS);
	for (int32_t row = 0; row < rows; ++row) {
		Row parts = {-1, take_floats(arena, model->latents), take_floats(arena, model->harmonics),
		             take_floats(arena, model->most_free), take_floats(arena, model->most_free),
		             take_floats(arena, model->bins), take_floats(arena, model->lows), take_floats(arena, model->bands)};
		if (arena->next)
			core->rows[row] = parts;
	}
}

static float *take_roots(Arena *arena, int32_t count, int32_t power, int32_t length, int sine)
{
	float *roots = take_floats(arena, count);
	for (int32_t index = 0; arena->next && index < count; ++index) {
		Direction root = direction((double)((int64_t)power * index % length) / length);
		roots[index] = (float)(sine ? root.sine : root.cosine);
	}
	return roots;
}

static void take_transform(Core *core, Arena *arena)
{
	int32_t half = core->half;
	core->real_re = take_roots(arena, half, 1, 2 * half, 0);
	core->real_im = take_roots(arena, half, 1, 2 * half, 1);
	float *join_re = take_floats(arena, half), *join_im = take_floats(arena, half);
	for (int32_t index = 0; arena->next && index < half; ++index) {
		int32_t eighth = half / LANES;
		Direction root = direction((double)(index / eighth) * (index % eighth) / half);
		join_re[index] = (float)root.cosine;
		join_im[index] = (float)root.sine;
	}
	core->join_re = join_re;
	core->join_im = join_im;
	for (int32_t pass = 0, length = half / LANES; length > 2 && pass < MOST_PASSES; ++pass, length /= 4) {
		Twiddles *roots = core->twiddles + pass;
		roots->re1 = take_roots(arena, length / 4, 1, length, 0);
		roots->im1 = take_roots(arena, length / 4, 1, length, 1);
		roots->re2 = take_roots(arena, length / 4, 2, length, 0);
		roots->im2 = take_roots(arena, length / 4, 2, length, 1);
		roots->re3 = take_roots(arena, length / 4, 3, length, 0);
		roots->im3 = take_roots(arena, length / 4, 3, length, 1);
	}
}

static void take_scratch(Core *core, Arena *arena)
{
	const Instrument *model = core->instrument;
	int64_t wide = model->bins + PADDING, channels = model->channels;
	core->inputs = take_floats(arena, (int64_t)BATCH * core->widest);
	core->outputs = take_floats(arena, (int64_t)BATCH * core->widest);
	core->frames = take_floats(arena, (int64_t)BATCH * core->decoded_width);
	core->spectrum_re = take_floats(arena, channels * wide);
	core->spectrum_im = take_floats(arena, channels * wide);
	core->points = take_floats(arena, 4 * (int64_t)core->half);
	core->frame = take_floats(arena, channels * model->frame);
	float **arrays[] = {&core->level, &core->smoothed, &core->factors, &core->moved, &core->noise};
	for (size_t index = 0; index < sizeof arrays / sizeof *arrays; ++index)
		*arrays[index] = take_floats(arena, wide);
	core->sources = take(arena, wide * (int64_t)sizeof(int32_t));
	core->low = take_floats(arena, model->lows + 1);
	core->power = take_floats(arena, model->bands);
	core->heights = take_floats(arena, model->harmonics + MOST_MODES);
	core->orders = take(arena, (model->harmonics + MOST_MODES) * (int64_t)sizeof(double));
	core->voice_level = take_floats(arena, model->hop);
	core->sounding = take(arena, model->latents * (int64_t)sizeof(double));
	core->free_turns = take(arena, (int64_t)model->most_free * model->unison * (int64_t)sizeof(double));
}

/* Lay the core out in `memory`, or count its bytes if that is null. */
static int64_t lay_out(Core *core, const Instrument *instrument, void *memory)
{
	Arena arena = {memory, 0};
	take(&arena, sizeof(Core));
	core->instrument = instrument;
	core->half = instrument->frame / 2;
	core->ring = 2 * instrument->frame;
	core->widest = widest_of(instrument);
	core->decoded_width = instrument->decode_rows ? instrument->row_width : instrument->harmonics + instrument->bands;
	take_rows(core, &arena);
	take_transform(core, &arena);
	take_scratch(core, &arena);
	return arena.used;
}

/* ---- Functions for the caller ---- */

static const Kernels *kernels_of(int32_t instructions)
{
#ifdef HAS_AVX2
	if (instructions >= 2 && core_instructions() >= 2)
		return &avx512_kernels;
	if (instructions >= 1 && core_instructions() >= 1)
		return &avx2_kernels;
#else
	(void)instructions;
#endif
	return &plain_kernels;
}

int32_t core_version(void)
{
	return CORE_VERSION;
}

int32_t core_instructions(void)
{
#ifdef HAS_AVX2
	if (!__builtin_cpu_supports("avx2"))
		return 0;
	return __builtin_cpu_supports("avx512vbmi2") ? 2 : 1; /* those before it become slower with such vectors */
#else
	return 0;
#endif
}

int64_t core_sizes(int32_t structure)
{
	const int64_t sizes[] = {sizeof(Instrument), sizeof(Gesture), sizeof(Voice),
	                         sizeof(Ramp),       sizeof(Bus),     sizeof(UnattendedRun),
	                         sizeof(GrainCut),   sizeof(Grain)};
	return structure >= 0 && structure < (int32_t)(sizeof sizes / sizeof *sizes) ? sizes[structure] : 0;
}

int64_t core_bytes(const Instrument *instrument)
{
	Core counted = {0};
	return lay_out(&counted, instrument, NULL);
}

int64_t core_voice_bytes(const Instrument *instrument)
{
	int64_t phases = instrument->chord ? MOST_KEYS : 1, pending = (int64_t)instrument->channels * 2 * instrument->frame;
	int64_t floats = (int64_t)CODE_HOPS * instrument->latents + pending;
	int64_t doubles = 4 * (int64_t)instrument->latents + (int64_t)instrument->directions * 2 * SINES; /* of CodeState */
	doubles += (int64_t)instrument->model_bins * instrument->unison + order_turns_count(instrument);
	floats += instrument->image ? (int64_t)CURVES * instrument->bins : 0;
	return (int64_t)sizeof(Voice) + floats * (int64_t)sizeof(float) + 16 + phases * (int64_t)sizeof(Phases) +
	       doubles * (int64_t)sizeof(double);
}

void core_open(void *memory, const Instrument *instrument, int32_t instructions)
{
	Core *core = memory;
	memset(core, 0, (size_t)core_bytes(instrument));
	lay_out(core, instrument, memory);
	core->kernels = kernels_of(instructions);
}

void core_voice_open(void *memory, Voice *voice)
{
	const Core *core = memory;
	const Instrument *model = core->instrument;
	memset(voice_codes(core, voice, 0), 0, sizeof(float) * CODE_HOPS * (size_t)model->latents);
	memset(voice_pending(core, voice), 0, sizeof(float) * (size_t)model->channels * (size_t)core->ring);
	memset(voice_phases(core, voice), 0, (model->chord ? MOST_KEYS : 1) * sizeof(Phases));
	voice->held_step = voice->release_step = INT64_MIN / 2;
	voice->left_known = voice->sines_known = voice->code_sines_known = voice->off_code_known = 0;
	voice->newest_hop = voice->gesture_hop = INT64_MIN;
	voice->moved_amount = NAN;
	if (!model->chord)
		plain_begin_phases(model, voice->number, voice_phases(core, voice));
	memset(voice_order_turns(core, voice), 0, (size_t)order_turns_count(model) * sizeof(double));
	double *free_turns = voice_free_turns(core, voice);
	for (int32_t bin = 0; bin < model->model_bins; ++bin)
		for (int32_t partial = 0; partial < model->unison; ++partial)
			*free_turns++ = model->free_phases[bin] + voice_phases(core, voice)->turns[partial];
}

static float *codes_of_hop(const Core *core, const Voice *voice, int64_t hop)
{
	return voice_codes(core, voice, (int32_t)(hop - floor_divide(hop, CODE_HOPS) * CODE_HOPS));
}

/* Take the codes of a hop that lie in the voice's memory. */
static void take_codes(Core *core, Voice *voice, int64_t hop)
{
	if (voice->gesture && voice->gesture->code_points)
		core->kernels->add_gesture(core, voice, hop, codes_of_hop(core, voice, hop));
	if (hop > voice->newest_hop)
		voice->newest_hop = hop;
}

void core_codes(void *memory, Voice *const *voices, const int64_t *hops, const float *codes, int32_t count)
{
	Core *core = memory;
	int32_t latents = core->instrument->latents;
	unsigned mode = flush_denormals();
	for (int32_t index = 0; index < count; ++index) {
		float *voice_code = codes_of_hop(core, voices[index], hops[index]);
		memcpy(voice_code, codes + (int64_t)index * latents, sizeof(float) * (size_t)latents);
		take_codes(core, voices[index], hops[index]);
	}
	restore_denormals(mode);
}

int64_t core_knob_codes(void *memory, Voice *const *voices, int32_t count, const Ramp *const *knobs, int64_t now)
{
	Core *core = memory;
	const Instrument *model = core->instrument;
	int64_t last_hop = floor_divide(now - 1, model->knob_hop);
	unsigned mode = flush_denormals();
	for (int32_t index = 0; index < count; ++index) {
		Voice *voice = voices[index];
		int64_t onset = floor_divide(voice->on, model->knob_hop) * model->knob_hop;
		int64_t hop = voice->newest_hop + 1;
		if (voice->newest_hop == INT64_MIN)
			hop = floor_divide(voice->next_frame - model->delay, model->knob_hop);
		for (; hop <= last_hop; ++hop) {
			int64_t read = hop * model->knob_hop, time = read > onset ? read : onset;
			float *codes = codes_of_hop(core, voice, hop);
			for (int32_t latent = 0; latent < model->latents; ++latent)
				codes[latent] = (float)plain_ramp_value(knobs[latent], time);
			take_codes(core, voice, hop);
		}
	}
	restore_denormals(mode);
	return (last_hop + 1) * model->knob_hop + model->delay;
}

void core_decode(void *memory, const float *codes, const int32_t *keys, int32_t count, float *frames)
{
	Core *core = memory;
	unsigned mode = flush_denormals();
	for (int32_t index = 0; index < count; ++index) {
		const float *row = codes + (int64_t)index * core->instrument->latents;
		core->kernels->decode(core, &row, keys + index, 1, frames + (int64_t)index * core->decoded_width);
	}
	restore_denormals(mode);
}

int32_t core_unknown(void *memory, Voice *const *voices, int32_t count, int64_t now, int32_t most, float *codes,
                     int32_t *conditions)
{
	Core *core = memory;
	const float *rows[BATCH];
	size_t latents = (size_t)core->instrument->latents;
	int32_t unknown = plain_unknown_rows(core, voices, count, now, most < BATCH ? most : BATCH, rows, conditions);
	for (int32_t row = 0; row < unknown; ++row)
		memcpy(codes + (size_t)row * latents, rows[row], sizeof(float) * latents);
	return unknown;
}

int32_t core_ahead(void *memory, Voice *const *voices, int32_t count, int64_t now, int32_t most)
{
	Core *core = memory;
	unsigned mode = core->caller_mode = flush_denormals();
	int32_t fresh = core->kernels->ahead(core, voices, count, now, most < BATCH ? most : BATCH);
	restore_denormals(mode);
	return fresh;
}

void core_render(void *memory, Voice *const *voices, int32_t voice_count, int64_t start, int32_t count, float *parts)
{
	Core *core = memory;
	unsigned mode = core->caller_mode = flush_denormals();
	core->kernels->render(core, voices, voice_count, start, count, parts);
	restore_denormals(mode);
}

void core_mix(const void *memory, const Bus *buses, int32_t bus_count, int64_t start, int32_t count, float *parts,
              float *sound)
{
	const Core *core = memory;
	unsigned mode = flush_denormals();
	core->kernels->mix(core->instrument, buses, bus_count, start, count, parts, sound);
	restore_denormals(mode);
}

void core_convert(const float *inputs, int64_t input_stride, int32_t channels, const float *table, int32_t taps,
                  int64_t up, int64_t down, int64_t phase, int64_t count, float *outputs)
{
	unsigned mode = flush_denormals();
	kernels_of(core_instructions())->convert(inputs, input_stride, channels, table, taps, up, down, phase, count, outputs);
	restore_denormals(mode);
}

void core_peaks(const float *sound, int32_t channels, int64_t count, float *peaks)
{
	kernels_of(core_instructions())->peaks(sound, channels, count, peaks);
}

void core_limit(float *sound, int64_t count)
{
	static const float knee = 0.7f, loudest = 1e6f;
	const float room = (float)(1.0 - 0.7);
	float peak;
	core_peaks(sound, 1, count, &peak);
	if (peak <= knee) /* false where there is NaN */
		return;
	for (int64_t index = 0; index < count; ++index) {
		float sample = sound[index] == sound[index] ? sound[index] : 0.0f;
		float size = sample < 0.0f ? -sample : sample;
		size = size < loudest ? size : loudest;
		float bent = knee + (size - knee) / ((size - knee) / room + 1.0f);
		if (size > knee)
			sample = sample < 0.0f ? -bent : bent;
		sound[index] = sample;
	}
}
