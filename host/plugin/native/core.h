/* The core: what the plugin formats share. Each wraps these calls in its own way, and nothing else knows the server. */
#ifndef TIMBREL_CORE_H
#define TIMBREL_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct core core;

enum core_change {
	CHANGED_PARAMETERS = 1, /* names and rests, and names of presets */
	CHANGED_LATENCY = 2,    /* may also be told by core_run, in the thread of sound */
	CHANGED_STATE = 4       /* what core_save returns is another */
};

/* What a wrapper is told, in a thread of the core's own: it must only note it. Any may be null. */
typedef struct {
	void *self;
	void (*changed)(void *self, enum core_change change);
	void (*say)(void *self, bool urgent, const char *line); /* urgent: sound is missing */
} core_listener;

enum core_standing {
	CORE_STARTS, /* silent until its server is ready, for the first time or after it has ended */
	CORE_PLAYS,
	CORE_SILENT /* no server can be had until a preset is loaded, or the plugin activated: its words say why */
};

#define CORE_GAIN_LOW (-60.0f) /* dB */
#define CORE_GAIN_HIGH 12.0f

/* `folder` is that of the plugin's binary, in which the file `interpreter` names the Python to use. Never fails but for
 * lack of memory (null): without an interpreter it is silent, and has said so once. The server is started at once. */
core *core_new(const char *folder, const core_listener *listener);
void core_free(core *); /* its server has ended when this returns, within half a second */

/* Not in the thread of sound. `block` is what the host will ask for at once, as far as it has said; 0 if it has not. */
void core_activate(core *, double rate, uint32_t block);
void core_deactivate(core *);

/* Until it is activated again, the latency is what it is now at least: sound waits for as long, also in a bounce. For
 * hosts that ask for the latency when they activate the plugin, and may go from playing to a bounce without doing so
 * again. Not in the thread of sound. */
void core_keep_latency(core *);

/* In the thread of sound: first the events of a block in order of `offset`, then core_run for its samples. */
void core_offline(core *, bool offline);
void core_midi(core *, uint32_t offset, const uint8_t *bytes, uint32_t count);
void core_set(core *, uint32_t offset, uint32_t parameter, float value);
void core_tempo(core *, uint32_t offset, double bpm);
/* `song_samples`: where a bounce's transport starts, the samples of the song that have passed; the latency, if a host has
 * said nothing else. */
void core_transport(core *, uint32_t offset, bool rolling, bool from_the_beginning, uint32_t song_samples);
void core_run(core *, float *left, float *right, uint32_t count);

/* Any thread. */
uint32_t core_latency(const core *); /* samples, the rack's own included */
/* Blocks that were late, wholly or in part, since activation; and those that were silent since a server had ended, or since
 * there is none. */
uint64_t core_late(const core *);
enum core_standing core_standing(const core *);
/* Samples of this bounce are missing, since its server ended, hangs or cannot be had. What follows is no song either. It
 * stays so until the core is activated again, or told again whether it bounces. */
bool core_spoilt(const core *);
float core_get(const core *, uint32_t parameter); /* where it stands: what the host set, else where it rests */
bool core_moved(const core *, uint32_t macro);    /* the host has set it, and no hand has turned it since */
float core_loaded(const core *, uint32_t macro);  /* where it stood as the state was saved that was loaded last */
void core_parameter(const core *, uint32_t parameter, wire_parameter *description);
bool core_preset_name(const core *, uint32_t number, char text[64]); /* from 1 on */

/* Not in the thread of sound. */
size_t core_save(core *, void **bytes); /* to be freed by the caller; 0 where there is no memory */
bool core_load(core *, const void *bytes, size_t count); /* false: these are no state; nothing has changed */
bool core_load_preset(core *, const char *name);

#ifdef __cplusplus
}
#endif
#endif
