/* An LV2 host for tests: plays a list of events into one plugin, and writes down what comes out.
 *
 *     lilv_host URI RATE BLOCKS SAMPLES EVENTS OUTPUT [freewheel] [live=N] [load=FILE.ttl] [save=FILE.ttl]
 *
 * BLOCKS are lengths, such as 64,128,1000, which take turns. EVENTS is a text file, its lines in order of time:
 *
 *     SAMPLE midi BYTE BYTE BYTE         hexadecimal
 *     SAMPLE control SYMBOL VALUE        a block begins there
 *     SAMPLE position BPM SPEED FRAME    as a transport says it; BPM may be left out: -
 *     SAMPLE position BPM/UNIT SPEED FRAME     UNIT 8: a beat is an eighth
 *
 * OUTPUT gets both channels interleaved, 32-bit float. `freewheel` sets that port; `live` keeps to a clock that goes N times
 * slower than time does, and stops for a while after each silent block. At the end it says `latency N`, `late N` and
 * `status N`, from the plugin's ports, on its own output.
 */
#define _GNU_SOURCE
#include <lilv/lilv.h>
#include <lv2/atom/atom.h>
#include <lv2/atom/forge.h>
#include <lv2/buf-size/buf-size.h>
#include <lv2/midi/midi.h>
#include <lv2/options/options.h>
#include <lv2/parameters/parameters.h>
#include <lv2/state/state.h>
#include <lv2/time/time.h>
#include <lv2/urid/urid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LONGEST 65536
#define SEQUENCE (1 << 20) /* bytes */
#define PORTS 64
#define LINES 200000

static char *names[1000];
static uint32_t named;

static LV2_URID map(void *handle, const char *uri)
{
	(void)handle;
	for (uint32_t i = 0; i < named; ++i)
		if (!strcmp(names[i], uri)) return i + 1;
	names[named] = strdup(uri);
	return ++named;
}

static const char *unmap(void *handle, LV2_URID urid)
{
	(void)handle;
	return urid && urid <= named ? names[urid - 1] : NULL;
}

static LV2_URID_Map mapping = {NULL, map};
static LV2_URID_Unmap unmapping = {NULL, unmap};

static void die(const char *what)
{
	fprintf(stderr, "lilv_host: %s\n", what);
	exit(1);
}

typedef struct {
	long sample;
	char kind[16], a[64], b[64], c[64];
} line;

static line lines[LINES];

static size_t read_lines(const char *path)
{
	FILE *file = fopen(path, "r");
	char text[256];
	size_t count = 0;
	if (!file) die("no file of events");
	while (fgets(text, sizeof text, file)) {
		if (count == LINES) die("too many events");
		line *l = &lines[count];
		if (sscanf(text, "%ld %15s %63s %63s %63s", &l->sample, l->kind, l->a, l->b, l->c) >= 3) ++count;
	}
	fclose(file);
	return count;
}

static const LilvPlugin *plugin;
static const char *symbols[PORTS];
static float controls[PORTS];
static uint32_t ports;

static uint32_t port(const char *symbol)
{
	for (uint32_t i = 0; i < ports; ++i)
		if (!strcmp(symbols[i], symbol)) return i;
	die("no such port");
	return 0;
}

static void set_port(const char *symbol, void *self, const void *value, uint32_t size, uint32_t type)
{
	(void)self;
	(void)size;
	if (type == map(NULL, LV2_ATOM__Float)) controls[port(symbol)] = *(const float *)value;
}

static const void *get_port(const char *symbol, void *self, uint32_t *size, uint32_t *type)
{
	(void)self;
	*size = sizeof(float);
	*type = map(NULL, LV2_ATOM__Float);
	return &controls[port(symbol)];
}

static void forge_event(LV2_Atom_Forge *forge, const line *l, long offset)
{
	lv2_atom_forge_frame_time(forge, offset);
	if (!strcmp(l->kind, "midi")) {
		const char *texts[] = {l->a, l->b, l->c};
		uint8_t bytes[3];
		uint32_t count = 0;
		for (; count < 3 && texts[count][0]; ++count) bytes[count] = (uint8_t)strtoul(texts[count], NULL, 16);
		lv2_atom_forge_atom(forge, count, map(NULL, LV2_MIDI__MidiEvent));
		lv2_atom_forge_write(forge, bytes, count);
	} else if (!strcmp(l->kind, "position")) {
		LV2_Atom_Forge_Frame frame;
		lv2_atom_forge_object(forge, &frame, 0, map(NULL, LV2_TIME__Position));
		if (strcmp(l->a, "-")) {
			lv2_atom_forge_key(forge, map(NULL, LV2_TIME__beatsPerMinute));
			char *end;
			lv2_atom_forge_float(forge, strtof(l->a, &end));
			if (*end) {
				lv2_atom_forge_key(forge, map(NULL, LV2_TIME__beatUnit));
				lv2_atom_forge_int(forge, atoi(end + 1));
			}
		}
		lv2_atom_forge_key(forge, map(NULL, LV2_TIME__speed));
		lv2_atom_forge_float(forge, strtof(l->b, NULL));
		lv2_atom_forge_key(forge, map(NULL, LV2_TIME__frame));
		lv2_atom_forge_long(forge, atol(l->c));
		lv2_atom_forge_pop(forge, &frame);
	} else die("an event of no kind");
}

static bool reads(LilvWorld *world, const LilvPort *one, const char *class)
{
	LilvNode *node = lilv_new_uri(world, class);
	bool is = lilv_port_is_a(plugin, one, node);
	lilv_node_free(node);
	return is;
}

int main(int count, char **arguments)
{
	if (count < 7) die("arguments: URI RATE BLOCKS SAMPLES EVENTS OUTPUT [freewheel] [live=N] [load=FILE] [save=FILE]");
	double rate = atof(arguments[2]);
	long samples = atol(arguments[4]);
	bool freewheel = false;
	double slower = 0;
	const char *load = NULL, *save = NULL;
	for (int i = 7; i < count; ++i) {
		freewheel |= !strcmp(arguments[i], "freewheel");
		if (!strncmp(arguments[i], "live=", 5)) slower = atof(arguments[i] + 5);
		if (!strncmp(arguments[i], "load=", 5)) load = arguments[i] + 5;
		if (!strncmp(arguments[i], "save=", 5)) save = arguments[i] + 5;
	}
	const int32_t shortest = 1, most = LONGEST; /* more than it ever asks for, as some hosts say */
	int32_t blocks[64], longest = 0;
	uint32_t turns = 0;
	for (char *at = strtok(arguments[3], ","); at && turns < 64; at = strtok(NULL, ",")) {
		blocks[turns] = atoi(at);
		if (blocks[turns] > longest) longest = blocks[turns];
		++turns;
	}
	if (longest < 1 || longest > LONGEST) die("blocks are from 1 to 65536 samples");
	size_t events = read_lines(arguments[5]);
	FILE *output = fopen(arguments[6], "wb");
	if (!output) die("the output cannot be written");

	LilvWorld *world = lilv_world_new();
	lilv_world_load_all(world);
	LilvNode *uri = lilv_new_uri(world, arguments[1]);
	plugin = lilv_plugins_get_by_uri(lilv_world_get_all_plugins(world), uri);
	if (!plugin) die("no such plugin in LV2_PATH");
	ports = lilv_plugin_get_num_ports(plugin);
	if (ports > PORTS) die("too many ports");
	lilv_plugin_get_port_ranges_float(plugin, NULL, NULL, controls);

	LV2_URID is_int = map(NULL, LV2_ATOM__Int);
	float rate_option = (float)rate;
	const LV2_Options_Option options[] = {
	    {LV2_OPTIONS_INSTANCE, 0, map(NULL, LV2_BUF_SIZE__minBlockLength), sizeof shortest, is_int, &shortest},
	    {LV2_OPTIONS_INSTANCE, 0, map(NULL, LV2_BUF_SIZE__maxBlockLength), sizeof most, is_int, &most},
	    {LV2_OPTIONS_INSTANCE, 0, map(NULL, LV2_BUF_SIZE__nominalBlockLength), sizeof longest, is_int, &longest},
	    {LV2_OPTIONS_INSTANCE, 0, map(NULL, LV2_PARAMETERS__sampleRate), sizeof rate_option, map(NULL, LV2_ATOM__Float),
	     &rate_option},
	    {LV2_OPTIONS_INSTANCE, 0, 0, 0, 0, NULL}};
	const LV2_Feature map_feature = {LV2_URID__map, &mapping}, unmap_feature = {LV2_URID__unmap, &unmapping},
	                  options_feature = {LV2_OPTIONS__options, (void *)options};
	const LV2_Feature *features[] = {&map_feature, &unmap_feature, &options_feature, NULL};
	LilvInstance *instance = lilv_plugin_instantiate(plugin, rate, features);
	if (!instance) die("the plugin does not start");

	static union {
		LV2_Atom_Sequence sequence;
		uint8_t bytes[SEQUENCE];
	} input;
	static float sound[2][LONGEST], both[2 * LONGEST];
	uint32_t channel = 0;
	for (uint32_t i = 0; i < ports; ++i) {
		const LilvPort *one = lilv_plugin_get_port_by_index(plugin, i);
		symbols[i] = lilv_node_as_string(lilv_port_get_symbol(plugin, one));
		if (reads(world, one, LV2_CORE__AudioPort)) lilv_instance_connect_port(instance, i, sound[channel++ & 1]);
		else if (reads(world, one, LV2_ATOM__AtomPort)) lilv_instance_connect_port(instance, i, &input);
		else lilv_instance_connect_port(instance, i, &controls[i]);
	}
	if (load) {
		LilvState *state = lilv_state_new_from_file(world, &mapping, NULL, load);
		if (!state) die("the state cannot be read");
		lilv_state_restore(state, instance, set_port, NULL, 0, features);
		lilv_state_free(state);
	}
	if (freewheel) controls[port("freewheel")] = 1;
	lilv_instance_activate(instance);

	LV2_Atom_Forge forge;
	lv2_atom_forge_init(&forge, &mapping);
	struct timespec next;
	clock_gettime(CLOCK_MONOTONIC, &next);
	size_t event = 0;
	uint32_t turn = 0;
	for (long at = 0; at < samples; ++turn) {
		long length = blocks[turn % turns] < samples - at ? blocks[turn % turns] : samples - at;
		for (size_t i = event; i < events && lines[i].sample < at + length; ++i)
			if (!strcmp(lines[i].kind, "control") && lines[i].sample > at) length = lines[i].sample - at;
		LV2_Atom_Forge_Frame frame;
		lv2_atom_forge_set_buffer(&forge, input.bytes, SEQUENCE);
		lv2_atom_forge_sequence_head(&forge, &frame, 0);
		for (; event < events && lines[event].sample < at + length; ++event) {
			const line *l = &lines[event];
			if (!strcmp(l->kind, "control")) controls[port(l->a)] = strtof(l->b, NULL);
			else forge_event(&forge, l, l->sample - at);
		}
		lv2_atom_forge_pop(&forge, &frame);
		lilv_instance_run(instance, (uint32_t)length);
		for (long i = 0; i < length; ++i) {
			both[2 * i] = sound[0][i];
			both[2 * i + 1] = sound[1][i];
		}
		fwrite(both, 2 * sizeof(float), (size_t)length, output);
		at += length;
		if (slower > 0) {
			bool silent = true;
			for (long i = 0; i < 2 * length; ++i) silent = silent && both[i] == 0;
			next.tv_nsec += (long)(1e9 * slower * (double)length / rate) + (silent ? 200000000 : 0);
			next.tv_sec += next.tv_nsec / 1000000000;
			next.tv_nsec %= 1000000000;
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		}
	}
	printf("latency %.0f\nlate %.0f\n", controls[port("latency")], controls[port("late")]);
	printf("status %.0f\n", controls[port("status")]);
	lilv_instance_deactivate(instance);
	if (save) {
		LilvState *state = lilv_state_new_from_instance(plugin, instance, &mapping, NULL, NULL, NULL, NULL, get_port, NULL,
		                                                LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE, features);
		char *folder = strdup(save), *slash = strrchr(folder, '/');
		if (!slash) die("save=FOLDER/FILE.ttl");
		*slash = 0;
		if (lilv_state_save(world, &mapping, &unmapping, state, NULL, folder, slash + 1)) die("the state cannot be saved");
		free(folder);
		lilv_state_free(state);
	}
	lilv_instance_free(instance);
	lilv_node_free(uri);
	lilv_world_free(world);
	return fclose(output) ? 1 : 0;
}
