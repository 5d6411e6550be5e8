/* What happens in a block comes in a list of notes and in a queue for each parameter: all are put in one order here. */
#include <math.h>
#include <string.h>

#include "vst3.h"

typedef struct {
	point *points;
	uint32_t count;
} score;

static void add(score *score, int32_t offset, point point)
{
	if (score->count == MOST_POINTS)
		return;
	point.offset = offset > 0 ? (uint32_t)offset : 0;
	score->points[score->count++] = point;
}

static void add_midi(score *score, int32_t offset, int status, int first, int second)
{
	uint8_t bytes[3] = {(uint8_t)status, (uint8_t)first, (uint8_t)second};
	point point = {.parameter = WIRE_PARAMETER_COUNT};
	memcpy(point.bytes, bytes, sizeof bytes);
	add(score, offset, point);
}

/* A controller's value as its message, on the scale of 7 bits or, of a bend, 14. */
static void add_controller(score *score, int32_t offset, uint32_t number, double value)
{
	int channel = (int)(number / CONTROLLERS), controller = (int)(number % CONTROLLERS);
	value = parameter_within(value, 0, 1);
	int seven = (int)lround(value * 127), fourteen = (int)lround(value * 16383);
	if (controller == CONTROLLER_BEND)
		add_midi(score, offset, 0xe0 | channel, fourteen & 127, fourteen >> 7);
	else if (controller == CONTROLLER_PRESSURE)
		add_midi(score, offset, 0xd0 | channel, seven, 0);
	else if (controller == CONTROLLER_PROGRAM)
		add_midi(score, offset, 0xc0 | channel, seven, 0);
	else
		add_midi(score, offset, 0xb0 | channel, controller, seven);
}

static void add_value(plugin *plugin, score *score, int32_t offset, uint32_t index, double value)
{
	if (isnan(value) || parameter_unset(plugin, index, value))
		return;
	if (index < WIRE_PARAMETER_COUNT) {
		add(score, offset, (point){.parameter = (uint16_t)index, .value = (float)parameter_plain(index, value)});
		atomic_store(&plugin->shown_values[index], NAN);
		if (index < WIRE_MACROS)
			atomic_store(&plugin->unset_values[index], HOST_HAS_SET);
	} else if (index > INDEX_CHANGES) {
		add_controller(score, offset, index - INDEX_CHANGES - 1, value);
		atomic_store(&plugin->shown_values[index], (float)value);
	}
}

static void add_queue(plugin *plugin, score *score, struct v3_param_value_queue **queue)
{
	uint32_t index = queue ? parameter_index((*queue)->get_param_id(queue)) : PARAMETERS;
	int32_t points = index < PARAMETERS ? (*queue)->get_point_count(queue) : 0;
	for (int32_t i = 0; i < points; i++) {
		int32_t offset = 0;
		double value = 0;
		if ((*queue)->get_point(queue, i, &offset, &value) == V3_OK)
			add_value(plugin, score, offset, index, value);
	}
}

static void add_key(score *score, int32_t offset, int status, int channel, int key, double value)
{
	uint8_t bytes[3];
	if (key_message(bytes, status, channel, key, value))
		add_midi(score, offset, bytes[0], bytes[1], bytes[2]);
}

/* Of what a note can express, MIDI says the pressure of a key; the rest comes as MPE, in which a note has a channel. */
static void add_event(score *score, const struct v3_event *event)
{
	int32_t offset = event->sample_offset;
	switch (event->type) {
	case V3_EVENT_NOTE_ON:
		add_key(score, offset, 0x90, event->note_on.channel, event->note_on.pitch, event->note_on.velocity);
		break;
	case V3_EVENT_NOTE_OFF:
		add_key(score, offset, 0x80, event->note_off.channel, event->note_off.pitch, event->note_off.velocity);
		break;
	case V3_EVENT_POLY_PRESSURE: {
		const struct v3_event_poly_pressure *pressure = &event->poly_pressure;
		add_key(score, offset, 0xa0, pressure->channel, pressure->pitch, pressure->pressure);
		break;
	}
	}
}

/* By offset; what lies on one sample stays in its order. Returns the points, which are in either of two arrays. */
static point *sort(point *points, point *room, uint32_t count)
{
	for (uint32_t width = 1; width < count; width *= 2) {
		for (uint32_t start = 0; start < count; start += 2 * width) {
			uint32_t middle = start + width < count ? start + width : count;
			uint32_t end = middle + width < count ? middle + width : count;
			uint32_t left = start, right = middle;
			for (uint32_t to = start; to < end; to++) {
				bool first = right == end || (left < middle && points[left].offset <= points[right].offset);
				room[to] = points[first ? left++ : right++];
			}
		}
		point *sorted = room;
		room = points;
		points = sorted;
	}
	return points;
}

/* In Ardour the time is the session's: by the plugin's latency a track is ahead of it. There an export rolls from before
 * the song's beginning on, at a negative time. */
static void take_time(plugin *plugin, const struct v3_process_context *context)
{
	core *core = plugin->instance.core;
	bool rolling = context->state & V3_PROCESS_CTX_PLAYING;
	int64_t time = context->project_time_in_samples, latency = core_latency(core);
	int64_t song_samples = time < 0 ? latency + time : latency;
	plugin->lead_in = rolling && (time < 0 || (plugin->lead_in && time == 0));
	if (context->state & V3_PROCESS_CTX_TEMPO_VALID)
		core_tempo(core, 0, context->bpm);
	core_transport(core, 0, rolling, plugin->lead_in ? song_samples == 0 : time == 0,
	               song_samples > 0 ? (uint32_t)song_samples : 0);
}

void take_events(plugin *plugin, struct v3_process_data *data)
{
	core *core = plugin->instance.core;
	score score = {plugin->points[0], 0};
	struct v3_param_changes **changes = data->input_params;
	struct v3_event_list **notes = data->input_events;
	if (data->ctx)
		take_time(plugin, data->ctx);
	/* Controllers come before the notes of their sample, for which they are meant. */
	int32_t queues = changes ? (*changes)->get_param_count(changes) : 0;
	for (int32_t i = 0; i < queues; i++)
		add_queue(plugin, &score, (*changes)->get_param_data(changes, i));
	uint32_t count = notes ? (*notes)->get_event_count(notes) : 0;
	for (uint32_t i = 0; i < count; i++) {
		struct v3_event event = {0};
		if ((*notes)->get_event(notes, (int32_t)i, &event) == V3_OK)
			add_event(&score, &event);
	}
	point *points = sort(plugin->points[0], plugin->points[1], score.count);
	for (const point *point = points; point < points + score.count; point++) {
		if (point->parameter < WIRE_PARAMETER_COUNT)
			core_set(core, point->offset, point->parameter, point->value);
		else
			instance_midi(&plugin->instance, point->offset, point->bytes);
	}
}
