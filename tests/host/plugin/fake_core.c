/* A core without a server, which writes down what a wrapper asks of it, in the file `calls` beside the plugin.
 *
 * Its sound is what it was told: on the left 1 at the sample of each MIDI message, on the right a 64th of each
 * parameter's value at the sample where it is set, both as late as it says. A state is any bytes that begin with
 * "fake "; "fake rack=7 at=0.5" gives a rack that is 7 samples late, which shows once it sounds, and macros that stand
 * at a half; "late=3 standing=2" after that says what is to be read of blocks and of the server, and "saved=0.75" where
 * the macros stood as it was saved, if elsewhere. It calls its listener from a thread of its own, as the core does.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

#define LONGEST_LATENCY 65536
#define MOST_EVENTS 65536
#define LOUDEST_VALUE 64 /* a host may take the loudest for noise, and wait for a note that is louder */

struct core {
	core_listener listener;
	FILE *calls;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool ends, tells;

	uint8_t *state;
	size_t count;
	bool loaded, offline, active;
	int standing, late;
	_Atomic uint32_t rack, loaded_rack, block, latency, least_latency, moved;
	float values[WIRE_PARAMETER_COUNT], loaded_values[WIRE_MACROS];

	uint64_t position;
	uint32_t events, offsets[MOST_EVENTS];
	float ring[2][LONGEST_LATENCY], amounts[2][MOST_EVENTS];
};

static void *listen(void *self)
{
	core *core = self;
	pthread_mutex_lock(&core->lock);
	while (!core->ends) {
		if (core->tells) {
			pthread_mutex_unlock(&core->lock);
			core->listener.changed(core->listener.self, CHANGED_PARAMETERS);
			core->listener.changed(core->listener.self, CHANGED_STATE);
			core->listener.say(core->listener.self, core->standing == CORE_SILENT, "a state is loaded");
			pthread_mutex_lock(&core->lock);
			core->tells = false;
			pthread_cond_broadcast(&core->wake);
		} else {
			pthread_cond_wait(&core->wake, &core->lock);
		}
	}
	pthread_mutex_unlock(&core->lock);
	return NULL;
}

core *core_new(const char *folder, const core_listener *listener)
{
	core *core = calloc(1, sizeof *core);
	char path[4096];
	snprintf(path, sizeof path, "%s/calls", folder);
	core->listener = *listener;
	core->calls = fopen(path, "a");
	core->state = (uint8_t *)strdup("fake rack=0");
	core->count = strlen("fake rack=0");
	if (!core->calls)
		abort();
	setvbuf(core->calls, NULL, _IOLBF, 0); /* hosts' processes are read while they run */
	fprintf(core->calls, "new\n");
	pthread_mutex_init(&core->lock, NULL);
	pthread_cond_init(&core->wake, NULL);
	pthread_create(&core->thread, NULL, listen, core);
	return core;
}

void core_free(core *core)
{
	pthread_mutex_lock(&core->lock);
	core->ends = true;
	pthread_cond_broadcast(&core->wake);
	pthread_mutex_unlock(&core->lock);
	pthread_join(core->thread, NULL);
	fprintf(core->calls, "free%s\n", core->active ? " while active" : "");
	fclose(core->calls);
	free(core->state);
	free(core);
}

static void set_latency(core *core)
{
	uint32_t latency = core->rack + (core->offline ? 0 : core->block);
	core->latency = latency > core->least_latency ? latency : core->least_latency;
}

void core_keep_latency(core *core)
{
	core->least_latency = core->latency;
}

void core_activate(core *core, double rate, uint32_t block)
{
	fprintf(core->calls, "activate %.9g %u%s\n", rate, block, core->active ? " again" : "");
	core->active = true;
	core->block = block;
	core->position = 0;
	memset(core->ring, 0, sizeof core->ring);
	core->least_latency = 0;
	set_latency(core);
}

void core_deactivate(core *core)
{
	fprintf(core->calls, "deactivate%s\n", core->active ? "" : " while not active");
	core->active = false;
}

void core_offline(core *core, bool offline)
{
	if (offline != core->offline)
		fprintf(core->calls, "offline %d\n", offline);
	core->offline = offline;
	set_latency(core);
}

static void add(core *core, uint32_t offset, float left, float right)
{
	if (core->events && offset < core->offsets[core->events - 1])
		fprintf(core->calls, "out of order\n");
	if (core->events == MOST_EVENTS)
		abort();
	core->offsets[core->events] = offset;
	core->amounts[0][core->events] = left;
	core->amounts[1][core->events++] = right;
}

void core_midi(core *core, uint32_t offset, const uint8_t *bytes, uint32_t count)
{
	fprintf(core->calls, "midi %llu", (unsigned long long)(core->position + offset));
	for (uint32_t i = 0; i < count; i++)
		fprintf(core->calls, " %02x", bytes[i]);
	fprintf(core->calls, "\n");
	add(core, offset, 1, 0);
}

void core_set(core *core, uint32_t offset, uint32_t parameter, float value)
{
	fprintf(core->calls, "set %llu %u %.9g\n", (unsigned long long)(core->position + offset), parameter, value);
	for (uint32_t i = 0; parameter == WIRE_PRESET && i < WIRE_MACROS; i++)
		core->values[i] = 0; /* a preset sounds as it was made, whatever was moved before */
	if (parameter == WIRE_PRESET)
		core->moved = 0;
	core->values[parameter] = value;
	if (parameter < WIRE_MACROS)
		core->moved |= 1u << parameter;
	add(core, offset, 0, value / LOUDEST_VALUE);
}

void core_tempo(core *core, uint32_t offset, double bpm)
{
	fprintf(core->calls, "tempo %llu %.9g\n", (unsigned long long)(core->position + offset), bpm);
	add(core, offset, 0, 0);
}

void core_transport(core *core, uint32_t offset, bool rolling, bool from_the_beginning, uint32_t ahead)
{
	unsigned long long time = core->position + offset;
	fprintf(core->calls, "transport %llu %d %d %u\n", time, rolling, from_the_beginning, ahead);
	add(core, offset, 0, 0);
}

void core_run(core *core, float *left, float *right, uint32_t count)
{
	float *sound[2] = {left, right};
	if (core->rack != core->loaded_rack) {
		core->rack = core->loaded_rack;
		set_latency(core);
		core->listener.changed(core->listener.self, CHANGED_LATENCY);
	}
	for (uint32_t i = 0; i < core->events; i++) {
		if (core->offsets[i] >= count)
			fprintf(core->calls, "an event after the block's end\n");
		uint64_t at = (core->position + core->offsets[i] + core->latency) % LONGEST_LATENCY;
		for (int channel = 0; channel < 2; channel++)
			core->ring[channel][at] += core->amounts[channel][i];
	}
	core->events = 0;
	for (uint32_t i = 0; i < count; i++, core->position++) {
		for (int channel = 0; channel < 2; channel++) {
			float *there = &core->ring[channel][core->position % LONGEST_LATENCY];
			sound[channel][i] = *there;
			*there = 0;
		}
	}
	if (count > WIRE_LONGEST_BLOCK)
		fprintf(core->calls, "a block of %u\n", count);
}

uint32_t core_latency(const core *core)
{
	return core->latency;
}

uint64_t core_late(const core *core)
{
	return (uint64_t)core->late;
}

enum core_standing core_standing(const core *core)
{
	return (enum core_standing)core->standing;
}

bool core_spoilt(const core *core)
{
	return core->offline && core->standing == CORE_SILENT;
}

float core_get(const core *core, uint32_t parameter)
{
	return core->values[parameter];
}

bool core_moved(const core *core, uint32_t macro)
{
	return core->moved >> macro & 1;
}

float core_loaded(const core *core, uint32_t macro)
{
	return core->loaded_values[macro];
}

void core_parameter(const core *core, uint32_t parameter, wire_parameter *told)
{
	static const char *const own[] = {"Gain", "Preset", "Open panel"};
	*told = (wire_parameter){0};
	if (core->loaded && parameter == 0)
		*told = (wire_parameter){"Brightness", .25f, 1};
	if (parameter >= WIRE_MACROS)
		*told = (wire_parameter){.used = 1};
	if (parameter >= WIRE_MACROS)
		strcpy(told->name, own[parameter - WIRE_MACROS]);
}

bool core_preset_name(const core *core, uint32_t number, char told[64])
{
	static const char *const names[] = {"keys", "pad", "Caf\xc3\xa9 \xf0\x9f\x8e\xb9"};
	(void)core;
	if (number < 1 || number > sizeof names / sizeof *names)
		return false;
	strcpy(told, names[number - 1]);
	return true;
}

size_t core_save(core *core, void **bytes)
{
	*bytes = malloc(core->count);
	memcpy(*bytes, core->state, core->count);
	return core->count;
}

bool core_load(core *core, const void *bytes, size_t count)
{
	bool good = count >= 5 && memcmp(bytes, "fake ", 5) == 0;
	fprintf(core->calls, "load %zu %s\n", count, good ? "good" : "bad");
	if (!good)
		return false;
	uint8_t *state = malloc(count + 1);
	memcpy(state, bytes, count);
	state[count] = 0;
	free(core->state);
	core->state = state;
	core->count = count;
	core->loaded = true;
	unsigned rack = 0;
	float at = 0, saved;
	bool elsewhere = sscanf((const char *)state, "fake rack=%u at=%f late=%d standing=%d saved=%f", &rack, &at, &core->late,
	                        &core->standing, &saved) == 5;
	core->loaded_rack = rack;
	core->moved = 0;
	for (uint32_t i = 0; i < WIRE_MACROS; i++)
		core->values[i] = at, core->loaded_values[i] = elsewhere ? saved : at;
	pthread_mutex_lock(&core->lock);
	core->tells = true;
	pthread_cond_broadcast(&core->wake);
	while (core->tells) /* until it is told, so that tests know when */
		pthread_cond_wait(&core->wake, &core->lock);
	pthread_mutex_unlock(&core->lock);
	return true;
}

bool core_load_preset(core *core, const char *name)
{
	fprintf(core->calls, "preset %s\n", name);
	return strcmp(name, "keys") == 0;
}
