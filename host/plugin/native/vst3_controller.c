/* What the host shows and moves: parameters, which controller of MIDI is which of them, and the list of programs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "vst3.h"

#define ROOT 0     /* the only unit: the plugin itself */
#define PROGRAMS 1 /* its list of programs, which the preset parameter chooses from */
#define PROGRAM_COUNT (PARAMETER_PRESETS + 1)

/* Parts of a host that travesty leaves out. */
struct unit_handler {
	struct v3_funknown;
	v3_result (V3_API *notify_unit_selection)(void *self, int32_t unit);
	v3_result (V3_API *notify_program_list_change)(void *self, int32_t list, int32_t program);
};
static const v3_tuid unit_handler_iid = V3_ID(0x4B5147F8, 0x4654486B, 0x8DAB30BA, 0x163A3C56);
#define ALL_PROGRAMS (-1)

/* ---- parameters */

uint32_t parameter_index(v3_param_id id)
{
	if (id == ID_CHANGES)
		return INDEX_CHANGES;
	if (id >= ID_MIDI && id < ID_MIDI + MIDI_PARAMETERS)
		return INDEX_CHANGES + 1 + (id - ID_MIDI);
	uint32_t index = parameter_of_id(id);
	return index < OWN_PARAMETERS ? index : PARAMETERS;
}

static v3_param_id id_of(uint32_t index)
{
	if (index < OWN_PARAMETERS)
		return parameter_id(index);
	return index == INDEX_CHANGES ? ID_CHANGES : ID_MIDI + (index - INDEX_CHANGES - 1);
}

double parameter_plain(uint32_t parameter, double normalised)
{
	parameter_range range;
	parameter_range_of(parameter, &range);
	normalised = parameter_within(normalised, 0, 1);
	double span = range.high - range.low;
	if (range.stepped)
		return parameter_within(floor(range.low + normalised * (span + 1)), range.low, range.high);
	if (parameter < WIRE_MACROS)
		return normalised;
	return round((range.low + normalised * span) * 1000) / 1000 + 0.0; /* 0 dB is exactly that, and not -0 */
}

double parameter_normalised(uint32_t parameter, double plain)
{
	parameter_range range;
	parameter_range_of(parameter, &range);
	return parameter_within((plain - range.low) / (range.high - range.low), 0, 1);
}

/* The value of what nobody has set: of a controller, or of a macro that rests there. Ardour, as it opens a project, may
 * give back what it found before the project's preset was there, whose macros rest elsewhere. Hosts made with JUCE may
 * give an instance what they found in another one, whose state it has loaded: pedalboard does before it plays. */
static double unset(double value)
{
	return value > .5 ? value - UNSET : value + UNSET;
}

static double unset_controller(uint32_t index)
{
	return unset((index - INDEX_CHANGES - 1) % CONTROLLERS == CONTROLLER_BEND ? .5 : 0);
}

static bool host_has_set(const plugin *plugin, uint32_t macro)
{
	return atomic_load(&plugin->unset_values[macro]) == HOST_HAS_SET && core_moved(plugin->instance.core, macro);
}

bool parameter_unset(const plugin *plugin, uint32_t index, double normalised)
{
	float value = (float)normalised;
	if (index > INDEX_CHANGES)
		return value == (float)unset_controller(index);
	if (index >= WIRE_MACROS || host_has_set(plugin, index))
		return false;
	return value == atomic_load(&plugin->unset_values[index]) || value == atomic_load(&plugin->older_unset_values[index]) ||
	       value == (float)unset(core_loaded(plugin->instance.core, index));
}

static double shown_value(plugin *plugin, uint32_t index)
{
	float stored_value = atomic_load(&plugin->shown_values[index]);
	if (index >= WIRE_PARAMETER_COUNT && index < OWN_PARAMETERS)
		return parameter_normalised(index, parameter_now(plugin->instance.core, index));
	if (!isnan(stored_value))
		return stored_value;
	if (index == INDEX_CHANGES)
		return 0;
	if (index > INDEX_CHANGES)
		return unset_controller(index);
	double value = parameter_normalised(index, core_get(plugin->instance.core, index));
	if (index >= WIRE_MACROS || host_has_set(plugin, index))
		return value;
	float old_unset = atomic_exchange(&plugin->unset_values[index], (float)unset(value));
	if (old_unset != (float)unset(value))
		atomic_store(&plugin->older_unset_values[index], old_unset);
	return unset(value);
}

static void describe_controller(uint32_t index, struct v3_param_info *parameter)
{
	uint32_t number = index - INDEX_CHANGES - 1, controller = number % CONTROLLERS;
	static const char *const names[] = {"pressure", "bend", "program"};
	char title[64], name[16];
	snprintf(name, sizeof name, "number %u", controller);
	snprintf(title, sizeof title, "MIDI CC channel %u %s", number / CONTROLLERS + 1,
	         controller < CONTROLLER_PRESSURE ? name : names[controller - CONTROLLER_PRESSURE]);
	to_utf16(title, parameter->title, 128);
	parameter->default_normalised_value = unset_controller(index);
	parameter->flags = V3_PARAM_IS_HIDDEN;
}

static void describe_own(plugin *plugin, uint32_t index, struct v3_param_info *parameter)
{
	char name[64];
	double default_value;
	parameter_range range;
	parameter_range_of(index, &range);
	bool used = parameter_describe(plugin->instance.core, index, name, &default_value);
	to_utf16(name, parameter->title, 128);
	to_utf16(index == WIRE_GAIN ? "dB" : "", parameter->units, 128);
	parameter->step_count = range.stepped ? (int32_t)(range.high - range.low) : 0;
	parameter->default_normalised_value = used ? parameter_normalised(index, default_value) : shown_value(plugin, index);
	parameter->flags = index >= WIRE_PARAMETER_COUNT ? V3_PARAM_READ_ONLY : index == WIRE_PANEL ? 0 : V3_PARAM_CAN_AUTOMATE;
	if (index == WIRE_PRESET)
		parameter->flags |= V3_PARAM_IS_LIST | V3_PARAM_PROGRAM_CHANGE;
}

static int32_t V3_API get_parameter_count(void *self)
{
	(void)self;
	return PARAMETERS;
}

static v3_result V3_API get_parameter_info(void *self, int32_t index, struct v3_param_info *parameter)
{
	if (index < 0 || (uint32_t)index >= PARAMETERS || !of(self)->instance.core)
		return V3_INVALID_ARG;
	*parameter = (struct v3_param_info){.param_id = id_of((uint32_t)index), .unit_id = ROOT};
	if (index < OWN_PARAMETERS) {
		describe_own(of(self), (uint32_t)index, parameter);
	} else if ((uint32_t)index > INDEX_CHANGES) {
		describe_controller((uint32_t)index, parameter);
	} else {
		to_utf16("MIDI CC none: changes", parameter->title, 128);
		parameter->flags = V3_PARAM_READ_ONLY | V3_PARAM_IS_HIDDEN;
	}
	memcpy(parameter->short_title, parameter->title, sizeof parameter->title);
	return V3_OK;
}

static v3_result V3_API get_text(void *self, v3_param_id id, double normalised, v3_str_128 utf16)
{
	char text[128] = "";
	uint32_t index = parameter_index(id);
	if (index == PARAMETERS || !of(self)->instance.core)
		return V3_INVALID_ARG;
	if (index < OWN_PARAMETERS)
		parameter_text(of(self)->instance.core, index, parameter_plain(index, normalised), text, sizeof text);
	to_utf16(text, utf16, 128);
	return V3_OK;
}

static v3_result V3_API get_value(void *self, v3_param_id id, int16_t *text, double *normalised)
{
	char utf8[512];
	double plain;
	uint32_t index = parameter_index(id);
	if (index >= OWN_PARAMETERS || !of(self)->instance.core)
		return V3_INVALID_ARG;
	from_utf16(text, utf8, sizeof utf8);
	if (!parameter_value(of(self)->instance.core, index, utf8, &plain))
		return V3_FALSE;
	*normalised = parameter_normalised(index, plain);
	return V3_OK;
}

static double V3_API to_plain(void *self, v3_param_id id, double normalised)
{
	(void)self;
	uint32_t index = parameter_index(id);
	return index < OWN_PARAMETERS ? parameter_plain(index, normalised) : normalised;
}

static double V3_API to_normalised(void *self, v3_param_id id, double plain)
{
	(void)self;
	uint32_t index = parameter_index(id);
	return index < OWN_PARAMETERS ? parameter_normalised(index, plain) : plain;
}

static double V3_API get_normalised(void *self, v3_param_id id)
{
	uint32_t index = parameter_index(id);
	return index < PARAMETERS && of(self)->instance.core ? shown_value(of(self), index) : 0;
}

/* ---- what the host is told, in its main thread */

static void *handler_part(const plugin *plugin, const v3_tuid iid)
{
	void *part = NULL;
	return (*plugin->handler)->query_interface(plugin->handler, iid, &part) == V3_OK ? part : NULL;
}

static bool latency_is_another(plugin *plugin)
{
	return plugin->instance.active && atomic_load(&plugin->reported_latency) != atomic_load(&plugin->instance.latency);
}

bool changes_wait(plugin *plugin)
{
	return atomic_load(&plugin->instance.changes) || latency_is_another(plugin);
}

static void tell_changes(plugin *plugin)
{
	if (!plugin->handler || !plugin->instance.core)
		return;
	plugin->changes_told = true; /* before they are taken: later ones need another move */
	uint32_t changes = instance_take(&plugin->instance);
	bool latency = changes & CHANGED_LATENCY || latency_is_another(plugin);
	int32_t flags = latency ? V3_RESTART_LATENCY_CHANGED : 0;
	if (changes & CHANGED_PARAMETERS) {
		struct unit_handler **handler = handler_part(plugin, unit_handler_iid);
		flags |= V3_RESTART_PARAM_VALUES_CHANGED | V3_RESTART_PARAM_TITLES_CHANGED;
		if (handler) {
			(*handler)->notify_program_list_change(handler, PROGRAMS, ALL_PROGRAMS);
			(*handler)->unref(handler);
		}
	}
	if (changes & CHANGED_STATE) {
		struct v3_component_handler2 **handler = handler_part(plugin, v3_component_handler2_iid);
		if (handler) {
			(*handler)->set_dirty(handler, true);
			(*handler)->unref(handler);
		}
	}
	if (flags)
		(*plugin->handler)->restart_component(plugin->handler, flags);
}

static v3_result V3_API set_normalised(void *self, v3_param_id id, double normalised)
{
	uint32_t index = parameter_index(id);
	if (index == PARAMETERS || isnan(normalised))
		return V3_INVALID_ARG;
	atomic_store(&of(self)->shown_values[index], (float)parameter_within(normalised, 0, 1));
	if (id == ID_CHANGES)
		tell_changes(of(self));
	return V3_OK;
}

static v3_result V3_API set_component_handler(void *self, struct v3_component_handler **handler)
{
	plugin *plugin = of(self);
	if (handler)
		(*handler)->ref(handler);
	if (plugin->handler)
		(*plugin->handler)->unref(plugin->handler);
	plugin->handler = handler;
	tell_changes(plugin);
	return V3_OK;
}

/* ---- the component has all the state there is */

static v3_result V3_API set_component_state(void *self, struct v3_bstream **stream)
{
	(void)self, (void)stream;
	return V3_OK;
}

static v3_result V3_API no_state(void *self, struct v3_bstream **stream)
{
	(void)self, (void)stream;
	return V3_NOT_IMPLEMENTED;
}

static struct v3_plugin_view **V3_API create_view(void *self, const char *name)
{
	(void)self, (void)name;
	return NULL; /* the panel is a page in a browser */
}

void controller_forget(plugin *plugin)
{
	for (uint32_t i = 0; i < PARAMETERS; i++)
		atomic_store(&plugin->shown_values[i], NAN);
	for (uint32_t i = 0; i < WIRE_MACROS; i++) {
		float set_value = HOST_HAS_SET;
		atomic_compare_exchange_strong(&plugin->unset_values[i], &set_value, NOT_GIVEN);
	}
}

void controller_start(plugin *plugin)
{
	controller_forget(plugin);
	for (uint32_t i = 0; i < WIRE_MACROS; i++)
		plugin->unset_values[i] = plugin->older_unset_values[i] = NOT_GIVEN;
}

void controller_end(plugin *plugin)
{
	if (plugin->handler)
		(*plugin->handler)->unref(plugin->handler);
	plugin->handler = NULL;
}

const struct v3_edit_controller controller = {
	.query_interface = query_interface,
	.ref = add_reference,
	.unref = drop_reference,
	.initialize = initialize,
	.terminate = terminate,
	.set_component_state = set_component_state,
	.set_state = no_state,
	.get_state = no_state,
	.get_parameter_count = get_parameter_count,
	.get_parameter_info = get_parameter_info,
	.get_parameter_string_for_value = get_text,
	.get_parameter_value_for_string = get_value,
	.normalised_parameter_to_plain = to_plain,
	.plain_parameter_to_normalised = to_normalised,
	.get_parameter_normalised = get_normalised,
	.set_parameter_normalised = set_normalised,
	.set_component_handler = set_component_handler,
	.create_view = create_view,
};

/* ---- MIDI */

static v3_result V3_API get_assignment(void *self, int32_t bus, int16_t channel, int16_t controller,
                                       v3_param_id *assigned_id)
{
	(void)self;
	if (bus || channel < 0 || channel > 15 || controller < 0 || controller >= CONTROLLERS)
		return V3_FALSE;
	*assigned_id = ID_MIDI + (uint32_t)channel * CONTROLLERS + (uint32_t)controller;
	return V3_OK;
}

const struct v3_midi_mapping midi_mapping = {
	.query_interface = query_interface,
	.ref = add_reference,
	.unref = drop_reference,
	.get_midi_controller_assignment = get_assignment,
};

/* ---- programs */

static int32_t V3_API count_one(void *self)
{
	(void)self;
	return 1;
}

static v3_result V3_API get_unit_info(void *self, int32_t index, v3_unit_info *unit)
{
	(void)self;
	if (index)
		return V3_INVALID_ARG;
	*unit = (v3_unit_info){.id = ROOT, .parent_unit_id = -1, .program_list_id = PROGRAMS};
	to_utf16("timbrel", unit->name, 128);
	return V3_OK;
}

static v3_result V3_API get_program_list_info(void *self, int32_t index, v3_program_list_info *program_list)
{
	(void)self;
	if (index)
		return V3_INVALID_ARG;
	*program_list = (v3_program_list_info){.id = PROGRAMS, .programCount = PROGRAM_COUNT};
	to_utf16("Presets", program_list->name, 128);
	return V3_OK;
}

static v3_result V3_API get_program_name(void *self, int32_t list, int32_t program, v3_str_128 utf16)
{
	char text[128];
	const core *core = of(self)->instance.core;
	if (list != PROGRAMS || program < 0 || program >= PROGRAM_COUNT || !core)
		return V3_INVALID_ARG;
	parameter_text(core, WIRE_PRESET, program, text, sizeof text);
	to_utf16(text, utf16, 128);
	return V3_OK;
}

static v3_result V3_API get_program_info(void *self, int32_t list, int32_t program, const char *attribute,
                                         v3_str_128 value)
{
	(void)self, (void)list, (void)program, (void)attribute, (void)value;
	return V3_NOT_IMPLEMENTED;
}

static v3_result V3_API has_pitch_names(void *self, int32_t list, int32_t program)
{
	(void)self, (void)list, (void)program;
	return V3_FALSE;
}

static v3_result V3_API get_pitch_name(void *self, int32_t list, int32_t program, int16_t pitch, v3_str_128 name)
{
	(void)self, (void)list, (void)program, (void)pitch, (void)name;
	return V3_NOT_IMPLEMENTED;
}

static int32_t V3_API get_selected_unit(void *self)
{
	(void)self;
	return ROOT;
}

static v3_result V3_API select_unit(void *self, int32_t unit)
{
	(void)self;
	return unit == ROOT ? V3_OK : V3_INVALID_ARG;
}

static v3_result V3_API get_unit_by_bus(void *self, int32_t type, int32_t direction, int32_t bus, int32_t channel,
                                        int32_t *unit)
{
	(void)self, (void)type, (void)direction, (void)channel;
	*unit = ROOT;
	return bus ? V3_INVALID_ARG : V3_OK;
}

static v3_result V3_API set_program_data(void *self, int32_t list, int32_t program, struct v3_bstream **data)
{
	(void)self, (void)list, (void)program, (void)data;
	return V3_NOT_IMPLEMENTED;
}

const struct v3_unit_information units = {
	.query_interface = query_interface,
	.ref = add_reference,
	.unref = drop_reference,
	.get_unit_count = count_one,
	.get_unit_info = get_unit_info,
	.get_program_list_count = count_one,
	.get_program_list_info = get_program_list_info,
	.get_program_name = get_program_name,
	.get_program_info = get_program_info,
	.has_program_pitch_names = has_pitch_names,
	.get_program_pitch_name = get_pitch_name,
	.get_selected_unit = get_selected_unit,
	.select_unit = select_unit,
	.get_unit_by_bus = get_unit_by_bus,
	.set_unit_program_data = set_program_data,
};
