/* timbrel as a VST3 instrument: the object, its sound, and the factory that a host finds it by. */
#include "vst3.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <travesty/factory.h>

#define NAME "timbrel"
#define EXPORT __attribute__((visibility("default")))

static const v3_tuid class_id = V3_ID(0x39FA3BAA, 0x68112038, 0xEC2B9D6D, 0x455890C6);

/* ---- the object */

uint32_t V3_API add_reference(void *self)
{
	return atomic_fetch_add(&of(self)->references, 1) + 1;
}

uint32_t V3_API drop_reference(void *self)
{
	plugin *plugin = of(self);
	uint32_t left = atomic_fetch_sub(&plugin->references, 1) - 1;
	if (!left) {
		controller_end(plugin);
		instance_end(&plugin->instance);
		free(plugin);
	}
	return left;
}

v3_result V3_API query_interface(void *self, const v3_tuid iid, void **to)
{
	static const struct {
		const uint8_t *iid;
		interface_name name;
	} table[] = {
		{v3_funknown_iid, COMPONENT},
		{v3_plugin_base_iid, COMPONENT},
		{v3_component_iid, COMPONENT},
		{v3_audio_processor_iid, PROCESSOR},
		{v3_process_context_requirements_iid, REQUIREMENTS},
		{v3_edit_controller_iid, CONTROLLER},
		{v3_midi_mapping_iid, MIDI_MAPPING},
		{v3_unit_information_iid, UNITS},
	};
	*to = NULL;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		if (v3_tuid_match(iid, table[i].iid)) {
			*to = &of(self)->interfaces[table[i].name];
			add_reference(self);
			return V3_OK;
		}
	}
	return V3_NO_INTERFACE;
}

static void log_line(void *host, bool urgent, const char *line)
{
	(void)host, (void)urgent;
	fprintf(stderr, "%s\n", line);
}

v3_result V3_API initialize(void *self, struct v3_funknown **context)
{
	(void)context;
	plugin *plugin = of(self);
	plugin->instance.say = log_line;
	controller_start(plugin);
	return plugin->instance.core || instance_start(&plugin->instance) ? V3_OK : V3_NOMEM;
}

v3_result V3_API terminate(void *self)
{
	controller_end(of(self));
	instance_end(&of(self)->instance);
	return V3_OK;
}

/* ---- the component */

static v3_result V3_API get_controller_class_id(void *self, v3_tuid id)
{
	(void)self, (void)id;
	return V3_NOT_IMPLEMENTED; /* it is the same object */
}

static v3_result V3_API set_io_mode(void *self, int32_t mode)
{
	(void)self, (void)mode;
	return V3_NOT_IMPLEMENTED;
}

static bool has_bus(int32_t type, int32_t direction, int32_t index)
{
	return index == 0 && ((type == V3_AUDIO && direction == V3_OUTPUT) || (type == V3_EVENT && direction == V3_INPUT));
}

static int32_t V3_API get_bus_count(void *self, int32_t type, int32_t direction)
{
	(void)self;
	return has_bus(type, direction, 0);
}

static v3_result V3_API get_bus_info(void *self, int32_t type, int32_t direction, int32_t index,
                                     struct v3_bus_info *bus)
{
	(void)self;
	if (!has_bus(type, direction, index))
		return V3_INVALID_ARG;
	*bus = (struct v3_bus_info){
		.media_type = type,
		.direction = direction,
		.channel_count = type == V3_AUDIO ? 2 : 16,
		.bus_type = V3_MAIN,
		.flags = V3_DEFAULT_ACTIVE,
	};
	to_utf16(type == V3_AUDIO ? "Output" : "Notes", bus->bus_name, 128);
	return V3_OK;
}

static v3_result V3_API get_routing_info(void *self, struct v3_routing_info *input, struct v3_routing_info *output)
{
	(void)self, (void)input, (void)output;
	return V3_NOT_IMPLEMENTED;
}

static v3_result V3_API activate_bus(void *self, int32_t type, int32_t direction, int32_t index, v3_bool state)
{
	(void)self, (void)state;
	return has_bus(type, direction, index) ? V3_OK : V3_INVALID_ARG;
}

static v3_result V3_API set_active(void *self, v3_bool state)
{
	plugin *plugin = of(self);
	if (!plugin->instance.core || !(plugin->rate > 0))
		return V3_NOT_INITIALIZED;
	if (state)
		return instance_activate(&plugin->instance, plugin->rate, plugin->block, plugin->offline) ? V3_OK : V3_INTERNAL_ERR;
	instance_deactivate(&plugin->instance);
	return V3_OK;
}

static int64_t read_stream(void *self, void *bytes, int32_t count)
{
	struct v3_bstream **stream = self;
	int32_t taken = 0;
	/* A stream that fails has ended: whether it is whole is seen in its bytes. */
	return (*stream)->read(stream, bytes, count, &taken) == V3_OK && taken > 0 && taken <= count ? taken : 0;
}

static int64_t write_stream(void *self, void *bytes, int32_t count)
{
	struct v3_bstream **stream = self;
	int32_t written = 0;
	return (*stream)->write(stream, bytes, count, &written) == V3_OK ? written : -1;
}

static v3_result V3_API set_state(void *self, struct v3_bstream **stream)
{
	instance *instance = &of(self)->instance;
	if (!instance->core || !stream)
		return V3_INVALID_ARG;
	if (!instance_load(instance, stream, read_stream))
		return V3_FALSE;
	controller_forget(of(self));
	return V3_OK;
}

static v3_result V3_API get_state(void *self, struct v3_bstream **stream)
{
	instance *instance = &of(self)->instance;
	return instance->core && stream && instance_save(instance, stream, write_stream) ? V3_OK : V3_FALSE;
}

static const struct v3_component component = {
	.query_interface = query_interface,
	.ref = add_reference,
	.unref = drop_reference,
	.initialize = initialize,
	.terminate = terminate,
	.get_controller_class_id = get_controller_class_id,
	.set_io_mode = set_io_mode,
	.get_bus_count = get_bus_count,
	.get_bus_info = get_bus_info,
	.get_routing_info = get_routing_info,
	.activate_bus = activate_bus,
	.set_active = set_active,
	.set_state = set_state,
	.get_state = get_state,
};

/* ---- the processor */

#define STEREO (V3_SPEAKER_L | V3_SPEAKER_R)

static v3_result V3_API set_bus_arrangements(void *self, v3_speaker_arrangement *inputs, int32_t input_count,
                                             v3_speaker_arrangement *outputs, int32_t output_count)
{
	(void)self, (void)inputs;
	return input_count == 0 && output_count == 1 && outputs[0] == STEREO ? V3_OK : V3_FALSE;
}

static v3_result V3_API get_bus_arrangement(void *self, int32_t direction, int32_t index,
                                            v3_speaker_arrangement *arrangement)
{
	(void)self;
	if (!has_bus(V3_AUDIO, direction, index))
		return V3_INVALID_ARG;
	*arrangement = STEREO;
	return V3_OK;
}

static v3_result V3_API can_process_sample_size(void *self, int32_t size)
{
	(void)self;
	return size == V3_SAMPLE_32 ? V3_OK : V3_FALSE;
}

/* Some hosts ask before they activate the plugin, and are told anew where it is another then: see changes_wait. */
static uint32_t V3_API get_latency_samples(void *self)
{
	plugin *plugin = of(self);
	const instance *instance = &plugin->instance;
	uint32_t latency = instance->core && !instance->active ? core_latency(instance->core) : instance->latency;
	atomic_store(&plugin->reported_latency, latency);
	return latency;
}

static v3_result V3_API setup_processing(void *self, struct v3_process_setup *setup)
{
	plugin *plugin = of(self);
	if (setup->symbolic_sample_size != V3_SAMPLE_32 || !(setup->sample_rate > 0) || plugin->instance.active ||
	    !plugin->instance.core)
		return V3_FALSE;
	plugin->rate = setup->sample_rate;
	plugin->block = setup->max_block_size > 0 ? (uint32_t)setup->max_block_size : 0;
	plugin->offline = setup->process_mode == V3_OFFLINE;
	core_offline(plugin->instance.core, plugin->offline);
	return V3_OK;
}

static v3_result V3_API set_processing(void *self, v3_bool state)
{
	(void)self, (void)state;
	return V3_OK;
}

static void move(struct v3_param_changes **changes, v3_param_id id, double normalised)
{
	int32_t index = 0;
	struct v3_param_value_queue **queue = (*changes)->add_param_data(changes, &id, &index);
	if (queue)
		(*queue)->add_point(queue, 0, normalised, &index);
}

/* The host calls the controller with it in its main thread, the only one in which it may be told of changes. */
static void move_changes(plugin *plugin, struct v3_param_changes **changes)
{
	bool told = atomic_exchange(&plugin->changes_told, false), waiting = changes_wait(plugin);
	if (waiting != plugin->changes_moved || (told && atomic_load(&plugin->instance.changes))) {
		plugin->changes_low = waiting && !plugin->changes_low; /* hosts pass over a value that stays */
		move(changes, ID_CHANGES, !waiting ? 0 : plugin->changes_low ? 0.5 : 1);
	}
	plugin->changes_moved = waiting;
}

/* Says to the host how the parameters stand that it reads. */
static void move_readouts(plugin *plugin, struct v3_param_changes **changes)
{
	for (uint32_t i = 0; i < READOUTS; i++) {
		double value = parameter_now(plugin->instance.core, WIRE_PARAMETER_COUNT + i);
		if (value != plugin->read[i])
			move(changes, ID_READOUTS + i, parameter_normalised(WIRE_PARAMETER_COUNT + i, value));
		plugin->read[i] = value;
	}
}

static v3_result V3_API process(void *self, struct v3_process_data *data)
{
	plugin *plugin = of(self);
	instance *instance = &plugin->instance;
	if (!instance->core || data->symbolic_sample_size != V3_SAMPLE_32)
		return V3_INVALID_ARG;
	core_offline(instance->core, data->process_mode == V3_OFFLINE);
	take_events(plugin, data);
	float *left = NULL, *right = NULL;
	if (data->num_output_buses > 0 && data->outputs && data->outputs[0].num_channels == 2 &&
	    data->outputs[0].channel_buffers_32 && data->nframes > 0) {
		left = data->outputs[0].channel_buffers_32[0];
		right = data->outputs[0].channel_buffers_32[1];
		data->outputs[0].channel_silence_bitset = 0;
	}
	bool complete = instance_run(instance, left, right, data->nframes > 0 ? (uint32_t)data->nframes : 0);
	if (data->output_params) {
		move_changes(plugin, data->output_params);
		move_readouts(plugin, data->output_params);
	}
	return complete ? V3_OK : V3_INTERNAL_ERR;
}

static uint32_t V3_API get_tail_samples(void *self)
{
	(void)self;
	return UINT32_MAX; /* without end: a held pedal sounds on */
}

static const struct v3_audio_processor processor = {
	.query_interface = query_interface,
	.ref = add_reference,
	.unref = drop_reference,
	.set_bus_arrangements = set_bus_arrangements,
	.get_bus_arrangement = get_bus_arrangement,
	.can_process_sample_size = can_process_sample_size,
	.get_latency_samples = get_latency_samples,
	.setup_processing = setup_processing,
	.set_processing = set_processing,
	.process = process,
	.get_tail_samples = get_tail_samples,
};

static uint32_t V3_API get_requirements(void *self)
{
	(void)self;
	return V3_PROCESS_CTX_NEED_TEMPO | V3_PROCESS_CTX_NEED_TRANSPORT_STATE;
}

static const struct v3_process_context_requirements requirements = {
	.query_interface = query_interface,
	.ref = add_reference,
	.unref = drop_reference,
	.get_process_context_requirements = get_requirements,
};

/* ---- the factory */

static v3_result V3_API find_factory(void *self, const v3_tuid iid, void **to)
{
	bool supported = v3_tuid_match(iid, v3_funknown_iid) || v3_tuid_match(iid, v3_plugin_factory_iid) ||
	             v3_tuid_match(iid, v3_plugin_factory_2_iid) || v3_tuid_match(iid, v3_plugin_factory_3_iid);
	*to = supported ? self : NULL;
	return supported ? V3_OK : V3_NO_INTERFACE;
}

static uint32_t V3_API factory_reference(void *self)
{
	(void)self;
	return 1; /* it lives as long as the binary */
}

static v3_result V3_API get_factory_info(void *self, struct v3_factory_info *factory)
{
	(void)self;
	*factory = (struct v3_factory_info){.vendor = NAME, .flags = 0x10}; /* texts are Unicode */
	return V3_OK;
}

static int32_t V3_API num_classes(void *self)
{
	(void)self;
	return 1;
}

#define CATEGORY "Audio Module Class"
#define SUBCATEGORIES "Instrument|Synth"
#define CARDINALITY 0x7fffffff /* as many as there shall be */
#define SDK_VERSION "VST 3.7.4"

static v3_result V3_API get_class_info(void *self, int32_t index, struct v3_class_info *class_info)
{
	(void)self;
	if (index)
		return V3_INVALID_ARG;
	*class_info = (struct v3_class_info){.cardinality = CARDINALITY, .category = CATEGORY, .name = NAME};
	memcpy(class_info->class_id, class_id, sizeof class_id);
	return V3_OK;
}

static v3_result V3_API get_class_info_2(void *self, int32_t index, struct v3_class_info_2 *class_info)
{
	(void)self;
	if (index)
		return V3_INVALID_ARG;
	*class_info = (struct v3_class_info_2){
		.cardinality = CARDINALITY,
		.category = CATEGORY,
		.name = NAME,
		.sub_categories = SUBCATEGORIES,
		.vendor = NAME,
		.version = TIMBREL_VERSION,
		.sdk_version = SDK_VERSION,
	};
	memcpy(class_info->class_id, class_id, sizeof class_id);
	return V3_OK;
}

static v3_result V3_API get_class_info_utf16(void *self, int32_t index, struct v3_class_info_3 *class_info)
{
	(void)self;
	if (index)
		return V3_INVALID_ARG;
	*class_info = (struct v3_class_info_3){
		.cardinality = CARDINALITY,
		.category = CATEGORY,
		.sub_categories = SUBCATEGORIES,
	};
	memcpy(class_info->class_id, class_id, sizeof class_id);
	to_utf16(NAME, class_info->name, 64);
	to_utf16(NAME, class_info->vendor, 64);
	to_utf16(TIMBREL_VERSION, class_info->version, 64);
	to_utf16(SDK_VERSION, class_info->sdk_version, 64);
	return V3_OK;
}

static v3_result V3_API set_host_context(void *self, struct v3_funknown **host)
{
	(void)self, (void)host;
	return V3_OK;
}

static v3_result V3_API create_instance(void *self, const v3_tuid id, const v3_tuid iid, void **to)
{
	static const void *const functions[INTERFACES] = {
		[COMPONENT] = &component,   [PROCESSOR] = &processor,       [REQUIREMENTS] = &requirements,
		[CONTROLLER] = &controller, [MIDI_MAPPING] = &midi_mapping, [UNITS] = &units,
	};
	(void)self;
	*to = NULL;
	plugin *plugin = v3_tuid_match(id, class_id) ? calloc(1, sizeof *plugin) : NULL;
	if (!plugin)
		return V3_NO_INTERFACE;
	for (int i = 0; i < INTERFACES; i++)
		plugin->interfaces[i] = (interface){functions[i], plugin};
	plugin->references = 1;
	v3_result result = query_interface(&plugin->interfaces[COMPONENT], iid, to);
	drop_reference(&plugin->interfaces[COMPONENT]);
	return result;
}

EXPORT const void *GetPluginFactory(void);
EXPORT bool ModuleEntry(void *binary);
EXPORT bool ModuleExit(void);

const void *GetPluginFactory(void)
{
	static const struct v3_plugin_factory_3 factory = {
		.query_interface = find_factory,
		.ref = factory_reference,
		.unref = factory_reference,
		.get_factory_info = get_factory_info,
		.num_classes = num_classes,
		.get_class_info = get_class_info,
		.create_instance = create_instance,
		.get_class_info_2 = get_class_info_2,
		.get_class_info_utf16 = get_class_info_utf16,
		.set_host_context = set_host_context,
	};
	static const struct v3_plugin_factory_3 *const functions = &factory;
	return &functions;
}

bool ModuleEntry(void *binary)
{
	(void)binary;
	return true;
}

bool ModuleExit(void)
{
	return true;
}
