/* A small VST3 host: plays a text file of events through a plugin, and writes its sound as raw stereo float32.
 *
 *     vst3_host BINARY.so OUT [option=value …]     the options and events of script.h
 *
 * A parameter is set to its normalised value. MIDI reaches the plugin as VST3 has it: notes in a list, controllers as
 * what IMidiMapping assigns to them. `flush` is a block of no samples; with the option `early` the latency is asked for
 * before the plugin is active. What the plugin says and asks is printed, a line each; a call in a thread that VST3 does
 * not allow it in ends the host. Exit status 1: the plugin refused something.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

typedef struct v3_event_handler v3_event_handler;
typedef struct v3_timer_handler v3_timer_handler;
typedef struct v3_unit_info v3_unit_info;
typedef struct v3_program_list_info v3_program_list_info;

#include <travesty/audio_processor.h>
#include <travesty/component.h>
#include <travesty/edit_controller.h>
#include <travesty/factory.h>
#include <travesty/unit.h>

#include "script.h"

static pthread_t main_thread;
static int32_t piece = 1 << 20;
static bool latency_changed, early;

static struct v3_component **component;
static struct v3_audio_processor **processor;
static struct v3_edit_controller **controller;
static struct v3_midi_mapping **mapping;
static struct v3_unit_information **units;

/* ---- objects that live as long as the host */

static int references; /* to all of them together */

static uint32_t add_reference(void *self)
{
	(void)self;
	return (uint32_t)++references;
}

static uint32_t drop_reference(void *self)
{
	(void)self;
	return (uint32_t)--references;
}

static v3_result no_interface(void *self, const v3_tuid iid, void **to)
{
	(void)self, (void)iid;
	*to = NULL;
	return V3_NO_INTERFACE;
}

#define UNKNOWN .query_interface = no_interface, .ref = add_reference, .unref = drop_reference

/* ---- parameters of a block */

typedef struct {
	const struct v3_param_value_queue *functions;
	v3_param_id id;
	int32_t count;
	struct {
		int32_t offset;
		double value;
	} points[1024];
} queue;

typedef struct {
	const struct v3_param_changes *functions;
	int32_t count;
	queue *queues[256];
} changes;

static v3_param_id queue_id(void *self)
{
	return ((queue *)self)->id;
}

static int32_t queue_count(void *self)
{
	return ((queue *)self)->count;
}

static v3_result queue_get(void *self, int32_t index, int32_t *offset, double *value)
{
	const queue *queue = self;
	if (index < 0 || index >= queue->count)
		return V3_INVALID_ARG;
	*offset = queue->points[index].offset;
	*value = queue->points[index].value;
	return V3_OK;
}

static v3_result queue_add(void *self, int32_t offset, double value, int32_t *index)
{
	queue *queue = self;
	if (queue->count == 1024)
		fail("too many values of a parameter in a block");
	*index = queue->count;
	queue->points[queue->count].offset = offset;
	queue->points[queue->count++].value = value;
	return V3_OK;
}

static int32_t changes_count(void *self)
{
	return ((changes *)self)->count;
}

static struct v3_param_value_queue **changes_get(void *self, int32_t index)
{
	return (struct v3_param_value_queue **)((changes *)self)->queues[index];
}

static struct v3_param_value_queue **changes_add(void *self, v3_param_id *id, int32_t *index)
{
	static const struct v3_param_value_queue functions = {
		UNKNOWN,
		.get_param_id = queue_id,
		.get_point_count = queue_count,
		.get_point = queue_get,
		.add_point = queue_add,
	};
	changes *changes = self;
	for (*index = 0; *index < changes->count; ++*index)
		if (changes->queues[*index]->id == *id)
			return changes_get(self, *index);
	if (changes->count == 256)
		fail("too many parameters in a block");
	queue *new = calloc(1, sizeof *new);
	new->functions = &functions;
	new->id = *id;
	changes->queues[changes->count++] = new;
	return (struct v3_param_value_queue **)new;
}

static const struct v3_param_changes changes_functions = {
	UNKNOWN, .get_param_count = changes_count, .get_param_data = changes_get, .add_param_data = changes_add,
};

static void clear(changes *changes)
{
	for (int32_t i = 0; i < changes->count; i++)
		free(changes->queues[i]);
	changes->count = 0;
}

/* ---- notes of a block */

typedef struct {
	const struct v3_event_list *functions;
	uint32_t count;
	struct v3_event events[4096];
} notes;

static uint32_t notes_count(void *self)
{
	return ((notes *)self)->count;
}

static v3_result notes_get(void *self, int32_t index, struct v3_event *event)
{
	*event = ((notes *)self)->events[index];
	return V3_OK;
}

static const struct v3_event_list notes_functions = {UNKNOWN, .get_event_count = notes_count, .get_event = notes_get};

/* ---- state */

typedef struct {
	const struct v3_bstream *functions;
	FILE *file;
} stream;

static v3_result stream_read(void *self, void *buffer, int32_t count, int32_t *done)
{
	*done = (int32_t)fread(buffer, 1, (size_t)(count < piece ? count : piece), ((stream *)self)->file);
	return V3_OK;
}

static v3_result stream_write(void *self, void *buffer, int32_t count, int32_t *done)
{
	*done = (int32_t)fwrite(buffer, 1, (size_t)(count < piece ? count : piece), ((stream *)self)->file);
	return V3_OK;
}

static const struct v3_bstream stream_functions = {UNKNOWN, .read = stream_read, .write = stream_write};

static void load(const char *path)
{
	stream stream = {&stream_functions, fopen(path, "rb")};
	if (!stream.file)
		fail("%s cannot be read", path);
	printf("load %s\n", (*component)->set_state(component, (void *)&stream) == V3_OK ? "taken" : "refused");
	rewind(stream.file);
	(*controller)->set_component_state(controller, (void *)&stream);
	fclose(stream.file);
}

static void save(const char *path)
{
	stream stream = {&stream_functions, fopen(path, "wb")};
	if (!stream.file || (*component)->get_state(component, (void *)&stream) != V3_OK || fclose(stream.file))
		fail("no state was saved in %s", path);
}

/* ---- what the plugin may ask */

struct unit_handler {
	struct v3_funknown;
	v3_result (*notify_unit_selection)(void *self, int32_t unit);
	v3_result (*notify_program_list_change)(void *self, int32_t list, int32_t program);
};

static void on_main(const char *what)
{
	if (!pthread_equal(pthread_self(), main_thread))
		fail("%s in a thread that is not the main one", what);
}

static void scan(void);

static v3_result restart_component(void *self, int32_t flags)
{
	(void)self;
	on_main("restart");
	printf("restart %d\n", flags);
	latency_changed |= (flags & V3_RESTART_LATENCY_CHANGED) != 0;
	if (flags & V3_RESTART_PARAM_VALUES_CHANGED)
		scan();
	return V3_OK;
}

static v3_result edit(void *self, v3_param_id id)
{
	(void)self, (void)id;
	return V3_OK;
}

static v3_result perform_edit(void *self, v3_param_id id, double value)
{
	(void)self, (void)id, (void)value;
	return V3_OK;
}

static v3_result set_dirty(void *self, v3_bool state)
{
	(void)self;
	on_main("dirty");
	printf("dirty %d\n", state);
	return V3_OK;
}

static v3_result notify_programs(void *self, int32_t list, int32_t program)
{
	(void)self;
	on_main("programs");
	printf("programs %d %d\n", list, program);
	return V3_OK;
}

static v3_result handler_part(void *self, const v3_tuid iid, void **to)
{
	static const struct v3_component_handler2 second = {UNKNOWN, .set_dirty = set_dirty};
	static const struct unit_handler unit = {UNKNOWN, .notify_program_list_change = notify_programs};
	static const struct v3_component_handler2 *const second_object = &second;
	static const struct unit_handler *const unit_object = &unit;
	static const v3_tuid unit_handler_iid = V3_ID(0x4B5147F8, 0x4654486B, 0x8DAB30BA, 0x163A3C56);
	(void)self;
	*to = v3_tuid_match(iid, v3_component_handler2_iid) ? (void *)&second_object
	      : v3_tuid_match(iid, unit_handler_iid)        ? (void *)&unit_object
	                                                    : NULL;
	references += *to != NULL;
	return *to ? V3_OK : V3_NO_INTERFACE;
}

/* ---- events */

static void set(changes *changes, int32_t offset, v3_param_id id, double value)
{
	int32_t index;
	struct v3_param_value_queue **queue = changes_add(changes, &id, &index);
	(*queue)->add_point(queue, offset, value, &index);
	(*controller)->set_parameter_normalised(controller, id, value);
}

static void assign(changes *changes, int32_t offset, int channel, int number, double value)
{
	v3_param_id id;
	if ((*mapping)->get_midi_controller_assignment(mapping, 0, (int16_t)channel, (int16_t)number, &id) != V3_OK)
		fail("controller %d is assigned to nothing", number);
	set(changes, offset, id, value);
}

static void add_note(notes *notes, int32_t offset, uint16_t type, const double *n)
{
	struct v3_event event = {.sample_offset = offset, .type = type};
	int16_t channel = (int16_t)n[0], key = (int16_t)n[1];
	float value = (float)n[2];
	if (notes->count == 4096)
		fail("too many notes in a block");
	if (type == V3_EVENT_NOTE_ON)
		event.note_on = (struct v3_event_note_on){channel, key, 0, value, 0, -1};
	else if (type == V3_EVENT_NOTE_OFF)
		event.note_off = (struct v3_event_note_off){channel, key, value, -1, 0};
	else
		event.poly_pressure = (struct v3_event_poly_pressure){channel, key, value, -1};
	notes->events[notes->count++] = event;
}

static void add_midi(changes *changes, notes *notes, int32_t offset, const double *n)
{
	int status = (int)n[0], channel = status & 15;
	double key[3] = {channel, n[1], n[2] / 127};
	switch (status & 0xf0) {
	case 0x80:
	case 0x90:
		add_note(notes, offset, (status & 0xf0) == 0x80 || n[2] == 0 ? V3_EVENT_NOTE_OFF : V3_EVENT_NOTE_ON, key);
		break;
	case 0xa0:
		add_note(notes, offset, V3_EVENT_POLY_PRESSURE, key);
		break;
	case 0xb0:
		assign(changes, offset, channel, (int)n[1], n[2] / 127);
		break;
	case 0xc0:
		assign(changes, offset, channel, 130, n[1] / 127);
		break;
	case 0xd0:
		assign(changes, offset, channel, 128, n[1] / 127);
		break;
	case 0xe0:
		assign(changes, offset, channel, 129, (n[1] + n[2] * 128) / 16383);
		break;
	}
}

/* False: the line is none of the events of a block. */
static bool add_line(const line *line, int32_t offset, changes *changes, notes *notes)
{
	if (strcmp(line->word, "midi") == 0)
		add_midi(changes, notes, offset, line->numbers);
	else if (strcmp(line->word, "set") == 0)
		set(changes, offset, (v3_param_id)line->numbers[0], line->numbers[1]);
	else if (strcmp(line->word, "on") == 0)
		add_note(notes, offset, V3_EVENT_NOTE_ON, line->numbers);
	else if (strcmp(line->word, "off") == 0)
		add_note(notes, offset, V3_EVENT_NOTE_OFF, line->numbers);
	else if (strcmp(line->word, "pressure") == 0)
		add_note(notes, offset, V3_EVENT_POLY_PRESSURE, line->numbers);
	else
		return false;
	return true;
}

/* ---- the session */

static char *text(const int16_t *units)
{
	static char texts[8][256];
	static int turn;
	char *to = texts[turn = (turn + 1) % 8];
	int count = 0;
	for (; *units && count < 250; units++)
		count += sprintf(to + count, *units >= 0 && *units < 128 ? "%c" : "<%04x>", *units & 0xffff);
	to[count] = 0;
	return to;
}

static void describe(void)
{
	v3_str_128 low, high, now;
	for (int32_t i = 0; i < (*controller)->get_parameter_count(controller); i++) {
		struct v3_param_info is;
		double back = 0, value;
		(*controller)->get_parameter_info(controller, i, &is);
		value = (*controller)->get_parameter_normalised(controller, is.param_id);
		(*controller)->get_parameter_string_for_value(controller, is.param_id, 0, low);
		(*controller)->get_parameter_string_for_value(controller, is.param_id, 1, high);
		(*controller)->get_parameter_string_for_value(controller, is.param_id, value, now);
		(*controller)->get_parameter_value_for_string(controller, is.param_id, now, &back);
		printf("parameter %u|%s|%d|%d|%s|%s|%s|%.9g|%.9g\n", is.param_id, text(is.title), is.flags, is.step_count,
		       text(low), text(high), text(now), is.default_normalised_value, back);
	}
	v3_program_list_info list;
	(*units)->get_program_list_info(units, 0, &list);
	for (int32_t i = 0; i < list.programCount; i++) {
		(*units)->get_program_name(units, list.id, i, now);
		printf("program %d|%s\n", i, text(now));
	}
}

/* Hosts read all parameters before they play. */
static void scan(void)
{
	struct v3_param_info is;
	for (int32_t i = 0; i < (*controller)->get_parameter_count(controller); i++) {
		if ((*controller)->get_parameter_info(controller, i, &is) != V3_OK)
			fail("parameter %d has no description", i);
		(*controller)->get_parameter_normalised(controller, is.param_id);
	}
}

/* Asks for what there is not: each must be refused. */
static void ask_nonsense(void)
{
	struct v3_param_info parameter;
	struct v3_bus_info bus;
	v3_param_id id;
	v3_str_128 name;
	v3_unit_info unit;
	v3_program_list_info list;
	v3_speaker_arrangement mono = 1, stereo = 3;
	int32_t count = (*controller)->get_parameter_count(controller);
	double nan = strtod("nan", NULL);
	void *none;
	if ((*controller)->get_parameter_info(controller, -1, &parameter) == V3_OK ||
	    (*controller)->get_parameter_info(controller, count, &parameter) == V3_OK ||
	    (*controller)->set_parameter_normalised(controller, 0xffffffff, .5) == V3_OK ||
	    (*controller)->set_parameter_normalised(controller, 0, nan) == V3_OK ||
	    (*controller)->get_parameter_normalised(controller, 99999) != 0 ||
	    (*controller)->get_parameter_string_for_value(controller, 99999, 0, name) == V3_OK ||
	    (*controller)->get_parameter_value_for_string(controller, 99999, name, &nan) == V3_OK ||
	    (*controller)->create_view(controller, "editor") ||
	    (*component)->get_bus_info(component, V3_AUDIO, V3_INPUT, 0, &bus) == V3_OK ||
	    (*component)->get_bus_info(component, V3_AUDIO, V3_OUTPUT, 1, &bus) == V3_OK ||
	    (*component)->get_bus_info(component, 7, 7, -1, &bus) == V3_OK ||
	    (*component)->activate_bus(component, V3_AUDIO, V3_INPUT, 0, 1) == V3_OK ||
	    (*component)->set_active(component, 1) == V3_OK || /* at no rate yet */
	    (*component)->set_state(component, NULL) == V3_OK || (*component)->get_state(component, NULL) == V3_OK ||
	    (*processor)->set_bus_arrangements(processor, NULL, 0, &mono, 1) == V3_OK ||
	    (*processor)->set_bus_arrangements(processor, &stereo, 1, &stereo, 1) == V3_OK ||
	    (*processor)->can_process_sample_size(processor, V3_SAMPLE_64) == V3_OK ||
	    (*mapping)->get_midi_controller_assignment(mapping, 1, 0, 1, &id) == V3_OK ||
	    (*mapping)->get_midi_controller_assignment(mapping, 0, 16, 1, &id) == V3_OK ||
	    (*mapping)->get_midi_controller_assignment(mapping, 0, 0, 131, &id) == V3_OK ||
	    (*units)->get_unit_info(units, 1, &unit) == V3_OK ||
	    (*units)->get_program_list_info(units, -1, &list) == V3_OK ||
	    (*units)->get_program_name(units, 1, 128, name) == V3_OK ||
	    (*units)->get_program_name(units, 0, 0, name) == V3_OK ||
	    (*component)->query_interface(component, (const uint8_t *)"no such interface", &none) == V3_OK)
		fail("the plugin has what it does not have");
}

static void ask_latency(void)
{
	printf("latency %u\n", (*processor)->get_latency_samples(processor));
}

static void activate(double rate, uint32_t longest, int32_t mode)
{
	struct v3_process_setup setup = {mode, V3_SAMPLE_32, (int32_t)longest, rate};
	if ((*processor)->setup_processing(processor, &setup) != V3_OK)
		fail("the plugin cannot be set up");
	if (early)
		ask_latency();
	if ((*component)->set_active(component, 1) != V3_OK)
		fail("the plugin cannot be activated");
	(*processor)->set_processing(processor, 1);
	if (!early)
		ask_latency();
}

static void deactivate(void)
{
	(*processor)->set_processing(processor, 0);
	(*component)->set_active(component, 0);
}

typedef struct {
	int32_t mode;
	bool flush;
	double told; /* the last value of the only parameter that the plugin moves: the host passes on what is another */
	struct v3_process_context context;
} session;

/* What a line does before its block. */
static void obey(const line *line, session *session)
{
	if (strcmp(line->word, "tempo") == 0) {
		session->context.state |= V3_PROCESS_CTX_TEMPO_VALID;
		session->context.bpm = line->numbers[0];
	} else if (strcmp(line->word, "play") == 0) {
		double samples = line->numbers[0] * 60 / session->context.bpm * session->context.sample_rate;
		session->context.state |= V3_PROCESS_CTX_PLAYING;
		session->context.project_time_in_samples = (int64_t)samples;
	} else if (strcmp(line->word, "stop") == 0) {
		session->context.state &= ~(uint32_t)V3_PROCESS_CTX_PLAYING;
	} else if (strcmp(line->word, "realtime") == 0) {
		session->mode = V3_REALTIME;
	} else if (strcmp(line->word, "offline") == 0) {
		session->mode = V3_OFFLINE;
	} else if (strcmp(line->word, "flush") == 0) {
		session->flush = true;
	} else if (strcmp(line->word, "load") == 0) {
		load(line->text);
	} else {
		fail("not an event: %s", line->word);
	}
}

static void print_readout(v3_param_id id, double value)
{
	v3_str_128 said;
	if ((*controller)->get_parameter_string_for_value(controller, id, value, said) != V3_OK)
		fail("parameter %u moves and has no text", id);
	printf("read %u %s\n", id, text(said));
}

static void process(session *session, changes *in, notes *notes, float **sound, int32_t count)
{
	changes out = {&changes_functions, 0, {NULL}};
	struct v3_audio_bus_buffers bus = {.num_channels = 2, .channel_buffers_32 = sound};
	struct v3_process_data data = {
		.process_mode = session->mode,
		.symbolic_sample_size = V3_SAMPLE_32,
		.nframes = count,
		.num_output_buses = count ? 1 : 0,
		.outputs = count ? &bus : NULL,
		.input_params = (void *)in,
		.output_params = (void *)&out,
		.input_events = (void *)notes,
		.ctx = count ? &session->context : NULL,
	};
	if ((*processor)->process(processor, &data) != V3_OK)
		fail("the plugin does not process");
	clear(in);
	notes->count = 0;
	for (int32_t i = 0; i < out.count; i++) {
		const queue *queue = out.queues[i];
		double value = queue->points[queue->count - 1].value;
		bool changes = queue->id == 0xfff;
		if (!changes)
			print_readout(queue->id, value);
		if (!changes || value != session->told)
			(*controller)->set_parameter_normalised(controller, queue->id, value);
		if (changes)
			session->told = value;
	}
	clear(&out);
}

static void play(double rate, uint64_t samples, const uint32_t *blocks, const line *next, int32_t mode, FILE *out)
{
	static notes notes = {.functions = &notes_functions};
	static changes changes = {.functions = &changes_functions};
	session session = {.mode = mode, .context = {.sample_rate = rate}};
	uint32_t longest = 0, turn = 0, count;
	for (const uint32_t *block = blocks; *block; block++)
		longest = *block > longest ? *block : longest;
	float *sound[2] = {malloc(longest * sizeof(float)), malloc(longest * sizeof(float))};
	activate(rate, longest, mode);
	for (uint64_t done = 0; done < samples; done += count) {
		count = blocks[turn] < samples - done ? blocks[turn] : (uint32_t)(samples - done);
		turn = blocks[turn + 1] ? turn + 1 : 0;
		for (; next->time < done + count; next++) {
			if (!add_line(next, (int32_t)(next->time - done), &changes, &notes))
				obey(next, &session);
			if (session.flush)
				process(&session, &changes, &notes, NULL, 0);
			session.flush = false;
		}
		process(&session, &changes, &notes, sound, (int32_t)count);
		for (uint32_t i = 0; i < count; i++)
			fwrite((float[2]){sound[0][i], sound[1][i]}, sizeof(float), 2, out);
		if (session.context.state & V3_PROCESS_CTX_PLAYING)
			session.context.project_time_in_samples += count;
		if (latency_changed && early)
			ask_latency();
		else if (latency_changed) {
			deactivate();
			activate(rate, longest, session.mode);
		}
		latency_changed = false;
	}
	deactivate();
	free(sound[0]);
	free(sound[1]);
}

static void *query(const v3_tuid iid)
{
	void *found = NULL;
	if ((*component)->query_interface(component, iid, &found) != V3_OK)
		fail("an interface is missing");
	return found;
}

int main(int count, char **words)
{
	static const struct v3_component_handler handler_functions = {
		.query_interface = handler_part, .ref = add_reference,         .unref = drop_reference,
		.begin_edit = edit,              .perform_edit = perform_edit, .end_edit = edit,
		.restart_component = restart_component,
	};
	static const struct v3_component_handler *const handler = &handler_functions;
	main_thread = pthread_self();
	if (count < 3)
		fail("vst3_host BINARY.so OUT [option=value …]: the options are in script.h");
	void *binary = dlopen(words[1], RTLD_LOCAL | RTLD_NOW);
	bool (*enter)(void *) = binary ? (bool (*)(void *))dlsym(binary, "ModuleEntry") : NULL;
	bool (*leave)(void) = binary ? (bool (*)(void))dlsym(binary, "ModuleExit") : NULL;
	void *(*get_factory)(void) = binary ? (void *(*)(void))dlsym(binary, "GetPluginFactory") : NULL;
	if (!enter || !leave || !get_factory || !enter(binary))
		fail("%s is no VST3 plugin: %s", words[1], dlerror());
	struct v3_plugin_factory_3 **factory = get_factory();
	struct v3_class_info_2 class;
	if ((*factory)->num_classes(factory) != 1 || (*factory)->get_class_info_2(factory, 0, &class) != V3_OK ||
	    (*factory)->create_instance(factory, v3_component_iid, v3_component_iid, (void **)&component) == V3_OK ||
	    (*factory)->create_instance(factory, class.class_id, v3_component_iid, (void **)&component) != V3_OK ||
	    (*component)->initialize(component, NULL) != V3_OK)
		fail("%s cannot be begun", words[1]);
	processor = query(v3_audio_processor_iid);
	controller = query(v3_edit_controller_iid);
	mapping = query(v3_midi_mapping_iid);
	units = query(v3_unit_information_iid);
	(*controller)->set_component_handler(controller, (struct v3_component_handler **)&handler);

	const char *value;
	double rate = (value = option(count, words, "rate")) ? strtod(value, NULL) : 48000;
	uint64_t samples = (value = option(count, words, "samples")) ? strtoull(value, NULL, 10) : 48000;
	uint32_t *blocks = read_blocks((value = option(count, words, "blocks")) ? value : "64");
	line *lines = read_lines(option(count, words, "events"));
	FILE *out = fopen(words[2], "wb");
	if (!out)
		fail("%s cannot be written", words[2]);
	if ((value = option(count, words, "piece")))
		piece = (int32_t)strtol(value, NULL, 10);
	if ((value = option(count, words, "load")))
		load(value);
	early = option(count, words, "early") != NULL;
	scan();
	ask_nonsense();
	play(rate, samples, blocks, lines, option(count, words, "offline") ? V3_OFFLINE : V3_REALTIME, out);
	if (option(count, words, "describe"))
		describe();
	if ((value = option(count, words, "save")))
		save(value);
	(*component)->terminate(component);
	(*units)->unref(units);
	(*mapping)->unref(mapping);
	(*controller)->unref(controller);
	(*processor)->unref(processor);
	if ((*component)->unref(component) || references)
		fail("the plugin lives on, or holds what is the host's");
	component = NULL, processor = NULL, controller = NULL, mapping = NULL, units = NULL; /* memory that is lost shows */
	leave();
	dlclose(binary);
	free(blocks);
	free(lines);
	return fclose(out) != 0;
}
