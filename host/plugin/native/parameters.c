#include "parameters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define AS_SAVED "as saved"
#define NONE "none"

uint32_t parameter_id(uint32_t index)
{
	return index < WIRE_PARAMETER_COUNT ? index : ID_READOUTS + (index - WIRE_PARAMETER_COUNT);
}

uint32_t parameter_of_id(uint32_t id)
{
	if (id < WIRE_PARAMETER_COUNT)
		return id;
	uint32_t readout = id - ID_READOUTS;
	return id >= ID_READOUTS && readout < OWN_PARAMETERS - WIRE_PARAMETER_COUNT ? WIRE_PARAMETER_COUNT + readout
	                                                                             : OWN_PARAMETERS;
}

double parameter_now(const core *core, uint32_t parameter)
{
	if (parameter == READOUT_LATE)
		return parameter_within((double)core_late(core), 0, MOST_LATE);
	return parameter == READOUT_STATUS ? (double)core_standing(core) : core_get(core, parameter);
}

bool parameter_range_of(uint32_t parameter, parameter_range *range)
{
	*range = (parameter_range){0, 1, parameter > WIRE_GAIN};
	if (parameter == WIRE_GAIN)
		*range = (parameter_range){CORE_GAIN_LOW, CORE_GAIN_HIGH, false};
	if (parameter == WIRE_PRESET)
		range->high = PARAMETER_PRESETS;
	if (parameter == READOUT_LATE)
		range->high = MOST_LATE;
	if (parameter == READOUT_STATUS)
		range->high = CORE_SILENT;
	return parameter < OWN_PARAMETERS;
}

bool parameter_describe(const core *core, uint32_t parameter, char name[64], double *default_value)
{
	wire_parameter description = {0};
	if (parameter >= WIRE_PARAMETER_COUNT) {
		snprintf(name, 64, "%s", parameter == READOUT_LATE ? "Late blocks" : "Status");
		*default_value = 0;
		return true;
	}
	core_parameter(core, parameter, &description);
	if (description.name[0])
		snprintf(name, 64, "%.63s", description.name);
	else
		snprintf(name, 64, "Macro %u", parameter + 1);
	*default_value = parameter < WIRE_MACROS ? parameter_within(description.rest, 0, 1) : 0;
	return description.used != 0;
}

double parameter_within(double value, double low, double high)
{
	return value > low ? (value < high ? value : high) : low;
}

/* A number with a point whatever the locale, so that a project's texts mean the same everywhere. */
static void write_number(char *text, size_t size, double value, int places, const char *unit)
{
	long scale = 1;
	for (int i = 0; i < places; i++)
		scale *= 10;
	long parts = lround(fabs(value) * (double)scale);
	snprintf(text, size, "%s%ld.%0*ld%s", value < 0 && parts ? "-" : "", parts / scale, places, parts % scale, unit);
}

static bool read_number(const char *text, double *number)
{
	text += strspn(text, " \t");
	bool negative = *text == '-';
	text += *text == '-' || *text == '+';
	double value = 0, place = 1;
	bool any = false, fraction = false;
	for (; (*text >= '0' && *text <= '9') || (!fraction && (*text == '.' || *text == ',')); text++) {
		if (*text == '.' || *text == ',') {
			fraction = true;
			continue;
		}
		any = true;
		value = value * 10 + (*text - '0');
		place *= fraction ? 10 : 1;
	}
	*number = (negative ? -value : value) / place;
	return any;
}

static const char *const standings[] = {
	[CORE_STARTS] = "starting",
	[CORE_PLAYS] = "playing",
	[CORE_SILENT] = "silent: see timbrel plugin status",
};

bool parameter_text(const core *core, uint32_t parameter, double value, char *text, size_t size)
{
	parameter_range range;
	char name[64];
	if (!size || !parameter_range_of(parameter, &range))
		return false;
	value = parameter_within(value, range.low, range.high);
	if (parameter == WIRE_GAIN)
		write_number(text, size, value, 2, " dB");
	else if (parameter == WIRE_PANEL)
		snprintf(text, size, "%s", value >= 1 ? "on" : "off");
	else if (parameter == READOUT_LATE)
		snprintf(text, size, "%ld", lround(value));
	else if (parameter == READOUT_STATUS)
		snprintf(text, size, "%s", standings[(int)value]);
	else if (parameter != WIRE_PRESET)
		write_number(text, size, value, 3, "");
	else if (value < 1)
		snprintf(text, size, AS_SAVED);
	else
		snprintf(text, size, "%s", core_preset_name(core, (uint32_t)value, name) ? name : NONE);
	return true;
}

bool parameter_value(const core *core, uint32_t parameter, const char *text, double *plain)
{
	parameter_range range;
	char choice[64];
	if (!parameter_range_of(parameter, &range))
		return false;
	if (range.stepped && parameter != READOUT_LATE) {
		for (double value = range.low; value <= range.high; value++) {
			if (parameter_text(core, parameter, value, choice, sizeof choice) && strcmp(choice, text) == 0 &&
			    strcmp(choice, NONE) != 0) {
				*plain = value;
				return true;
			}
		}
	}
	if (!read_number(text, plain))
		return false;
	*plain = parameter_within(range.stepped ? floor(*plain) : *plain, range.low, range.high);
	return true;
}
