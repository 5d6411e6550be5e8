/* The parameters as a host sees them: names, ranges and texts, which CLAP and VST3 share. */
#ifndef TIMBREL_PARAMETERS_H
#define TIMBREL_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core.h"

/* Choices of the preset parameter besides 0. There are as many whatever is installed, for a host reads them before the
 * server has told how many presets there are, and automation keeps its meaning where presets are added. */
#define PARAMETER_PRESETS 127

/* Parameters that the plugin moves and the host reads, after those of wire.h, whose number may grow: the identifiers are
 * apart from it. */
enum { READOUT_LATE = WIRE_PARAMETER_COUNT, READOUT_STATUS, OWN_PARAMETERS };
#define ID_READOUTS 0x0f00u
#define MOST_LATE 1000000 /* blocks: more are shown as these */

uint32_t parameter_id(uint32_t index);    /* of the parameter of an index below OWN_PARAMETERS */
uint32_t parameter_of_id(uint32_t id);    /* its index; OWN_PARAMETERS if there is none */
double parameter_now(const core *, uint32_t parameter); /* where it stands */

typedef struct {
	double low, high; /* in the parameter's own unit */
	bool stepped;     /* whole numbers only */
} parameter_range;

bool parameter_range_of(uint32_t parameter, parameter_range *range); /* false: there is no such parameter */

/* The name of one that there is, UTF-8, and where it rests; false if it is a macro that moves nothing. */
bool parameter_describe(const core *, uint32_t parameter, char name[64], double *default_value);

/* Text of a value, UTF-8, cut to `size` bytes with the zero at its end; false if there is no such parameter. */
bool parameter_text(const core *, uint32_t parameter, double value, char *text, size_t size);

/* The value of a text, within the range; false if it is none. */
bool parameter_value(const core *, uint32_t parameter, const char *text, double *plain);

double parameter_within(double value, double low, double high); /* `low` for what is no number */

#endif
