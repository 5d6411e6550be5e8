/* The state that a host keeps: where the parameters stand or rest, how late the rack is, then the patch as the server gave it.
 * Numbers are little endian, so that a project may go to another machine. */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core_internal.h"

#define STATE_MAGIC 0x53424d54u /* "TMBS" */
#define STATE_VERSION 2u
#define WITHOUT_LATENCY 1u /* the version before, whose head ends where the rack's latency begins */
#define ANSWER_MS 2000 /* that long a host that saves waits for the server */
#define LONGEST_NAME 4096u /* bytes of a preset's name or path */

enum {
	MAGIC,
	VERSION,
	KIND,
	LENGTH,
	MOVED,
	VALUES,
	RATE = VALUES + WIRE_PARAMETER_COUNT, /* Hz, at which the rack is as late as the next word says; 0: unknown */
	RACK_LATENCY,
	WORDS
};

typedef uint32_t head[WORDS];

/* With the mutex held: what is kept as the patch is the server's own word, where it gives it in time. */
static void ask(core *c)
{
	keeper *k = &c->keeper;
	server *asked_server = k->server;
	/* One that is not ready has nothing to add to a state that it has been told to load. */
	if (!asked_server || (!k->ready && k->patch.kind == PATCH_STATE)) return;
	uint32_t question = ++k->last_question;
	if (!outbox_put(&k->out, WIRE_SAVE, question, NULL, 0)) return;
	keeper_wake(c);
	struct timespec deadline;
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += ANSWER_MS / 1000;
	while (k->last_answer < question && k->server == asked_server)
		if (pthread_cond_timedwait(&k->answer, &k->mutex, &deadline) == ETIMEDOUT) return;
}

size_t core_save(core *c, void **bytes)
{
	keeper *k = &c->keeper;
	pthread_mutex_lock(&k->mutex);
	ask(c);
	if (k->patch.kind != PATCH_STATE) {
		if (!k->nameless && k->server) c->unknown = true; /* else why there is none is said */
		k->nameless = true;
		keeper_wake(c);
	}
	uint64_t rate_and_latency = c->kept_latency;
	size_t count = sizeof(head) + k->patch.length;
	unsigned char *state = malloc(count);
	if (state) {
		head h = {STATE_MAGIC, STATE_VERSION, k->patch.kind, (uint32_t)k->patch.length, c->moved_macros};
		for (uint32_t i = 0; i < WIRE_PARAMETER_COUNT; ++i) {
			float value = i == WIRE_PANEL ? 0.0f : core_get(c, i); /* a project that is opened opens no panel */
			memcpy(&h[VALUES + i], &value, sizeof value);
		}
		h[RATE] = (uint32_t)(rate_and_latency >> 32);
		h[RACK_LATENCY] = (uint32_t)rate_and_latency;
		for (uint32_t i = 0; i < WORDS; ++i) h[i] = htole32(h[i]);
		memcpy(state, h, sizeof h);
		if (k->patch.length) memcpy(state + sizeof h, k->patch.bytes, k->patch.length);
	}
	pthread_mutex_unlock(&k->mutex);
	*bytes = state;
	return state ? count : 0;
}

static bool is_name(const char *name, size_t length)
{
	return length > 0 && length <= LONGEST_NAME && !memchr(name, 0, length);
}

/* False where there is no memory. A state of the default names no patch: the one that plays stays. */
static bool load(core *c, enum patch_kind kind, const void *bytes, size_t length)
{
	if (kind != PATCH_DEFAULT) {
		patch loaded = {kind, copy_of(bytes, length), length};
		if (!loaded.bytes) return false;
		pthread_mutex_lock(&c->keeper.mutex);
		keeper_load(c, loaded);
		pthread_mutex_unlock(&c->keeper.mutex);
	}
	return true;
}

/* Reads the head that a state begins with, of either version. Returns how many bytes it has; 0 where there is none. */
static size_t read_head(head h, const void *bytes, size_t count)
{
	uint32_t version, words;
	memset(h, 0, sizeof(head));
	if (count < sizeof(uint32_t) * RATE) return 0;
	memcpy(&version, (const char *)bytes + sizeof version * VERSION, sizeof version);
	words = le32toh(version) == WITHOUT_LATENCY ? RATE : WORDS;
	if (count < sizeof(uint32_t) * words) return 0;
	memcpy(h, bytes, sizeof(uint32_t) * words);
	for (uint32_t i = 0; i < words; ++i) h[i] = le32toh(h[i]);
	bool is = h[MAGIC] == STATE_MAGIC && (h[VERSION] == STATE_VERSION || h[VERSION] == WITHOUT_LATENCY);
	return is ? sizeof(uint32_t) * words : 0;
}

bool core_load(core *c, const void *bytes, size_t count)
{
	head h;
	float values[WIRE_PARAMETER_COUNT];
	size_t size = read_head(h, bytes, count);
	if (!size) return false;
	memcpy(values, &h[VALUES], sizeof values);
	const char *body = (const char *)bytes + size;
	if (h[KIND] > PATCH_PRESET || h[MOVED] >> WIRE_MACROS || h[LENGTH] != count - size
	    || h[LENGTH] > WIRE_LONGEST_MESSAGE || (h[KIND] == PATCH_DEFAULT && h[LENGTH])
	    || (h[KIND] == PATCH_PRESET && !is_name(body, h[LENGTH])) || h[RATE] > FASTEST_RATE
	    || h[RACK_LATENCY] > LONGEST_RACK_LATENCY)
		return false;
	for (uint32_t i = 0; i < WIRE_PARAMETER_COUNT; ++i)
		if (sound_allowed(i, values[i]) != values[i]) return false;
	if (!load(c, h[KIND], body, h[LENGTH])) return false;
	for (uint32_t i = 0; i < WIRE_PARAMETER_COUNT; ++i) c->values[i] = values[i];
	c->moved_macros = h[MOVED];
	for (uint32_t i = 0; i < WIRE_MACROS; ++i) c->loaded[i] = values[i];
	if (h[KIND] != PATCH_DEFAULT) { /* its patch is as late, and its macros rest there, until the server tells */
		c->kept_latency = (uint64_t)h[RATE] << 32 | h[RACK_LATENCY];
		for (uint32_t i = 0; i < WIRE_MACROS; ++i) c->rests[i] = values[i];
	}
	c->chooses = false;
	c->reloaded = true;
	return true;
}

bool core_load_preset(core *c, const char *name)
{
	if (!is_name(name, strlen(name)) || !load(c, PATCH_PRESET, name, strlen(name))) return false;
	core_rest_macros(c);
	c->values[WIRE_PRESET] = 0;
	c->kept_latency = 0;
	c->chooses = false;
	c->reloaded = true;
	return true;
}
