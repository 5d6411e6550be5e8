/* Blocks that the core renders by itself, while no event comes: it keeps a sound card's ring full
   (docs/internals/processes.md). */
#ifndef TIMBREL_UNATTENDED_H
#define TIMBREL_UNATTENDED_H

#include "core.h"

enum {
	OUTPUTS = 2,
	MOST_BLOCKS = 16,    /* of a run */
	MOST_SAMPLES = 4096 /* of a block, at either rate, and of the inputs that wait for a conversion */
};

#if defined(__APPLE__)
typedef int32_t RingIndex;
#else
typedef long RingIndex;
#endif

/* PortAudio's PaUtilRingBuffer. */
typedef struct {
	RingIndex size;
	volatile RingIndex written, read;
	RingIndex position_mask, index_mask, element_bytes;
	char *elements;
} CardRing;

typedef struct UnattendedRun {
	/* The voices of one model, at its rate. */
	void *core;
	Voice *const *voices;
	const Bus *buses;
	int32_t voice_count, bus_count, channels;
	int32_t decodes_ahead, ahead_rows; /* whether `core_ahead` may find rows to decode, and how many at a time */
	int64_t now;                /* the next sample */
	int64_t needed_at;          /* the caller is needed from this sample on */
	int64_t known_end;          /* the first sample of which the caller has not sent all events */
	int64_t codes_end;          /* the first sample whose frame reads codes that the voices lack */
	const Ramp *const *knobs;   /* those of which the codes are made, [latents]; NULL: the caller sends codes */
	/* The rate conversion, as in host/audio/rate_conversion.py; none where `table` is NULL. */
	const float *table;
	int64_t taps, up, down, phase;
	int64_t pending_count;      /* inputs from the next output's first on, in `pending` */
	int64_t converted_count;    /* outputs that wait, in `converted` */
	float *pending, *converted; /* [OUTPUTS, MOST_SAMPLES] each */
	float *parts;               /* scratch: [bus_count, PARTS, channels, MOST_SAMPLES] */
	float *scratch;             /* [4, OUTPUTS, MOST_SAMPLES] */
	struct UnattendedRun *next; /* of a former instrument that rings: all above is used; NULL for the last */
	/* The card: samples at its rate, seconds of the monotonic clock. */
	CardRing *ring;
	int32_t *arrival;           /* not 0 once an event has arrived */
	int64_t written;            /* samples since the start */
	double offset, observed;    /* `Timeline` of host/live/render_loop.py: samples, and seconds of its last look */
	double forget, read_seconds, poll_seconds;
	double settled;             /* samples to wait for the events of the card's last block */
	double patience;            /* seconds without progress of the card */
	int32_t rate, block, depth; /* depth: blocks that the ring holds */
	/* The result. */
	int32_t most, blocks;       /* of blocks */
	float *sound;               /* [OUTPUTS, MOST_BLOCKS * block] */
	double *seconds;            /* [MOST_BLOCKS]: the time that each took */
} UnattendedRun;

/* Render a block, and more as the card needs them, until an event arrives or the caller is needed; `blocks` says how
   many. Their samples are those of `core_render`, `core_mix`, `core_convert` and `core_limit`; of several runs, the sum
   is limited. */
CORE_API void core_run_unattended(UnattendedRun *run);

#endif
