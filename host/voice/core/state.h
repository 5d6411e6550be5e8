/* The core's own memory: tables of the transform, decoded rows, scratch. */
#ifndef TIMBREL_STATE_H
#define TIMBREL_STATE_H

#include "core.h"

enum {
	SETS = 256, WAYS = 4, /* of decoded rows: more than 64 moving voices need in a second */
	BATCH = 16,           /* rows decoded together: each layer's weights are read once */
	LANES = 8,
	TILE = 16,            /* outputs of a layer computed at a time */
	MOST_PASSES = 8,      /* of a transform */
	PADDING = 16          /* bins beyond a spectrum that lobes may reach */
};

#define QUIETEST_LEVEL 1e-20f /* of a voice: -400 dB, and far above denormals */

/* A decoded frame: where its parts begin in `values`. */
typedef struct {
	int64_t condition; /* -1: empty */
	float *codes, *heights, *free_places, *free_heights, *residue, *low, *power;
} Row;

typedef struct {
	const float *re1, *im1, *re2, *im2, *re3, *im3; /* powers 1, 2 and 3 of the root of unity, [n / 4] */
} Twiddles;

typedef struct Core Core;

typedef struct {
	void (*decode)(Core *core, const float *const *codes, const int32_t *keys, int32_t count, float *frames);
	void (*render)(Core *core, Voice *const *voices, int32_t voice_count, int64_t start, int32_t count, float *parts);
	int32_t (*ahead)(Core *core, Voice *const *voices, int32_t count, int64_t now, int32_t most);
	void (*convert)(const float *inputs, int64_t input_stride, int32_t channels, const float *table, int32_t taps,
	                int64_t up, int64_t down, int64_t phase, int64_t count, float *outputs);
	void (*mix)(const Instrument *model, const Bus *buses, int32_t bus_count, int64_t start, int32_t count, float *parts,
	            float *sound);
	void (*add_gesture)(Core *core, Voice *voice, int64_t hop, float *codes);
	void (*peaks)(const float *sound, int32_t channels, int64_t count, float *peaks);
	void (*dense)(const float *inputs, int32_t rows, int32_t stride, int32_t count, const float *weights,
	              const float *biases, int32_t width, float slope, float *outputs);
} Kernels;

struct Core {
	const Instrument *instrument;
	const Kernels *kernels;
	unsigned caller_mode; /* of floating-point numbers */
	int32_t ring; /* samples of a voice's pending sound, a power of two */
	int32_t sides; /* of the next frame that are computed; where it is one, the other is alike */
	int32_t decoded_width, widest, half; /* of a decoded frame or a caller's row; half: complex points of the transform */
	Row *rows;       /* [SETS * WAYS] */
	uint8_t *oldest; /* [SETS] */
	Twiddles twiddles[MOST_PASSES];
	const float *join_re, *join_im; /* roots that join eight interleaved transforms, [8, half / 8] */
	const float *real_re, *real_im; /* roots that join two half transforms, [half] */
	/* scratch */
	float *inputs, *outputs, *frames; /* of layers, [BATCH, widest]; decoded, [BATCH, decoded_width] */
	float *spectrum_re, *spectrum_im; /* [channels][bins + PADDING] */
	float *points;                    /* [4][half] */
	float *frame, *level, *smoothed, *factors, *moved, *noise, *low, *power; /* [bins + PADDING] or wider */
	int32_t *sources; /* bins that move to each bin */
	float *heights; /* [harmonics + MOST_MODES] */
	double *orders, *sounding; /* sounding: [latents] */
	double *free_turns;        /* [most_free, unison] */
	float *voice_level; /* [hop] */
};

static inline float *voice_codes(const Core *core, const Voice *voice, int32_t slot)
{
	return (float *)(voice + 1) + (int64_t)slot * core->instrument->latents;
}

static inline float *voice_pending(const Core *core, const Voice *voice)
{
	return voice_codes(core, voice, CODE_HOPS);
}

static inline Phases *voice_phases(const Core *core, const Voice *voice)
{
	uintptr_t end = (uintptr_t)(voice_pending(core, voice) + (int64_t)core->instrument->channels * core->ring);
	return (Phases *)((end + 15) & ~(uintptr_t)15);
}

/* What a gesture's codes need from hop to hop: [latents] each, and [directions, 2, SINES]. */
typedef struct {
	double *code, *sounding, *at_off, *next, *sines;
} CodeState;

static inline CodeState voice_code_state(const Core *core, const Voice *voice)
{
	int32_t latents = core->instrument->latents;
	double *first = (double *)(voice_phases(core, voice) + (core->instrument->chord ? MOST_KEYS : 1));
	return (CodeState){first, first + latents, first + 2 * latents, first + 3 * latents, first + 4 * latents};
}

/* Cycles of the last free partials around each decoded bin, [model_bins, unison]. */
static inline double *voice_free_turns(const Core *core, const Voice *voice)
{
	return voice_code_state(core, voice).sines + (int64_t)core->instrument->directions * 2 * SINES;
}

/* Cycles by which harmonics went on where their orders changed with the key, [harmonics, unison]. */
static inline double *voice_order_turns(const Core *core, const Voice *voice)
{
	return voice_free_turns(core, voice) + (int64_t)core->instrument->model_bins * core->instrument->unison;
}

static inline int64_t order_turns_count(const Instrument *model)
{
	return model->orders_by_key ? (int64_t)model->harmonics * model->unison : 0;
}

/* Curves of the voice's image at `moved_amount`, [CURVES, bins]. */
static inline float *voice_curves(const Core *core, const Voice *voice)
{
	return (float *)(voice_order_turns(core, voice) + order_turns_count(core->instrument));
}

#endif
