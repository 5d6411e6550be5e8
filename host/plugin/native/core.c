/* A core from its beginning to its end, and where its parameters stand. */
#define _GNU_SOURCE
#include "core.h"

#include <stdlib.h>
#include <string.h>

#include "core_internal.h"

core *core_new(const char *folder, const core_listener *listener)
{
	size_t length = strlen(folder) + 1;
	core *c = calloc(1, sizeof *c + length);
	if (!c) return NULL;
	memcpy(c->folder, folder, length);
	if (listener) c->listener = *listener;
	core_rest_macros(c);
	for (uint32_t i = 0; i < WIRE_MACROS; ++i) c->rests[i] = c->loaded[i] = MACRO_DEFAULT;
	if (keeper_start(c)) return c;
	free(c);
	return NULL;
}

void core_free(core *c)
{
	if (!c) return;
	keeper_stop(c);
	server_free(atomic_load(&c->offered));
	server_free(atomic_load(&c->retired));
	server_free(c->sound.server);
	free(c);
}

void core_tell(core *c, enum core_change change)
{
	if (c->listener.changed) c->listener.changed(c->listener.self, change);
}

void core_rest_macros(core *c)
{
	c->moved_macros = 0;
	for (uint32_t i = 0; i < WIRE_MACROS; ++i) c->values[i] = MACRO_DEFAULT;
}

void *copy_of(const void *bytes, size_t length)
{
	void *copy = malloc(length ? length : 1);
	if (copy && length) memcpy(copy, bytes, length);
	return copy;
}

size_t whole_characters(const char *text, size_t length)
{
	while (length && (text[length] & 0xc0) == 0x80) --length;
	return length;
}

uint32_t core_latency(const core *c) { return c->latency; }

uint64_t core_late(const core *c) { return c->late; }

enum core_standing core_standing(const core *c)
{
	return !c->coming ? CORE_SILENT : c->sounds ? CORE_PLAYS : CORE_STARTS;
}

bool core_spoilt(const core *c) { return c->spoilt; }

float core_get(const core *c, uint32_t parameter)
{
	if (parameter >= WIRE_PARAMETER_COUNT) return 0;
	bool rests = parameter < WIRE_MACROS && !core_moved(c, parameter);
	return rests ? c->rests[parameter] : c->values[parameter];
}

bool core_moved(const core *c, uint32_t macro) { return c->moved_macros >> macro & 1; }

float core_loaded(const core *c, uint32_t macro) { return c->loaded[macro]; }

void core_parameter(const core *c, uint32_t parameter, wire_parameter *description)
{
	static const char *const titles[] = {"Gain", "Preset", "Open panel"};
	*description = (wire_parameter){.rest = core_get(c, parameter), .used = 1};
	if (parameter >= WIRE_MACROS) {
		if (parameter < WIRE_PARAMETER_COUNT) strcpy(description->name, titles[parameter - WIRE_GAIN]);
		return;
	}
	keeper *k = (keeper *)&c->keeper;
	pthread_mutex_lock(&k->mutex);
	*description = k->parameters[parameter];
	pthread_mutex_unlock(&k->mutex);
}

/* The name with a number from 1 on; with the mutex held. */
static const char *find_preset(const keeper *k, uint32_t number)
{
	for (size_t offset = 0; offset < k->presets_length; offset += strlen(k->presets + offset) + 1)
		if (--number == 0) return k->presets + offset;
	return NULL;
}

bool core_preset_name(const core *c, uint32_t number, char text[64])
{
	keeper *k = (keeper *)&c->keeper;
	pthread_mutex_lock(&k->mutex);
	const char *name = find_preset(k, number);
	if (name) {
		size_t length = whole_characters(name, strnlen(name, 63));
		memcpy(text, name, length);
		text[length] = 0;
	}
	pthread_mutex_unlock(&k->mutex);
	return name != NULL;
}
