/* The LV2 plugin: timbrel.ttl says what its ports are, in this order. */
#include <lv2/atom/atom.h>
#include <lv2/atom/util.h>
#include <lv2/buf-size/buf-size.h>
#include <lv2/core/lv2.h>
#include <lv2/log/log.h>
#include <lv2/midi/midi.h>
#include <lv2/options/options.h>
#include <lv2/state/state.h>
#include <lv2/time/time.h>
#include <lv2/urid/urid.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

#define INSTRUMENT "urn:timbrel:instrument"

enum port {
	EVENTS,
	LEFT,
	RIGHT,
	PARAMETERS,
	FREEWHEEL = PARAMETERS + WIRE_PARAMETER_COUNT,
	LATENCY,
	LATE,
	STATUS
};

typedef struct {
	LV2_URID chunk, string, path, object, blank, is_int, is_long, is_float, is_double;
	LV2_URID midi, position, bpm, beat_unit, speed, frame;
	LV2_URID nominal_block, longest_block, error, warning, state, preset;
} urids;

typedef struct {
	core *core;
	const LV2_Log_Log *log;
	urids urids;
	double rate;
	uint32_t block; /* samples that the host asks for at once; 0: it has not said */
	bool active;
	double beats_per_minute, beat_unit;
	bool rolling;
	_Atomic bool restored;                   /* since the last block */
	float port_values[WIRE_PARAMETER_COUNT]; /* the ports, as the core knows them */
	const LV2_Atom_Sequence *events;
	float *sound[2];
	const float *parameters[WIRE_PARAMETER_COUNT], *freewheel;
	float *latency, *late, *status;
} plugin;

static void log_line(void *self, bool urgent, const char *line)
{
	const plugin *p = self;
	if (p->log) p->log->printf(p->log->handle, urgent ? p->urids.error : p->urids.warning, "%s\n", line);
	if (urgent || !p->log) fprintf(stderr, "%s\n", line); /* programs of Ardour's without a window show no log */
}

static const void *feature(const LV2_Feature *const *features, const char *uri)
{
	for (; features && *features; ++features)
		if (strcmp((*features)->URI, uri) == 0) return (*features)->data;
	return NULL;
}

/* The nominal block, where the host says one, comes before the longest, which it may never ask for. */
static void take_options(plugin *p, const LV2_Options_Option *options)
{
	uint32_t nominal = 0, longest = 0;
	for (; options && options->key; ++options) {
		if (options->context != LV2_OPTIONS_INSTANCE || options->type != p->urids.is_int || !options->value) continue;
		int32_t value = *(const int32_t *)options->value;
		if (value > 0 && options->key == p->urids.nominal_block) nominal = (uint32_t)value;
		if (value > 0 && options->key == p->urids.longest_block) longest = (uint32_t)value;
	}
	if (nominal || longest) p->block = nominal ? nominal : longest;
}

/* The core is told again of each macro that does not stand at its default. */
static void forget_macros(plugin *p)
{
	for (uint32_t i = 0; i < WIRE_MACROS; ++i) p->port_values[i] = 0.5f;
}

static LV2_Handle instantiate(const LV2_Descriptor *descriptor, double rate, const char *folder,
                              const LV2_Feature *const *features)
{
	(void)descriptor;
	const LV2_URID_Map *map = feature(features, LV2_URID__map);
	plugin *p = map ? calloc(1, sizeof *p) : NULL;
	if (!p) return NULL;
	const struct {
		LV2_URID *urid;
		const char *uri;
	} needed[] = {
	    {&p->urids.chunk, LV2_ATOM__Chunk},
	    {&p->urids.string, LV2_ATOM__String},
	    {&p->urids.path, LV2_ATOM__Path},
	    {&p->urids.object, LV2_ATOM__Object},
	    {&p->urids.blank, LV2_ATOM__Blank},
	    {&p->urids.is_int, LV2_ATOM__Int},
	    {&p->urids.is_long, LV2_ATOM__Long},
	    {&p->urids.is_float, LV2_ATOM__Float},
	    {&p->urids.is_double, LV2_ATOM__Double},
	    {&p->urids.midi, LV2_MIDI__MidiEvent},
	    {&p->urids.position, LV2_TIME__Position},
	    {&p->urids.bpm, LV2_TIME__beatsPerMinute},
	    {&p->urids.beat_unit, LV2_TIME__beatUnit},
	    {&p->urids.speed, LV2_TIME__speed},
	    {&p->urids.frame, LV2_TIME__frame},
	    {&p->urids.nominal_block, LV2_BUF_SIZE__nominalBlockLength},
	    {&p->urids.longest_block, LV2_BUF_SIZE__maxBlockLength},
	    {&p->urids.error, LV2_LOG__Error},
	    {&p->urids.warning, LV2_LOG__Warning},
	    {&p->urids.state, INSTRUMENT "#state"},
	    {&p->urids.preset, INSTRUMENT "#preset"},
	};
	for (size_t i = 0; i < sizeof needed / sizeof *needed; ++i) *needed[i].urid = map->map(map->handle, needed[i].uri);
	p->log = feature(features, LV2_LOG__log);
	p->rate = rate;
	p->beat_unit = 4;
	take_options(p, feature(features, LV2_OPTIONS__options));
	forget_macros(p);
	p->core = core_new(folder, &(core_listener){.self = p, .say = log_line});
	if (p->core) return p;
	free(p);
	return NULL;
}

static void connect_port(LV2_Handle self, uint32_t port, void *data)
{
	plugin *p = self;
	if (port == EVENTS) p->events = data;
	else if (port < PARAMETERS) p->sound[port - LEFT] = data;
	else if (port < FREEWHEEL) p->parameters[port - PARAMETERS] = data;
	else if (port == FREEWHEEL) p->freewheel = data;
	else if (port == LATENCY) p->latency = data;
	else if (port == LATE) p->late = data;
	else if (port == STATUS) p->status = data;
}

static void activate(LV2_Handle self)
{
	plugin *p = self;
	core_activate(p->core, p->rate, p->block);
	p->active = true;
}

static void deactivate(LV2_Handle self)
{
	plugin *p = self;
	core_deactivate(p->core);
	p->active = false;
}

static void cleanup(LV2_Handle self)
{
	plugin *p = self;
	core_free(p->core);
	free(p);
}

/* ---- a block */

static double number(const urids *u, const LV2_Atom *atom, double otherwise)
{
	if (!atom) return otherwise;
	if (atom->type == u->is_int && atom->size == sizeof(int32_t)) return ((const LV2_Atom_Int *)atom)->body;
	if (atom->type == u->is_long && atom->size == sizeof(int64_t)) return (double)((const LV2_Atom_Long *)atom)->body;
	if (atom->type == u->is_float && atom->size == sizeof(float)) return ((const LV2_Atom_Float *)atom)->body;
	if (atom->type == u->is_double && atom->size == sizeof(double)) return ((const LV2_Atom_Double *)atom)->body;
	return otherwise;
}

/* A position says what has changed, and may leave out the rest. */
static void take_position(plugin *p, uint32_t offset, const LV2_Atom_Object *object)
{
	const urids *u = &p->urids;
	const LV2_Atom *bpm = NULL, *unit = NULL, *speed = NULL, *frame = NULL;
	lv2_atom_object_get(object, u->bpm, &bpm, u->beat_unit, &unit, u->speed, &speed, u->frame, &frame, 0);
	p->beats_per_minute = number(u, bpm, p->beats_per_minute);
	p->beat_unit = number(u, unit, p->beat_unit);
	core_tempo(p->core, offset, p->beats_per_minute * 4 / p->beat_unit); /* none, or nonsense, is passed over */
	bool rolled = p->rolling;
	p->rolling = number(u, speed, p->rolling) > 0;
	if (p->rolling != rolled)
		core_transport(p->core, offset, p->rolling, number(u, frame, -1) == 0, core_latency(p->core));
}

static void take_ports(plugin *p)
{
	if (atomic_exchange(&p->restored, false)) {
		/* What has been restored is more than its number, and opens no panel. A knob stands where it is seen to stand. */
		for (uint32_t i = WIRE_PRESET; i <= WIRE_PANEL; ++i)
			if (p->parameters[i]) p->port_values[i] = *p->parameters[i];
		forget_macros(p);
	}
	for (uint32_t i = WIRE_PARAMETER_COUNT; i-- > 0;) { /* the preset before the macros, which it puts where it has them */
		if (!p->parameters[i] || *p->parameters[i] == p->port_values[i]) continue;
		p->port_values[i] = *p->parameters[i];
		core_set(p->core, 0, i, p->port_values[i]);
		if (i == WIRE_PRESET) forget_macros(p);
	}
}

static void run(LV2_Handle self, uint32_t count)
{
	plugin *p = self;
	if (p->freewheel) core_offline(p->core, *p->freewheel > 0);
	take_ports(p);
	if (p->events) {
		LV2_ATOM_SEQUENCE_FOREACH (p->events, event) {
			uint32_t offset = event->time.frames < 0 ? 0 : (uint32_t)event->time.frames;
			const LV2_Atom *atom = &event->body;
			if (atom->type == p->urids.midi) core_midi(p->core, offset, (const uint8_t *)(atom + 1), atom->size);
			else if (atom->type == p->urids.object || atom->type == p->urids.blank) {
				const LV2_Atom_Object *object = (const LV2_Atom_Object *)atom;
				if (object->body.otype == p->urids.position) take_position(p, offset, object);
			}
		}
	}
	if (p->sound[0] && p->sound[1]) core_run(p->core, p->sound[0], p->sound[1], count);
	if (p->latency) *p->latency = (float)core_latency(p->core);
	if (p->late) *p->late = (float)core_late(p->core);
	if (p->status) *p->status = (float)core_standing(p->core);
}

/* ---- state and options */

static LV2_State_Status save(LV2_Handle self, LV2_State_Store_Function store, LV2_State_Handle handle, uint32_t flags,
                             const LV2_Feature *const *features)
{
	(void)flags;
	(void)features;
	plugin *p = self;
	void *bytes;
	size_t count = core_save(p->core, &bytes);
	if (!count) return LV2_STATE_ERR_UNKNOWN;
	LV2_State_Status status =
	    store(handle, p->urids.state, bytes, count, p->urids.chunk, LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE);
	free(bytes);
	return status;
}

/* A saved state comes before a preset's name, which is for presets in the format's own files. */
static LV2_State_Status restore(LV2_Handle self, LV2_State_Retrieve_Function retrieve, LV2_State_Handle handle,
                                uint32_t flags, const LV2_Feature *const *features)
{
	(void)flags;
	(void)features;
	plugin *p = self;
	size_t count = 0;
	uint32_t type = 0, more;
	bool loaded;
	const char *value = retrieve(handle, p->urids.state, &count, &type, &more);
	if (value) loaded = type == p->urids.chunk && core_load(p->core, value, count);
	else {
		value = retrieve(handle, p->urids.preset, &count, &type, &more);
		if (!value) return LV2_STATE_ERR_NO_PROPERTY;
		bool text = (type == p->urids.string || type == p->urids.path) && count && !value[count - 1];
		loaded = text && core_load_preset(p->core, value);
	}
	if (loaded) p->restored = true;
	return loaded ? LV2_STATE_SUCCESS : LV2_STATE_ERR_BAD_TYPE;
}

static uint32_t get_options(LV2_Handle self, LV2_Options_Option *options)
{
	plugin *p = self;
	uint32_t status = LV2_OPTIONS_SUCCESS;
	for (; options->key; ++options) {
		if (options->key != p->urids.nominal_block) {
			status |= LV2_OPTIONS_ERR_BAD_KEY;
			continue;
		}
		options->size = sizeof p->block;
		options->type = p->urids.is_int;
		options->value = &p->block;
	}
	return status;
}

static uint32_t set_options(LV2_Handle self, const LV2_Options_Option *options)
{
	plugin *p = self;
	uint32_t old_block = p->block;
	take_options(p, options);
	if (p->active && p->block != old_block) core_activate(p->core, p->rate, p->block);
	return LV2_OPTIONS_SUCCESS;
}

static const void *extension_data(const char *uri)
{
	static const LV2_State_Interface state = {save, restore};
	static const LV2_Options_Interface options = {get_options, set_options};
	return strcmp(uri, LV2_STATE__interface) == 0     ? (const void *)&state
	       : strcmp(uri, LV2_OPTIONS__interface) == 0 ? (const void *)&options
	                                                  : NULL;
}

static const LV2_Descriptor descriptor = {INSTRUMENT, instantiate, connect_port, activate, run, deactivate, cleanup,
                                          extension_data};

LV2_SYMBOL_EXPORT const LV2_Descriptor *lv2_descriptor(uint32_t index) { return index == 0 ? &descriptor : NULL; }
