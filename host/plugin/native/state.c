/* The state that a host keeps: where the parameters stand, then the patch as the server gave it. Numbers are little
 * endian, so that a project may go to another machine. */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inside.h"

#define STATE_MAGIC 0x53424d54u /* "TMBS" */
#define STATE_VERSION 1u
#define ANSWER_MS 2000 /* that long a host that saves waits for the server */
#define LONGEST_NAME 4096u /* bytes of a preset's name or path */

enum { MAGIC, VERSION, KIND, LENGTH, MOVED, VALUES, WORDS = VALUES + WIRE_PARAMETER_COUNT };

typedef uint32_t head[WORDS];

/* With the mutex held: what is kept as the patch is the server's own word, where it gives it in time. */
static void ask(core *c)
{
	keeper *k = &c->keeper;
	server *asked = k->server;
	/* One that is not ready has nothing to add to a state that it has been told to load. */
	if (!asked || (!k->ready && k->patch.kind == PATCH_STATE)) return;
	uint32_t question = ++k->asked;
	if (!outbox_put(&k->out, WIRE_SAVE, question, NULL, 0)) return;
	keeper_wake(c);
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ANSWER_MS / 1000;
	while (k->answered < question && k->server == asked)
		if (pthread_cond_timedwait(&k->answer, &k->mutex, &until) == ETIMEDOUT) return;
}

size_t core_save(core *c, void **bytes)
{
	keeper *k = &c->keeper;
	pthread_mutex_lock(&k->mutex);
	ask(c);
	size_t count = sizeof(head) + k->patch.length;
	unsigned char *all = malloc(count);
	if (all) {
		head h = {STATE_MAGIC, STATE_VERSION, k->patch.kind, (uint32_t)k->patch.length, c->moved};
		for (uint32_t i = 0; i < WIRE_PARAMETER_COUNT; ++i) {
			float value = i == WIRE_PANEL ? 0.0f : c->values[i]; /* a project that is opened opens no panel */
			memcpy(&h[VALUES + i], &value, sizeof value);
		}
		for (uint32_t i = 0; i < WORDS; ++i) h[i] = htole32(h[i]);
		memcpy(all, h, sizeof h);
		if (k->patch.length) memcpy(all + sizeof h, k->patch.bytes, k->patch.length);
	}
	pthread_mutex_unlock(&k->mutex);
	*bytes = all;
	return all ? count : 0;
}

static bool is_name(const char *name, size_t length)
{
	return length > 0 && length <= LONGEST_NAME && !memchr(name, 0, length);
}

/* False where there is no memory. A state of the default names no patch: the one that plays stays. */
static bool load(core *c, enum patch_kind kind, const void *bytes, size_t length)
{
	if (kind != PATCH_DEFAULT) {
		patch loaded = {kind, malloc(length ? length : 1), length};
		if (!loaded.bytes) return false;
		memcpy(loaded.bytes, bytes, length);
		pthread_mutex_lock(&c->keeper.mutex);
		keeper_load(c, loaded);
		pthread_mutex_unlock(&c->keeper.mutex);
	}
	return true;
}

bool core_load(core *c, const void *bytes, size_t count)
{
	head h;
	float values[WIRE_PARAMETER_COUNT];
	if (count < sizeof h) return false;
	memcpy(h, bytes, sizeof h);
	for (uint32_t i = 0; i < WORDS; ++i) h[i] = le32toh(h[i]);
	memcpy(values, &h[VALUES], sizeof values);
	const char *body = (const char *)bytes + sizeof h;
	if (h[MAGIC] != STATE_MAGIC || h[VERSION] != STATE_VERSION || h[KIND] > PATCH_PRESET || h[MOVED] >> WIRE_MACROS
	    || h[LENGTH] != count - sizeof h || h[LENGTH] > WIRE_LONGEST_MESSAGE
	    || (h[KIND] == PATCH_DEFAULT && h[LENGTH]) || (h[KIND] == PATCH_PRESET && !is_name(body, h[LENGTH])))
		return false;
	for (uint32_t i = 0; i < WIRE_PARAMETER_COUNT; ++i)
		if (sound_allowed(i, values[i]) != values[i]) return false;
	if (!load(c, h[KIND], body, h[LENGTH])) return false;
	for (uint32_t i = 0; i < WIRE_PARAMETER_COUNT; ++i) c->values[i] = values[i];
	c->moved = h[MOVED];
	c->chooses = false;
	c->reloaded = true;
	return true;
}

bool core_load_preset(core *c, const char *name)
{
	if (!is_name(name, strlen(name)) || !load(c, PATCH_PRESET, name, strlen(name))) return false;
	for (uint32_t i = 0; i < WIRE_MACROS; ++i) c->values[i] = MACRO_DEFAULT;
	c->values[WIRE_PRESET] = 0;
	c->moved = 0;
	c->chooses = false;
	c->reloaded = true;
	return true;
}
