/* An LV2 plugin of a few lines, which makes a tone: what a host misses with it, the machine has missed. */
#include <lv2/core/lv2.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	float *sides[2];
	double phase, step;
} tone;

static LV2_Handle instantiate(const LV2_Descriptor *d, double rate, const char *path, const LV2_Feature *const *features)
{
	(void)d, (void)path, (void)features;
	tone *one = calloc(1, sizeof *one);
	if (one) one->step = 2 * 3.14159265358979 * 440 / rate;
	return one;
}

static void connect_port(LV2_Handle self, uint32_t port, void *data)
{
	if (port == 1 || port == 2) ((tone *)self)->sides[port - 1] = data;
}

static void run(LV2_Handle self, uint32_t count)
{
	tone *one = self;
	for (uint32_t i = 0; i < count; ++i, one->phase += one->step) one->sides[0][i] = 0.1f * (float)sin(one->phase);
	memcpy(one->sides[1], one->sides[0], count * sizeof(float));
}

static const LV2_Descriptor bare = {"urn:timbrel:bare", instantiate, connect_port, NULL, run, NULL, free, NULL};

const LV2_Descriptor *lv2_descriptor(uint32_t index) { return index == 0 ? &bare : NULL; }
