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
	for (uint32_t i = 0; i < WIRE_MACROS; ++i) c->values[i] = c->rests[i] = MACRO_DEFAULT;
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
	bool rests = parameter < WIRE_MACROS && !(c->moved_macros >> parameter & 1);
	return rests ? c->rests[parameter] : c->values[parameter];
}

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

/* The name with a number from 1 on, and how many there are; with the mutex held. */
static const char *find_preset(const keeper *k, uint32_t number, uint32_t *count)
{
	const char *name = NULL;
	*count = 0;
	for (size_t offset = 0; offset < k->presets_length; offset += strlen(k->presets + offset) + 1)
		if (++*count == number) name = k->presets + offset;
	return name;
}

uint32_t core_presets(const core *c)
{
	keeper *k = (keeper *)&c->keeper;
	uint32_t count;
	pthread_mutex_lock(&k->mutex);
	find_preset(k, 0, &count);
	pthread_mutex_unlock(&k->mutex);
	return count;
}

bool core_preset_name(const core *c, uint32_t number, char text[64])
{
	keeper *k = (keeper *)&c->keeper;
	uint32_t count;
	pthread_mutex_lock(&k->mutex);
	const char *name = find_preset(k, number, &count);
	if (name) {
		size_t length = strnlen(name, 63);
		/* A name that is too long is cut between its characters, not within one. */
		while (length && (name[length] & 0xc0) == 0x80) --length;
		memcpy(text, name, length);
		text[length] = 0;
	}
	pthread_mutex_unlock(&k->mutex);
	return name != NULL;
}
