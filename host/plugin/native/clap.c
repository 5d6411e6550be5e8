/* timbrel as a CLAP instrument. */
#include <clap/entry.h>
#include <clap/ext/audio-ports.h>
#include <clap/ext/latency.h>
#include <clap/ext/note-ports.h>
#include <clap/ext/params.h>
#include <clap/ext/state.h>
#include <clap/plugin-factory.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clap_more.h"
#include "clap_presets.h"
#include "instance.h"
#include "parameters.h"

typedef struct {
	clap_plugin_t plugin;
	const clap_host_t *host;
	instance instance;
	_Atomic bool offline;
	bool reset; /* all sound ends, and controllers rest, before the next events */
	double reported_values[OWN_PARAMETERS]; /* of those that the host reads: their values in the last event */
} timbrel;

static timbrel *of(const clap_plugin_t *plugin)
{
	return plugin->plugin_data;
}

static const void *host_extension(const timbrel *timbrel, const char *id)
{
	return timbrel->host->get_extension(timbrel->host, id);
}

/* ---- events ---- */

static void end_all_sound(instance *instance)
{
	for (uint8_t channel = 0; channel < 16; channel++) {
		instance_midi(instance, 0, (uint8_t[3]){0xb0 | channel, 120, 0}); /* all sound off */
		instance_midi(instance, 0, (uint8_t[3]){0xb0 | channel, 121, 0}); /* reset all controllers */
	}
}

static void take_key(instance *instance, uint32_t offset, uint8_t status, int channel, int key, double value)
{
	uint8_t bytes[3];
	if (key_message(bytes, status, channel, key, value))
		instance_midi(instance, offset, bytes);
}

/* -1 stands for every key or channel. To choke one key MIDI has nothing better than to release it. */
static void end_notes(instance *instance, const clap_event_note_t *note)
{
	bool choke = note->header.type == CLAP_EVENT_NOTE_CHOKE;
	int first = note->channel == -1 ? 0 : note->channel, last = note->channel == -1 ? 15 : note->channel;
	for (int channel = first; channel <= last; channel++) {
		if (note->key != -1)
			take_key(instance, note->header.time, 0x80, channel, note->key, choke ? 0 : note->velocity);
		else
			take_key(instance, note->header.time, 0xb0, channel, choke ? 120 : 123, 0);
	}
}

static void take_transport(instance *instance, const clap_event_transport_t *transport, uint32_t offset)
{
	bool beats = transport->flags & CLAP_TRANSPORT_HAS_BEATS_TIMELINE;
	bool seconds = transport->flags & CLAP_TRANSPORT_HAS_SECONDS_TIMELINE;
	bool beginning = beats ? transport->song_pos_beats == 0 : seconds && transport->song_pos_seconds == 0;
	if (transport->flags & CLAP_TRANSPORT_HAS_TEMPO)
		core_tempo(instance->core, offset, transport->tempo);
	bool rolling = transport->flags & CLAP_TRANSPORT_IS_PLAYING;
	core_transport(instance->core, offset, rolling, beginning, core_latency(instance->core));
}

/* Of what a note can express, MIDI says the pressure of a key; the rest comes as MPE, in which a note has a channel. */
static void take_event(instance *instance, const clap_event_header_t *event)
{
	if (event->space_id != CLAP_CORE_EVENT_SPACE_ID)
		return;
	switch (event->type) {
	case CLAP_EVENT_NOTE_ON: {
		const clap_event_note_t *note = (const void *)event;
		take_key(instance, event->time, 0x90, note->channel, note->key, note->velocity);
		break;
	}
	case CLAP_EVENT_NOTE_OFF:
	case CLAP_EVENT_NOTE_CHOKE:
		end_notes(instance, (const void *)event);
		break;
	case CLAP_EVENT_NOTE_EXPRESSION: {
		const clap_event_note_expression_t *expression = (const void *)event;
		if (expression->expression_id == CLAP_NOTE_EXPRESSION_PRESSURE)
			take_key(instance, event->time, 0xa0, expression->channel, expression->key, expression->value);
		break;
	}
	case CLAP_EVENT_PARAM_VALUE: {
		const clap_event_param_value_t *set = (const void *)event;
		core_set(instance->core, event->time, set->param_id, (float)set->value);
		break;
	}
	case CLAP_EVENT_MIDI:
		instance_midi(instance, event->time, ((const clap_event_midi_t *)event)->data);
		break;
	case CLAP_EVENT_MIDI_SYSEX: {
		const clap_event_midi_sysex_t *message = (const void *)event;
		core_midi(instance->core, event->time, message->buffer, message->buffer ? message->size : 0);
		break;
	}
	case CLAP_EVENT_TRANSPORT:
		take_transport(instance, (const void *)event, event->time);
		break;
	}
}

static void take_events(instance *instance, const clap_input_events_t *events)
{
	uint32_t count = events ? events->size(events) : 0;
	for (uint32_t i = 0; i < count; i++) {
		const clap_event_header_t *event = events->get(events, i);
		if (event)
			take_event(instance, event);
	}
}

/* Says to the host how the parameters stand that it reads. */
static void tell_readouts(timbrel *timbrel, const clap_output_events_t *events)
{
	for (uint32_t i = WIRE_PARAMETER_COUNT; events && i < OWN_PARAMETERS; i++) {
		double value = parameter_now(timbrel->instance.core, i);
		const clap_event_param_value_t event = {
			.header = {sizeof event, 0, CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_PARAM_VALUE, 0},
			.param_id = parameter_id(i),
			.note_id = -1,
			.port_index = -1,
			.channel = -1,
			.key = -1,
			.value = value,
		};
		if (value != timbrel->reported_values[i] && events->try_push(events, &event.header))
			timbrel->reported_values[i] = value;
	}
}

static clap_process_status process(const clap_plugin_t *plugin, const clap_process_t *process)
{
	timbrel *timbrel = of(plugin);
	instance *instance = &timbrel->instance;
	float *left = NULL, *right = NULL;
	if (process->audio_outputs_count && process->audio_outputs[0].channel_count == 2 &&
	    process->audio_outputs[0].data32) {
		left = process->audio_outputs[0].data32[0];
		right = process->audio_outputs[0].data32[1];
		process->audio_outputs[0].constant_mask = 0;
	}
	core_offline(instance->core, atomic_load(&timbrel->offline));
	if (timbrel->reset)
		end_all_sound(instance);
	timbrel->reset = false;
	if (process->transport)
		take_transport(instance, process->transport, 0);
	take_events(instance, process->in_events);
	bool complete = instance_run(instance, left, right, process->frames_count);
	tell_readouts(timbrel, process->out_events);
	return complete ? CLAP_PROCESS_CONTINUE : CLAP_PROCESS_ERROR;
}

/* ---- extensions ---- */

static uint32_t count_audio_ports(const clap_plugin_t *plugin, bool input)
{
	(void)plugin;
	return input ? 0 : 1;
}

static bool get_audio_port(const clap_plugin_t *plugin, uint32_t index, bool input, clap_audio_port_info_t *port)
{
	(void)plugin;
	if (input || index)
		return false;
	*port = (clap_audio_port_info_t){
		.name = "Output",
		.flags = CLAP_AUDIO_PORT_IS_MAIN,
		.channel_count = 2,
		.port_type = CLAP_PORT_STEREO,
		.in_place_pair = CLAP_INVALID_ID,
	};
	return true;
}

static uint32_t count_note_ports(const clap_plugin_t *plugin, bool input)
{
	(void)plugin;
	return input ? 1 : 0;
}

static bool get_note_port(const clap_plugin_t *plugin, uint32_t index, bool input, clap_note_port_info_t *port)
{
	(void)plugin;
	if (!input || index)
		return false;
	*port = (clap_note_port_info_t){
		.supported_dialects = CLAP_NOTE_DIALECT_CLAP | CLAP_NOTE_DIALECT_MIDI | CLAP_NOTE_DIALECT_MIDI_MPE,
		.preferred_dialect = CLAP_NOTE_DIALECT_MIDI, /* controllers and pedals come with the notes */
		.name = "Notes",
	};
	return true;
}

static uint32_t count_parameters(const clap_plugin_t *plugin)
{
	(void)plugin;
	return OWN_PARAMETERS;
}

static bool get_parameter(const clap_plugin_t *plugin, uint32_t index, clap_param_info_t *parameter)
{
	parameter_range range;
	if (!parameter_range_of(index, &range))
		return false;
	*parameter = (clap_param_info_t){.id = parameter_id(index), .min_value = range.low, .max_value = range.high};
	bool used = parameter_describe(of(plugin)->instance.core, index, parameter->name, &parameter->default_value);
	if (index >= WIRE_PARAMETER_COUNT)
		parameter->flags |= CLAP_PARAM_IS_READONLY;
	else if (index != WIRE_PANEL)
		parameter->flags |= CLAP_PARAM_IS_AUTOMATABLE;
	if (range.stepped)
		parameter->flags |= CLAP_PARAM_IS_STEPPED;
	if (!used)
		parameter->flags |= CLAP_PARAM_IS_HIDDEN;
	return true;
}

static bool get_value(const clap_plugin_t *plugin, clap_id id, double *value)
{
	uint32_t index = parameter_of_id(id);
	if (index < OWN_PARAMETERS)
		*value = parameter_now(of(plugin)->instance.core, index);
	return index < OWN_PARAMETERS;
}

static bool value_to_text(const clap_plugin_t *plugin, clap_id id, double value, char *text, uint32_t size)
{
	return parameter_text(of(plugin)->instance.core, parameter_of_id(id), value, text, size);
}

static bool text_to_value(const clap_plugin_t *plugin, clap_id id, const char *text, double *value)
{
	return parameter_value(of(plugin)->instance.core, parameter_of_id(id), text, value);
}

static void flush(const clap_plugin_t *plugin, const clap_input_events_t *input, const clap_output_events_t *output)
{
	take_events(&of(plugin)->instance, input);
	tell_readouts(of(plugin), output);
}

static int64_t write_stream(void *self, void *bytes, int32_t count)
{
	const clap_ostream_t *stream = self;
	return stream->write(stream, bytes, (uint64_t)count);
}

static int64_t read_stream(void *self, void *bytes, int32_t count)
{
	const clap_istream_t *stream = self;
	return stream->read(stream, bytes, (uint64_t)count);
}

static bool save(const clap_plugin_t *plugin, const clap_ostream_t *stream)
{
	return instance_save(&of(plugin)->instance, (void *)stream, write_stream);
}

static bool load(const clap_plugin_t *plugin, const clap_istream_t *stream)
{
	return instance_load(&of(plugin)->instance, (void *)stream, read_stream);
}

static uint32_t latency(const clap_plugin_t *plugin)
{
	return atomic_load(&of(plugin)->instance.latency);
}

static bool needs_real_time(const clap_plugin_t *plugin)
{
	(void)plugin;
	return false;
}

static bool set_render_mode(const clap_plugin_t *plugin, int32_t mode)
{
	atomic_store(&of(plugin)->offline, mode == CLAP_RENDER_OFFLINE);
	return mode == CLAP_RENDER_OFFLINE || mode == CLAP_RENDER_REALTIME;
}

static uint32_t tail(const clap_plugin_t *plugin)
{
	(void)plugin;
	return INT32_MAX; /* a held pedal sounds without end */
}

static bool load_preset(const clap_plugin_t *plugin, uint32_t kind, const char *location, const char *load_key)
{
	const char *name = kind == CLAP_PRESET_IN_FILE ? location : load_key;
	return name && core_load_preset(of(plugin)->instance.core, name);
}

static const void *get_extension(const clap_plugin_t *plugin, const char *id)
{
	static const clap_plugin_audio_ports_t audio_ports = {count_audio_ports, get_audio_port};
	static const clap_plugin_note_ports_t note_ports = {count_note_ports, get_note_port};
	static const clap_plugin_params_t params = {
		count_parameters, get_parameter, get_value, value_to_text, text_to_value, flush,
	};
	static const clap_plugin_state_t state = {save, load};
	static const clap_plugin_latency_t latencies = {latency};
	static const clap_plugin_render_t render = {needs_real_time, set_render_mode};
	static const clap_plugin_tail_t tails = {tail};
	static const clap_plugin_preset_load_t preset_load = {load_preset};
	static const struct {
		const char *id;
		const void *extension;
	} extensions[] = {
		{CLAP_EXT_AUDIO_PORTS, &audio_ports},
		{CLAP_EXT_NOTE_PORTS, &note_ports},
		{CLAP_EXT_PARAMS, &params},
		{CLAP_EXT_STATE, &state},
		{CLAP_EXT_LATENCY, &latencies},
		{CLAP_EXT_RENDER, &render},
		{CLAP_EXT_TAIL, &tails},
		{CLAP_EXT_PRESET_LOAD, &preset_load},
		{CLAP_EXT_PRESET_LOAD_DRAFT, &preset_load},
	};
	(void)plugin;
	for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
		if (strcmp(id, extensions[i].id) == 0)
			return extensions[i].extension;
	return NULL;
}

/* ---- life ---- */

static void request_callback(void *self)
{
	const timbrel *timbrel = self;
	timbrel->host->request_callback(timbrel->host);
}

static void log_line(void *self, bool urgent, const char *line)
{
	const timbrel *timbrel = self;
	const clap_host_log_t *log = host_extension(timbrel, CLAP_EXT_LOG);
	if (log)
		log->log(timbrel->host, urgent ? CLAP_LOG_ERROR : CLAP_LOG_WARNING, line);
	else
		fprintf(stderr, "%s\n", line);
}

static bool init(const clap_plugin_t *plugin)
{
	return instance_start(&of(plugin)->instance);
}

static void destroy(const clap_plugin_t *plugin)
{
	instance_end(&of(plugin)->instance);
	free(of(plugin));
}

static bool activate(const clap_plugin_t *plugin, double rate, uint32_t shortest, uint32_t longest)
{
	(void)shortest;
	timbrel *timbrel = of(plugin);
	uint32_t old_latency = atomic_load(&timbrel->instance.latency);
	if (!instance_activate(&timbrel->instance, rate, longest, atomic_load(&timbrel->offline)))
		return false;
	const clap_host_latency_t *host = host_extension(timbrel, CLAP_EXT_LATENCY);
	if (host && atomic_load(&timbrel->instance.latency) != old_latency)
		host->changed(timbrel->host);
	return true;
}

static void deactivate(const clap_plugin_t *plugin)
{
	instance_deactivate(&of(plugin)->instance);
}

static bool start_processing(const clap_plugin_t *plugin)
{
	(void)plugin;
	return true;
}

static void stop_processing(const clap_plugin_t *plugin)
{
	(void)plugin;
}

static void reset(const clap_plugin_t *plugin)
{
	of(plugin)->reset = true;
}

static void on_main_thread(const clap_plugin_t *plugin)
{
	timbrel *timbrel = of(plugin);
	uint32_t changes = instance_take(&timbrel->instance);
	const clap_host_params_t *params = host_extension(timbrel, CLAP_EXT_PARAMS);
	const clap_host_state_t *state = host_extension(timbrel, CLAP_EXT_STATE);
	if (changes & CHANGED_PARAMETERS && params)
		params->rescan(timbrel->host, CLAP_PARAM_RESCAN_VALUES | CLAP_PARAM_RESCAN_TEXT | CLAP_PARAM_RESCAN_INFO);
	if (changes & CHANGED_STATE && state)
		state->mark_dirty(timbrel->host);
	if (changes & CHANGED_LATENCY)
		timbrel->host->request_restart(timbrel->host);
}

static const clap_plugin_descriptor_t descriptor = {
	.clap_version = CLAP_VERSION_INIT,
	.id = "timbrel.instrument",
	.name = "timbrel",
	.vendor = "timbrel",
	.url = "",
	.manual_url = "",
	.support_url = "",
	.version = TIMBREL_VERSION,
	.description = "Instruments that a small network has learned from recordings",
	.features = (const char *[]){CLAP_PLUGIN_FEATURE_INSTRUMENT, CLAP_PLUGIN_FEATURE_SYNTHESIZER,
                                     CLAP_PLUGIN_FEATURE_STEREO, NULL},
};

static uint32_t count_plugins(const clap_plugin_factory_t *factory)
{
	(void)factory;
	return 1;
}

static const clap_plugin_descriptor_t *describe_plugin(const clap_plugin_factory_t *factory, uint32_t index)
{
	(void)factory;
	return index ? NULL : &descriptor;
}

static const clap_plugin_t *create(const clap_plugin_factory_t *factory, const clap_host_t *host, const char *id)
{
	(void)factory;
	timbrel *timbrel = strcmp(id, descriptor.id) == 0 ? calloc(1, sizeof *timbrel) : NULL;
	if (!timbrel)
		return NULL;
	timbrel->host = host;
	timbrel->instance.host = timbrel;
	timbrel->instance.changed = request_callback;
	timbrel->instance.say = log_line;
	timbrel->plugin = (clap_plugin_t){
		.desc = &descriptor,
		.plugin_data = timbrel,
		.init = init,
		.destroy = destroy,
		.activate = activate,
		.deactivate = deactivate,
		.start_processing = start_processing,
		.stop_processing = stop_processing,
		.reset = reset,
		.process = process,
		.get_extension = get_extension,
		.on_main_thread = on_main_thread,
	};
	return &timbrel->plugin;
}

static bool enter(const char *path)
{
	presets_lie_beside(path);
	return true;
}

static void leave(void)
{
}

static const void *get_factory(const char *id)
{
	static const clap_plugin_factory_t factory = {count_plugins, describe_plugin, create};
	if (strcmp(id, CLAP_PRESET_DISCOVERY_FACTORY_ID) == 0 || strcmp(id, CLAP_PRESET_DISCOVERY_FACTORY_ID_DRAFT) == 0)
		return &preset_factory;
	return strcmp(id, CLAP_PLUGIN_FACTORY_ID) == 0 ? &factory : NULL;
}

CLAP_EXPORT const clap_plugin_entry_t clap_entry = {CLAP_VERSION_INIT, enter, leave, get_factory};
