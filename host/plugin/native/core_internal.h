/* The core's own parts, which its files share: no wrapper includes this. */
#ifndef TIMBREL_CORE_INTERNAL_H
#define TIMBREL_CORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core.h"
#include "gain.h"
#include "gap.h"
#include "message_socket.h"
#include "server.h"

#define MACRO_DEFAULT 0.5f
#define LONGEST_RACK_LATENCY (1u << 20) /* samples: no effect is as late; more is nonsense */
#define FASTEST_RATE 1000000u /* Hz: no host has a higher sampling rate; of one that had, no latency is kept */
#define LONGEST_LINE 1001u /* bytes of what is said, with the zero at its end; the rest is cut */
#define EARLY 1024u /* messages: all controllers of some channels, which hosts send before they play */

/* An event of the block that the host fills, and where its parameter stood before it. */
typedef struct {
	wire_event event; /* its time: the offset */
	float old_value;
	bool had_moved;
} noted_event;

/* What the thread of sound alone knows, but for core_activate and core_deactivate, which never run beside it. */
typedef struct {
	server *server; /* that it plays; null while there is none */
	bool active, offline;
	bool begins; /* the next block begins an epoch */
	bool lost;   /* events did not fit into the memory */
	bool sounded; /* a server has made sound since activation */
	bool missed; /* that one has ended, and none has made sound since */
	bool rolled; /* the transport has rolled in this epoch, or did when it began */
	uint32_t early_count; /* messages since the reset, of which `early` holds the last */
	wire_event early[EARLY]; /* the last MIDI of a bounce that has not rolled */
	double rate;
	uint32_t block; /* samples that the host asks for at once, as far as is known */
	uint16_t epoch;
	uint64_t position; /* samples since the reset: of the next block's beginning */
	uint32_t rack_latency, least_latency;
	double tempo, told_tempo; /* as the server knows it, and as the host last said; 0: unknown */
	bool rolling, told_rolling;
	uint32_t song_samples; /* that had passed where the transport last started */
	gain gain;
	gap gap;
	uint32_t noted, taken; /* events of this block, and how many of these have been sent */
	noted_event events[WIRE_EVENTS];
} sound;

enum patch_kind { PATCH_DEFAULT, PATCH_STATE, PATCH_PRESET };

/* What the plugin plays, as a server can be told. */
typedef struct {
	enum patch_kind kind;
	void *bytes; /* a STATE's, or a preset's name */
	size_t length;
} patch;

/* What the keeper's thread and the host's other threads share, under `mutex`. */
typedef struct {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t answer; /* to a question, or that there will be none */
	int wake;              /* an eventfd that the keeper sleeps on */
	_Atomic bool quits;
	server *server;
	outbox out;
	inbox in; /* the keeper's own */
	bool ready;
	uint32_t last_question, last_answer; /* by number */
	uint32_t settled;                    /* the question after the last load: what a server says before its answer is old */
	patch patch;
	bool nameless; /* a project was saved without the server's word of the patch */
	wire_parameter parameters[WIRE_MACROS];
	char *presets; /* names, each ended by a zero byte */
	size_t presets_length;
	/* The keeper's own: */
	char log_path[512];
	int log;
	int64_t started; /* ms, of the last server */
	int failures;    /* servers that ended before they were of use */
	uint64_t lost;   /* events, as far as has been said */
	uint32_t spoils; /* bounces, as far as has been said */
	char silent[LONGEST_LINE]; /* why there is no server, as was last said */
} keeper;

struct core {
	core_listener listener;
	_Atomic float values[WIRE_PARAMETER_COUNT];
	_Atomic float rests[WIRE_MACROS], loaded[WIRE_MACROS];
	_Atomic uint32_t moved_macros; /* a bit for each macro that does not rest where the preset has it */
	_Atomic bool chooses;          /* a preset has been chosen that no server has been told */
	_Atomic uint32_t latency;
	/* How late the rack is, as was last told or loaded, so that a host knows before there is a server: the sampling rate
	 * in Hz << 32 | samples at that rate. A rate of 0: unknown. */
	_Atomic uint64_t kept_latency;
	_Atomic uint64_t late, lost;
	_Atomic(server *) offered; /* by the keeper, until the thread of sound takes it */
	_Atomic(server *) retired; /* by the thread of sound, until the keeper frees it */
	_Atomic uint32_t news;     /* the keeper adds 1 where there is any, and wakes who waits */
	_Atomic bool coming;       /* there is a server, or there will be */
	_Atomic bool revived;      /* there will be again, after it was given up */
	_Atomic bool sounds;       /* the last block was made by a server */
	_Atomic bool spoilt;       /* samples of this bounce are missing */
	_Atomic uint32_t spoils;   /* bounces of which samples were missing */
	_Atomic bool unknown;      /* a project was saved without the patch that plays, and no word said of it */
	_Atomic bool reloaded;     /* another patch: an epoch begins with it */
	sound sound;
	keeper keeper;
	char folder[]; /* the plugin's */
};

/* core.c */
void core_tell(core *, enum core_change);
void core_rest_macros(core *); /* where the next preset has them */
void *copy_of(const void *bytes, size_t length); /* null: no memory */
size_t whole_characters(const char *text, size_t length); /* as many bytes of UTF-8 at most: it is cut between characters */

/* server_thread.c */
bool keeper_start(core *);
void keeper_stop(core *);
void keeper_wake(core *);
void keeper_revive(core *); /* tries again where a server was given up; any thread */
void keeper_load(core *, patch); /* takes the bytes of the patch, which is not the default; with the mutex held */

/* sound.c */
float sound_allowed(uint32_t parameter, float value); /* the nearest that it may have */

/* futex.c */
int64_t now_ms(void);
void futex_wait(_Atomic uint32_t *word, uint32_t value, int milliseconds); /* while it has the value */
void futex_wake(_Atomic uint32_t *word);

#endif
