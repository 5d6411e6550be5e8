/* A small CLAP host: plays a text file of events through a plugin, and writes its sound as raw stereo float32.
 *
 *     clap_host PLUGIN.clap OUT [option=value …]     preset=NAME list=MOST draft, and the options and events of script.h
 *
 * Besides these events there are `choke CHANNEL KEY 0` and `reset`. What the plugin says and asks is printed, a line
 * each; a call in a thread that CLAP does not allow it in ends the host. Exit status 1: the plugin refused something.
 */
#include <clap/entry.h>
#include <clap/ext/latency.h>
#include <clap/ext/params.h>
#include <clap/ext/state.h>
#include <clap/plugin-factory.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clap_more.h"
#include "script.h"

typedef union {
	clap_event_header_t header;
	clap_event_note_t note;
	clap_event_note_expression_t expression;
	clap_event_param_value_t set;
	clap_event_midi_t midi;
} event;

static pthread_t main_thread;
static _Atomic bool wants_callback, wants_restart;
static uint64_t piece = 1 << 20;

static void on_main(const char *what)
{
	if (!pthread_equal(pthread_self(), main_thread))
		fail("%s in a thread that is not the main one", what);
}

/* ---- what the plugin may ask */

static void rescan(const clap_host_t *host, clap_param_rescan_flags flags)
{
	(void)host;
	on_main("rescan");
	printf("rescan %u\n", flags);
}

static void clear(const clap_host_t *host, clap_id id, clap_param_clear_flags flags)
{
	(void)host, (void)id, (void)flags;
	on_main("clear");
}

static void request_flush(const clap_host_t *host)
{
	(void)host;
}

static void mark_dirty(const clap_host_t *host)
{
	(void)host;
	on_main("mark_dirty");
	printf("dirty\n");
}

static void latency_changed(const clap_host_t *host)
{
	(void)host;
	on_main("latency changed");
	printf("latency changed\n");
}

static void say(const clap_host_t *host, int32_t severity, const char *message)
{
	(void)host, (void)severity;
	printf("log %s\n", message);
}

static const void *get_extension(const clap_host_t *host, const char *id)
{
	static const clap_host_params_t params = {rescan, clear, request_flush};
	static const clap_host_state_t state = {mark_dirty};
	static const clap_host_latency_t latency = {latency_changed};
	static const clap_host_log_t log = {say};
	(void)host;
	return strcmp(id, CLAP_EXT_PARAMS) == 0    ? (const void *)&params
	       : strcmp(id, CLAP_EXT_STATE) == 0   ? (const void *)&state
	       : strcmp(id, CLAP_EXT_LATENCY) == 0 ? (const void *)&latency
	       : strcmp(id, CLAP_EXT_LOG) == 0     ? (const void *)&log
	                                           : NULL;
}

static void request_restart(const clap_host_t *host)
{
	(void)host;
	wants_restart = true;
}

static void request_process(const clap_host_t *host)
{
	(void)host;
}

static void request_callback(const clap_host_t *host)
{
	(void)host;
	wants_callback = true;
}

static const clap_host_t host = {
	CLAP_VERSION_INIT, NULL,           "test", "timbrel", "", "1", get_extension, request_restart,
	request_process,   request_callback,
};

static void idle(const clap_plugin_t *plugin)
{
	while (atomic_exchange(&wants_callback, false))
		plugin->on_main_thread(plugin);
}

/* ---- events */

static event note(uint16_t type, const line *line)
{
	return (event){.note = {{sizeof(clap_event_note_t), 0, 0, type, 0}, -1, 0, (int16_t)line->numbers[0],
	                        (int16_t)line->numbers[1], line->numbers[2]}};
}

/* False: the line is none of the events of a list. */
static bool make_event(const line *line, event *to)
{
	const double *n = line->numbers;
	if (strcmp(line->word, "on") == 0)
		*to = note(CLAP_EVENT_NOTE_ON, line);
	else if (strcmp(line->word, "off") == 0)
		*to = note(CLAP_EVENT_NOTE_OFF, line);
	else if (strcmp(line->word, "choke") == 0)
		*to = note(CLAP_EVENT_NOTE_CHOKE, line);
	else if (strcmp(line->word, "pressure") == 0)
		*to = (event){.expression = {{sizeof to->expression, 0, 0, CLAP_EVENT_NOTE_EXPRESSION, 0},
		                             CLAP_NOTE_EXPRESSION_PRESSURE, -1, 0, (int16_t)n[0], (int16_t)n[1], n[2]}};
	else if (strcmp(line->word, "set") == 0)
		*to = (event){.set = {.header = {sizeof to->set, 0, 0, CLAP_EVENT_PARAM_VALUE, 0},
		                      .param_id = (clap_id)n[0], .note_id = -1, .port_index = -1, .channel = -1, .key = -1,
		                      .value = n[1]}};
	else if (strcmp(line->word, "midi") == 0)
		*to = (event){.midi = {.header = {sizeof to->midi, 0, 0, CLAP_EVENT_MIDI, 0},
		                       .data = {(uint8_t)n[0], (uint8_t)n[1], (uint8_t)n[2]}}};
	else
		return false;
	return true;
}

typedef struct {
	event *events;
	uint32_t count;
} list;

static uint32_t list_size(const clap_input_events_t *in)
{
	return ((const list *)in->ctx)->count;
}

static const clap_event_header_t *list_get(const clap_input_events_t *in, uint32_t index)
{
	return &((const list *)in->ctx)->events[index].header;
}

static bool push(const clap_output_events_t *out, const clap_event_header_t *event)
{
	(void)out;
	const clap_event_param_value_t *set = (const void *)event;
	if (event->type != CLAP_EVENT_PARAM_VALUE)
		fail("an event of type %u comes out", event->type);
	printf("read %u %g\n", set->param_id, set->value);
	return true;
}

/* ---- state */

static int64_t read_piece(const clap_istream_t *stream, void *buffer, uint64_t size)
{
	return (int64_t)fread(buffer, 1, size < piece ? size : piece, stream->ctx);
}

static int64_t write_piece(const clap_ostream_t *stream, const void *buffer, uint64_t size)
{
	return (int64_t)fwrite(buffer, 1, size < piece ? size : piece, stream->ctx);
}

static void save(const clap_plugin_t *plugin, const char *path)
{
	const clap_plugin_state_t *state = plugin->get_extension(plugin, CLAP_EXT_STATE);
	FILE *file = fopen(path, "wb");
	if (!file || !state->save(plugin, &(clap_ostream_t){file, write_piece}) || fclose(file))
		fail("no state was saved in %s", path);
}

/* ---- the session */

static void describe(const clap_plugin_t *plugin)
{
	const clap_plugin_params_t *params = plugin->get_extension(plugin, CLAP_EXT_PARAMS);
	for (uint32_t i = 0; i < params->count(plugin); i++) {
		clap_param_info_t info;
		double value = 0, back = 0;
		char low[64], high[64], now[64];
		if (!params->get_info(plugin, i, &info) || !params->get_value(plugin, info.id, &value) ||
		    !params->value_to_text(plugin, info.id, info.min_value, low, sizeof low) ||
		    !params->value_to_text(plugin, info.id, info.max_value, high, sizeof high) ||
		    !params->value_to_text(plugin, info.id, value, now, sizeof now) ||
		    !params->text_to_value(plugin, info.id, now, &back))
			fail("parameter %u has no description", i);
		printf("parameter %u|%s|%u|%s|%s|%s|%g|%g\n", info.id, info.name, info.flags, low, high, now,
		       info.default_value, back);
	}
	clap_param_info_t none;
	double value;
	char text[8];
	if (params->get_info(plugin, params->count(plugin), &none) || params->get_value(plugin, UINT32_MAX, &value) ||
	    params->value_to_text(plugin, UINT32_MAX, 0, text, sizeof text) ||
	    params->text_to_value(plugin, UINT32_MAX, "0", &value) || params->text_to_value(plugin, 0, "much", &value))
		fail("the plugin describes what it does not have");
}

static void activate(const clap_plugin_t *plugin, double rate, uint32_t longest)
{
	const clap_plugin_latency_t *latency = plugin->get_extension(plugin, CLAP_EXT_LATENCY);
	if (!plugin->activate(plugin, rate, 1, longest) || !plugin->start_processing(plugin))
		fail("the plugin cannot be activated");
	printf("latency %u\n", latency->get(plugin));
}

static void deactivate(const clap_plugin_t *plugin)
{
	plugin->stop_processing(plugin);
	plugin->deactivate(plugin);
}

static void set_mode(const clap_plugin_t *plugin, int32_t mode)
{
	const clap_plugin_render_t *render = plugin->get_extension(plugin, CLAP_EXT_RENDER);
	if (render->has_hard_realtime_requirement(plugin) || !render->set(plugin, mode))
		fail("the plugin has no mode %d", mode);
}

static void load(const clap_plugin_t *plugin, const char *path)
{
	const clap_plugin_state_t *state = plugin->get_extension(plugin, CLAP_EXT_STATE);
	FILE *file = fopen(path, "rb");
	if (!file)
		fail("%s cannot be read", path);
	printf("load %s\n", state->load(plugin, &(clap_istream_t){file, read_piece}) ? "taken" : "refused");
	fclose(file);
}

/* What a line does before its block. */
static void obey(const clap_plugin_t *plugin, const line *line, clap_event_transport_t *transport)
{
	if (strcmp(line->word, "tempo") == 0) {
		transport->flags |= CLAP_TRANSPORT_HAS_TEMPO;
		transport->tempo = line->numbers[0];
	} else if (strcmp(line->word, "play") == 0) {
		transport->flags |= CLAP_TRANSPORT_IS_PLAYING | CLAP_TRANSPORT_HAS_BEATS_TIMELINE;
		transport->song_pos_beats = (clap_beattime)(line->numbers[0] * CLAP_BEATTIME_FACTOR);
	} else if (strcmp(line->word, "stop") == 0) {
		transport->flags &= ~(uint32_t)CLAP_TRANSPORT_IS_PLAYING;
	} else if (strcmp(line->word, "reset") == 0) {
		plugin->reset(plugin);
	} else if (strcmp(line->word, "realtime") == 0) {
		set_mode(plugin, CLAP_RENDER_REALTIME);
	} else if (strcmp(line->word, "offline") == 0) {
		set_mode(plugin, CLAP_RENDER_OFFLINE);
	} else if (strcmp(line->word, "load") == 0) {
		load(plugin, line->text);
	} else {
		fail("not an event: %s", line->word);
	}
}

static void play(const clap_plugin_t *plugin, double rate, uint64_t samples, const uint32_t *blocks, const line *next,
                 FILE *out)
{
	static event events[MOST_EVENTS];
	clap_event_transport_t transport = {.header = {sizeof transport, 0, 0, CLAP_EVENT_TRANSPORT, 0}};
	uint32_t longest = 0, turn = 0, count;
	for (const uint32_t *block = blocks; *block; block++)
		longest = *block > longest ? *block : longest;
	float *sound[2] = {malloc(longest * sizeof(float)), malloc(longest * sizeof(float))};
	activate(plugin, rate, longest);
	for (uint64_t done = 0; done < samples; done += count) {
		count = blocks[turn] < samples - done ? blocks[turn] : (uint32_t)(samples - done);
		turn = blocks[turn + 1] ? turn + 1 : 0;
		list in = {events, 0};
		for (; next->time < done + count; next++) {
			if (!make_event(next, &events[in.count]))
				obey(plugin, next, &transport);
			else
				events[in.count++].header.time = (uint32_t)(next->time - done);
		}
		clap_audio_buffer_t output = {.data32 = sound, .channel_count = 2};
		clap_process_t process = {
			.steady_time = (int64_t)done,
			.frames_count = count,
			.transport = &transport,
			.audio_outputs = &output,
			.audio_outputs_count = 1,
			.in_events = &(clap_input_events_t){&in, list_size, list_get},
			.out_events = &(clap_output_events_t){NULL, push},
		};
		if (plugin->process(plugin, &process) == CLAP_PROCESS_ERROR)
			fail("the plugin does not process");
		for (uint32_t i = 0; i < count; i++)
			fwrite((float[2]){sound[0][i], sound[1][i]}, sizeof(float), 2, out);
		if (transport.flags & CLAP_TRANSPORT_HAS_BEATS_TIMELINE && transport.flags & CLAP_TRANSPORT_IS_PLAYING)
			transport.song_pos_beats += (clap_beattime)(count / rate * transport.tempo / 60 * CLAP_BEATTIME_FACTOR);
		idle(plugin);
		if (atomic_exchange(&wants_restart, false)) {
			printf("restart\n");
			deactivate(plugin);
			activate(plugin, rate, longest);
		}
	}
	deactivate(plugin);
	free(sound[0]);
	free(sound[1]);
}

/* ---- the browser of presets ---- */

static bool hear_preset(const clap_preset_receiver_t *receiver, const char *name, const char *load_key)
{
	uint32_t *left = receiver->receiver_data;
	if (*left == 0)
		return false;
	--*left;
	printf("listed %s by %s", name, load_key);
	return true;
}

static void hear_plugin(const clap_preset_receiver_t *receiver, const clap_universal_plugin_id_t *plugin)
{
	(void)receiver;
	printf(" for %s %s", plugin->abi, plugin->id);
}

static void hear_flags(const clap_preset_receiver_t *receiver, uint32_t flags)
{
	(void)receiver;
	printf(flags == CLAP_PRESET_IS_SHIPPED ? ", shipped\n" : ", the user's\n");
}

static void hear_description(const clap_preset_receiver_t *receiver, const char *description)
{
	(void)receiver;
	printf("described %s\n", description);
}

static void hear_error(const clap_preset_receiver_t *receiver, int32_t wrong, const char *message)
{
	(void)receiver;
	printf("listing failed %d %s\n", wrong, message);
}

static bool hear_location(const clap_preset_indexer_t *indexer, const clap_preset_location_t *location)
{
	*(clap_preset_location_t *)indexer->indexer_data = *location;
	return true;
}

/* Lists as many presets as are wanted. */
static void list_presets(const clap_plugin_entry_t *entry, const char *factory_id, uint32_t most)
{
	clap_preset_location_t location = {0};
	clap_preset_indexer_t indexer = {.indexer_data = &location, .declare_location = hear_location};
	clap_preset_receiver_t receiver = {
		.receiver_data = &most,
		.on_error = hear_error,
		.begin_preset = hear_preset,
		.add_plugin_id = hear_plugin,
		.set_flags = hear_flags,
		.set_description = hear_description,
	};
	const clap_preset_factory_t *factory = entry->get_factory(factory_id);
	if (!factory || factory->count(factory) != 1 || factory->create(factory, &indexer, "another"))
		fail("the plugin lists no presets");
	const char *id = factory->get_descriptor(factory, 0)->id;
	const clap_preset_provider_t *provider = factory->create(factory, &indexer, id);
	if (!provider->init(provider) || location.kind != CLAP_PRESET_IN_PLUGIN || location.location)
		fail("the presets are nowhere");
	if (provider->get_metadata(provider, CLAP_PRESET_IN_FILE, "/etc/passwd", &receiver))
		fail("any file has presets");
	provider->get_metadata(provider, location.kind, location.location, &receiver);
	provider->destroy(provider);
}

int main(int count, char **words)
{
	main_thread = pthread_self();
	if (count < 3)
		fail("clap_host PLUGIN.clap OUT [option=value …]: the options are in its source");
	void *binary = dlopen(words[1], RTLD_LOCAL | RTLD_NOW);
	const clap_plugin_entry_t *entry = binary ? dlsym(binary, "clap_entry") : NULL;
	if (!entry || !entry->init(words[1]))
		fail("%s is no CLAP plugin: %s", words[1], dlerror());
	const clap_plugin_factory_t *factory = entry->get_factory(CLAP_PLUGIN_FACTORY_ID);
	if (factory->create_plugin(factory, &host, "another"))
		fail("the factory makes what it does not have");
	const char *id = factory->get_plugin_descriptor(factory, 0)->id;
	const clap_plugin_t *plugin = factory->create_plugin(factory, &host, id);
	if (!plugin || !plugin->init(plugin))
		fail("%s cannot be begun", words[1]);

	const char *text;
	double rate = (text = option(count, words, "rate")) ? strtod(text, NULL) : 48000;
	uint64_t samples = (text = option(count, words, "samples")) ? strtoull(text, NULL, 10) : 48000;
	uint32_t *blocks = read_blocks((text = option(count, words, "blocks")) ? text : "64");
	line *lines = read_lines(option(count, words, "events"));
	FILE *out = fopen(words[2], "wb");
	if (!out)
		fail("%s cannot be written", words[2]);
	if ((text = option(count, words, "piece")))
		piece = strtoull(text, NULL, 10);
	if (option(count, words, "offline"))
		set_mode(plugin, CLAP_RENDER_OFFLINE);
	if ((text = option(count, words, "list")))
		list_presets(entry, CLAP_PRESET_DISCOVERY_FACTORY_ID, (uint32_t)strtoul(text, NULL, 10));
	if (option(count, words, "draft"))
		list_presets(entry, CLAP_PRESET_DISCOVERY_FACTORY_ID_DRAFT, 1);
	if ((text = option(count, words, "preset"))) {
		const clap_plugin_preset_load_t *preset = plugin->get_extension(plugin, CLAP_EXT_PRESET_LOAD);
		printf("preset %s\n", preset->from_location(plugin, CLAP_PRESET_IN_PLUGIN, NULL, text) ? "taken" : "refused");
	}
	if ((text = option(count, words, "load")))
		load(plugin, text);
	idle(plugin);
	play(plugin, rate, samples, blocks, lines, out);
	if (option(count, words, "describe"))
		describe(plugin);
	if ((text = option(count, words, "save")))
		save(plugin, text);
	idle(plugin);
	plugin->destroy(plugin);
	entry->deinit();
	dlclose(binary);
	free(blocks);
	free(lines);
	return fclose(out) != 0;
}
