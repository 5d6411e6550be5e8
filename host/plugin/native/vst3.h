/* timbrel as a VST3 instrument: one object that is both component and controller. */
#ifndef TIMBREL_VST3_H
#define TIMBREL_VST3_H

/* travesty's headers name these as C++ does. */
typedef struct v3_event_handler v3_event_handler;
typedef struct v3_timer_handler v3_timer_handler;
typedef struct v3_unit_info v3_unit_info;
typedef struct v3_program_list_info v3_program_list_info;

#include <travesty/audio_processor.h>
#include <travesty/component.h>
#include <travesty/edit_controller.h>
#include <travesty/unit.h>

#include "instance.h"
#include "parameters.h"

/* Controllers of a channel as parameters: VST3 has no MIDI. The last three are pressure, bend and program change. */
#define CONTROLLERS 131
enum { CONTROLLER_PRESSURE = 128, CONTROLLER_BEND, CONTROLLER_PROGRAM };

/* Identifiers of parameters: those of wire.h have their own numbers. */
#define ID_CHANGES 0x0fffu /* read-only and hidden: moves when there is something to tell the host in its main thread */
#define ID_MIDI 0x1000u    /* of controller 0 on the first channel */
#define MIDI_PARAMETERS (16u * CONTROLLERS)
#define READOUTS (OWN_PARAMETERS - WIRE_PARAMETER_COUNT)
/* Indices of parameters: the plugin's own, ID_CHANGES, controllers of MIDI. */
#define INDEX_CHANGES ((uint32_t)OWN_PARAMETERS)
#define PARAMETERS (INDEX_CHANGES + 1u + MIDI_PARAMETERS)

/* So far above what it seems to be lies a value that nobody has set. Hosts give parameters back the values that they
 * found there, and must not move what nothing has moved: a controller that MIDI has not sent has no value at all. */
#define UNSET 0x1p-20

#define MOST_POINTS WIRE_EVENTS /* in a block: the wire takes no more */

#define NOT_GIVEN (-1.0f)
#define HOST_HAS_SET (-2.0f) /* the macro: it is a value like any other from then on */

/* What happens at a sample of a block. */
typedef struct {
	uint32_t offset;
	uint16_t parameter; /* for MIDI: WIRE_PARAMETER_COUNT */
	uint8_t bytes[3];
	float value;
} point;

typedef enum { COMPONENT, PROCESSOR, REQUIREMENTS, CONTROLLER, MIDI_MAPPING, UNITS, INTERFACES } interface_name;

typedef struct plugin plugin;

/* What a host's pointer to an interface points to. */
typedef struct {
	const void *functions;
	plugin *plugin;
} interface;

struct plugin {
	interface interfaces[INTERFACES];
	_Atomic uint32_t references;
	instance instance;
	double rate; /* what setup_processing said */
	uint32_t block;
	bool offline;
	_Atomic uint32_t reported_latency; /* the latency that the host was told when it last asked for it */
	struct v3_component_handler **handler;
	_Atomic float shown_values[PARAMETERS]; /* what the controller shows, 0 to 1; NaN: what the core says */
	/* The unset value that the host was given for a macro last, or one of the numbers above; and the one before. */
	_Atomic float unset_values[WIRE_MACROS], older_unset_values[WIRE_MACROS];
	bool lead_in;                    /* the transport rolls towards the song's beginning, or was at it last */
	double read[READOUTS];           /* where those stood that the host reads, when it was told last */
	_Atomic bool changes_moved;      /* whether ID_CHANGES has moved since there are changes */
	_Atomic bool changes_told;       /* since ID_CHANGES has moved: others need another move */
	bool changes_low;                /* of the two values that it has while there are changes */
	point points[2][MOST_POINTS];    /* of a block, and room to sort them */
};

static inline plugin *of(void *self)
{
	return ((interface *)self)->plugin;
}

/* vst3.c */
v3_result V3_API query_interface(void *self, const v3_tuid iid, void **to);
uint32_t V3_API add_reference(void *self);
uint32_t V3_API drop_reference(void *self);
v3_result V3_API initialize(void *self, struct v3_funknown **context);
v3_result V3_API terminate(void *self);

/* vst3_events.c: says to the core all that happens in a block, in order. */
void take_events(plugin *, struct v3_process_data *);

/* vst3_controller.c */
extern const struct v3_edit_controller controller;
extern const struct v3_midi_mapping midi_mapping;
extern const struct v3_unit_information units;
bool changes_wait(plugin *); /* there is something to tell the host */
uint32_t parameter_index(v3_param_id); /* PARAMETERS if there is no such parameter */
double parameter_normalised(uint32_t parameter, double plain);
double parameter_plain(uint32_t parameter, double normalised);
bool parameter_unset(const plugin *, uint32_t index, double normalised); /* it is a value that nobody has set */
void controller_start(plugin *);
void controller_forget(plugin *); /* what it shows: another state is loaded */
void controller_end(plugin *);

/* utf16.c: UTF-8 into UTF-16 and back, cut to `size` units with the zero at their end. */
void to_utf16(const char *text, int16_t *utf16, size_t size);
void from_utf16(const int16_t *text, char *utf8, size_t size);

#endif
