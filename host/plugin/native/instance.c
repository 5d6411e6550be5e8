#define _GNU_SOURCE /* dladdr */
#include "instance.h"

#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parameters.h"

#define PIECE 65536 /* bytes of a state that a stream is asked for at once */

static void note(void *self, enum core_change change)
{
	instance *instance = self;
	atomic_fetch_or(&instance->changes, change);
	if (instance->changed)
		instance->changed(instance->host);
}

static void say_line(void *self, bool urgent, const char *line)
{
	instance *instance = self;
	instance->say(instance->host, urgent, line);
}

/* The folder of the binary that this function is in. */
static bool find_folder(char folder[PATH_MAX])
{
	Dl_info info;
	if (!dladdr((void *)(intptr_t)find_folder, &info) || !realpath(info.dli_fname, folder))
		return false;
	*strrchr(folder, '/') = 0;
	return true;
}

bool instance_start(instance *instance)
{
	char folder[PATH_MAX];
	core_listener listener = {instance, note, say_line};
	instance->core = core_new(find_folder(folder) ? folder : "", &listener);
	return instance->core != NULL;
}

void instance_end(instance *instance)
{
	instance_deactivate(instance);
	if (instance->core)
		core_free(instance->core);
	instance->core = NULL;
}

bool instance_activate(instance *instance, double rate, uint32_t block, bool offline)
{
	instance_deactivate(instance);
	float sample[2];
	core_offline(instance->core, offline);
	core_activate(instance->core, rate, block);
	instance->active = true;
	if (offline) {
		/* Once it has made a sample the core knows how late the rack is; then it begins anew. */
		core_run(instance->core, &sample[0], &sample[1], 1);
		if (core_spoilt(instance->core)) {
			instance_deactivate(instance);
			return false;
		}
		core_activate(instance->core, rate, block);
	}
	core_keep_latency(instance->core);
	atomic_store(&instance->latency, core_latency(instance->core));
	return true;
}

void instance_deactivate(instance *instance)
{
	if (instance->active)
		core_deactivate(instance->core);
	instance->active = false;
}

uint32_t instance_take(instance *instance)
{
	uint32_t changes = atomic_exchange(&instance->changes, 0);
	bool longer = instance->active && core_latency(instance->core) > atomic_load(&instance->latency);
	return longer ? changes : changes & ~(uint32_t)CHANGED_LATENCY;
}

bool instance_save(instance *instance, void *stream, stream_function write)
{
	void *bytes = NULL;
	size_t count = core_save(instance->core, &bytes), saved = 0;
	while (saved < count) {
		int32_t most = count - saved < PIECE ? (int32_t)(count - saved) : PIECE;
		int64_t written = write(stream, (char *)bytes + saved, most);
		if (written <= 0 || written > most)
			break;
		saved += (size_t)written;
	}
	free(bytes);
	return count && saved == count;
}

bool instance_load(instance *instance, void *stream, stream_function read)
{
	char *bytes = NULL;
	size_t count = 0, room = 0;
	int64_t taken = 1;
	while (taken > 0 && taken <= PIECE) {
		if (count + PIECE > room) {
			room = 2 * room + PIECE;
			char *grown = count <= WIRE_LONGEST_MESSAGE ? realloc(bytes, room) : NULL;
			if (!grown) /* memory ends, or it is too much for a state */
				break;
			bytes = grown;
		}
		taken = read(stream, bytes + count, PIECE);
		if (taken > 0)
			count += (size_t)taken;
	}
	bool loaded = taken == 0 && core_load(instance->core, bytes, count);
	free(bytes);
	return loaded;
}

bool instance_run(instance *instance, float *left, float *right, uint32_t count)
{
	if (left && right && count)
		core_run(instance->core, left, right, count); /* silence where it is not active */
	return !core_spoilt(instance->core);
}

void instance_midi(instance *instance, uint32_t offset, const uint8_t bytes[3])
{
	uint8_t kind = bytes[0] & 0xf0;
	core_midi(instance->core, offset, bytes, kind == 0xc0 || kind == 0xd0 ? 2 : 3);
}

bool key_message(uint8_t bytes[3], uint8_t status, int channel, int key, double value)
{
	if (channel < 0 || channel > 15 || key < 0 || key > 127)
		return false;
	bytes[0] = (uint8_t)(status | channel);
	bytes[1] = (uint8_t)key;
	bytes[2] = (uint8_t)lround(parameter_within(value, 0, 1) * 127);
	if (status == 0x90 && !bytes[2])
		bytes[2] = 1; /* in MIDI a note-on of velocity 0 is a note-off */
	return true;
}
