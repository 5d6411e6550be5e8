/* What instances of CLAP and VST3 share: a core, and a latency that stays what the host was told. */
#ifndef TIMBREL_INSTANCE_H
#define TIMBREL_INSTANCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core.h"

typedef struct {
	core *core;
	void *host;                                /* these three are set before instance_start */
	void (*changed)(void *host);               /* called in any thread, when there are changes to take; may be null */
	void (*say)(void *host, bool urgent, const char *line); /* called in any thread */

	_Atomic uint32_t changes; /* core_change, not yet taken */
	bool active;
	_Atomic uint32_t latency; /* as the host was told, in samples */
} instance;

bool instance_start(instance *); /* false: no memory */
void instance_end(instance *);

/* Not in the thread of sound. The latency is the same from then on, until the instance is activated again. False: it is a
 * bounce, and no server can be had for it; then the instance is not active. */
bool instance_activate(instance *, double rate, uint32_t block, bool offline);
void instance_deactivate(instance *);

/* The changes that were noted, which are no longer. The latency's is that it has become longer than the host was told, who
 * must activate the plugin anew. */
uint32_t instance_take(instance *);

/* Reads or writes at most `count` bytes of a host's stream. Returns how many; 0 where it ends, less where it fails. */
typedef int64_t (*stream_function)(void *stream, void *bytes, int32_t count);

/* The state, through a stream of the host's; false: it is not whole. Not in the thread of sound. */
bool instance_save(instance *, void *stream, stream_function write);
bool instance_load(instance *, void *stream, stream_function read);

/* In the thread of sound, after the block's events. Where a channel is null time stands still. False: samples of this
 * bounce are missing. */
bool instance_run(instance *, float *left, float *right, uint32_t count);

/* A channel's message of two or three bytes. */
void instance_midi(instance *, uint32_t offset, const uint8_t bytes[3]);

/* Makes a message about a key, `status` without the channel, with a value from 0 to 1; false: MIDI has no such key. */
bool key_message(uint8_t bytes[3], uint8_t status, int channel, int key, double value);

#endif
