/* The voice core: decodes and synthesizes the voices of a model of partials or spectra (docs/internals/voice.md).

   The caller allocates all memory. Times are samples at the model's rate. Equal events give equal bits, whatever the
   blocks, the batches, the instruction set or the C library: sums have a fixed order, and exp, sin and cos are ours. */
#ifndef TIMBREL_CORE_H
#define TIMBREL_CORE_H

#include <stdint.h>

#if defined(_WIN32)
#define CORE_API __declspec(dllexport)
#else
#define CORE_API __attribute__((visibility("default")))
#endif

enum {
	CORE_VERSION = 10,
	LAYERS = 4,
	MOST_UNISON = 8,
	MOST_CHANNELS = 2,
	MOST_KEYS = 128,
	MOST_BANDS = 512,
	MOST_MODES = 64,
	MOST_MASTERS = 8, /* changes of an MPE zone that one voice follows in a block */
	CODE_HOPS = 16,   /* hops whose codes a voice keeps */
	PARTS = 4,        /* of voices, summed in order */
	SINES = 5,        /* of a wander */
	CURVES = 6,       /* of an image; two more rows give them at other amounts */
	MIDDLE_C = 60,
	CURVE_STEP = 64   /* samples between computed levels of a gesture */
};

#define NEVER INT64_MAX

/* What a decoder's row depends on beside the codes: a key, a pitch class, or nothing. */
enum { BY_KEY, BY_CLASS, UNCONDITIONED };
enum { CLASSES = 12, CLASS_SET = 1 << CLASSES }; /* the condition of a chord of classes: CLASS_SET and a bit for each */

/* Rows of codes, [count, latents], and their conditions, from the caller: [count, row_width], in the order of a Layout
   of host/engines/spectrum/partial_analysis.py. */
typedef void (*DecodeRows)(const float *codes, const int32_t *conditions, int32_t count, float *rows);

/* Segments of a value over time, each [start, length, first, last], the earliest first. */
typedef struct {
	int64_t count;
	const double *segments;
} Ramp;

/* A model and its settings. Rows of tables are as in host/voice/tables.py. */
typedef struct {
	int32_t latents, middles, widths[LAYERS]; /* widths: outputs of each layer, multiples of 16 */
	int32_t directions;
	int32_t harmonics, bands, bins, frame, hop, taps, lobe_steps, channels, unison;
	int32_t lows, low_width, muted_bins, lowest_bin, noise_frames, noise_apart, noise_stride, spread_taps;
	int32_t filter_bands, orders_by_key, keeps_formants, moves_formants, lowest_key, highest_key;
	int32_t knob_hop, delay, chord, rate; /* chord: keys of a voice sound apart */
	int32_t conditioning, octave, most_free, model_bins, row_width;
	float slope, most, quietest, amplitude, hiss, hann, alike, unlike;
	double pitch_low, pitch_high, pitch_unit, top_bins, formant_nepers, golden, bin_ratio; /* bins here to a model's */
	double image_rest, noise_angle; /* the amount of `image`; cycles between noises of both sides, halved, by the width */
	DecodeRows decode_rows; /* null: the core decodes */
	const float *weights[LAYERS], *biases[LAYERS]; /* [width / 8, inputs, 8] and [width] */
	const float *means, *pitch_middles;
	const double *fundamentals, *orders, *phases, *detune; /* fundamentals in bins of synthesis, by condition; 0: none */
	const double *free_phases;                             /* [model_bins] */
	const float *gains;                                    /* [channels, unison] */
	const float *lobes;                                    /* [lobe_steps + 1, 2 taps + 1] */
	const float *noise, *low_noise;                        /* of each frame real parts, then imaginary ones */
	const int32_t *tap_counts, *tap_bands;                 /* [spread_taps], [spread_taps, bins], ascending */
	const float *tap_shares, *low_spread;                  /* [spread_taps, bins], [bands, lows] */
	const int32_t *filter_low;
	const float *filter_share;
	const int32_t *low_middles;
	const float *low_widths;
	const double *edges_hz, *key_hz, *spans; /* spans: [latents, 2] */
	const double *band_energy;
	const float *image;                        /* [CURVES + 2, bins], as in host/model/image.py; null: none */
	const Ramp *image_amount;                  /* followed by all notes */
	const float *harmonic_signs, *free_signs; /* of the left side's angle: [harmonics + MOST_MODES], [model_bins] */
} Instrument;

/* A note's recorded course (host/play/trajectory.py). Pointers may be null where their count is 0. */
typedef struct {
	int64_t begin, off; /* off: NEVER while held */
	double rate, speed, residual_seconds, loudness, semitones;
	double fall, held, louder, ceiling, wander_db, wander_hz, stretch;
	double deeper, depth_low, depth_high, vibrato_semitones, onset_seconds;
	int64_t codes_begin, first_hop, lead; /* sample where its codes begin; its first code's hop; samples from code to sound */
	float codes;
	int32_t decoded_key; /* -1: the key that sounds */
	int32_t level_points, loudness_moments, release_points, code_points, release_code_points;
	int32_t bands, opening_moments, onset_moments, held_moments, ending_moments, vibrato_moments, modes;
	int32_t wander_columns;
	uint32_t note;
	const double *level_times, *levels, *loudness_moves, *release_times, *release_levels;
	const double *code_times, *codes_way, *release_code_times, *release_codes; /* ways: [points, latents] */
	const double *offset, *directions, *deviations, *hertz, *decibels; /* [latents], [directions, latents], [1 + directions],
	                                                                      the same, [latents, latents] */
	const float *gains, *opening, *onset, *fast, *ending;
	const int8_t *movement, *vibrato;
	const double *mode_rows; /* [modes, 3]: order, harmonic that it replaces or 0, share of its band's noise */
	const Ramp *depth;
	const float *image; /* of the recorded note, as an Instrument's; null: the instrument's */
} Gesture;

typedef struct {
	double turns[MOST_UNISON], first, ratio; /* cycles of the fundamental; its last frequency in bins; last pitch ratio */
	int32_t noise, started, begun, key, has_moved; /* key of the last frame's orders; whether it has been another */
} Phases;

typedef struct {
	int64_t since;
	const Ramp *bend;
} Master;

/* One voice; codes, pending samples, phases, the state of a gesture's codes, the phases of free partials and the curves
   of a moved image follow it in memory. The caller sets the fields up to `masters`. */
typedef struct {
	int64_t on, next_frame, off, stolen_at, steal, attack, decay, release;
	double sustain, key;
	int32_t closes, number, bus, part, master_count, padding;
	const Ramp *gain, *pitch, *chord, *bend, *touch_bend, *touch_level;
	const Gesture *gesture;
	Master masters[MOST_MASTERS];
	/* the core's own */
	int64_t newest_hop, held_step, release_step, gesture_hop;
	double held_from, held_to, release_from, release_to;
	double sine_hz[SINES], sine_turns[SINES];
	double moved_amount; /* of the image's curves that follow the voice; NaN before the first */
	float left;
	int32_t left_known, sines_known, code_sines_known, off_code_known;
} Voice;

typedef struct {
	const Ramp *left, *right;
} Bus;

CORE_API int32_t core_version(void);
/* 0: those of every processor of this kind; 1: AVX2; 2: AVX-512 as well, for the decoder's layers. */
CORE_API int32_t core_instructions(void);
CORE_API int64_t core_sizes(int32_t structure); /* of Instrument, Gesture, Voice, Ramp, Bus, UnattendedRun, GrainCut, Grain */
CORE_API int64_t core_bytes(const Instrument *instrument);
CORE_API int64_t core_voice_bytes(const Instrument *instrument);
/* `instructions`: as core_instructions, or less. */
CORE_API void core_open(void *core, const Instrument *instrument, int32_t instructions);
CORE_API void core_voice_open(void *core, Voice *voice);
/* Codes that frames read at each hop's begin, [count, latents]. */
CORE_API void core_codes(void *core, Voice *const *voices, const int64_t *hops, const float *codes, int32_t count);
/* Send voices the codes that `knobs`, [latents], have at each hop begun before `now`, from the first that a voice lacks;
   return the first sample whose frame reads a later hop's. */
CORE_API int64_t core_knob_codes(void *core, Voice *const *voices, int32_t count, const Ramp *const *knobs, int64_t now);
/* Decoded frames, [count, harmonics + bands], of codes and keys. */
CORE_API void core_decode(void *core, const float *codes, const int32_t *keys, int32_t count, float *frames);
/* Up to `most` codes, [most, latents], and conditions of rows that the voices' newest codes need and the core does not
   know; return how many. */
CORE_API int32_t core_unknown(void *core, Voice *const *voices, int32_t count, int64_t now, int32_t most, float *codes,
                              int32_t *conditions);
/* Decode up to `most` rows of the voices' newest codes; return how many. */
CORE_API int32_t core_ahead(void *core, Voice *const *voices, int32_t count, int64_t now, int32_t most);
/* Samples at another rate, [channels, count], each a sum of `taps` inputs (host/audio/rate_conversion.py); `inputs`,
   [channels, input_stride], begin with those of the first; `table`: [up, taps]. */
CORE_API void core_convert(const float *inputs, int64_t input_stride, int32_t channels, const float *table, int32_t taps,
                           int64_t up, int64_t down, int64_t phase, int64_t count, float *outputs);
/* Add voices to the parts of their buses, [buses, PARTS, channels, count], which the caller has set to 0. Cores of one
   instrument may share the voices of a block, in threads. */
CORE_API void core_render(void *core, Voice *const *voices, int32_t voice_count, int64_t start, int32_t count,
                          float *parts);
/* Largest magnitude of each channel of [channels, count]; NaN where one of its samples is not finite. */
CORE_API void core_peaks(const float *sound, int32_t channels, int64_t count, float *peaks);
/* Limit `count` samples to 1 in place (`limit` of host/audio/output.py). */
CORE_API void core_limit(float *sound, int64_t count);
/* Sum of parts and buses with the buses' gains, [2, count]; parts are scratch then. */
CORE_API void core_mix(const void *core, const Bus *buses, int32_t bus_count, int64_t start, int32_t count, float *parts,
                       float *sound);

#endif
