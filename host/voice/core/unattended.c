#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE
#include "unattended.h"

#include <string.h>

#if defined(_WIN32)

void core_run_unattended(UnattendedRun *run)
{
	run->blocks = 0; /* Windows has no such clock */
}

#else

#include <stdatomic.h>
#include <time.h>

#include "../../midi/core/clock.h"

static void sleep_for(double seconds)
{
	struct timespec length = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
	nanosleep(&length, NULL);
}

static int64_t queued(const CardRing *ring)
{
	int64_t samples = (ring->written - ring->read) & ring->position_mask;
	atomic_thread_fence(memory_order_acquire);
	return samples;
}

static void write_ring(CardRing *ring, const float *sound, int64_t stride, int64_t count)
{
	float *frames = (float *)ring->elements;
	RingIndex written = ring->written;
	for (int64_t index = 0; index < count; index++) {
		float *frame = frames + OUTPUTS * ((written + index) & ring->index_mask);
		frame[0] = sound[index];
		frame[1] = sound[stride + index];
	}
	atomic_thread_fence(memory_order_release);
	ring->written = (RingIndex)((written + count) & ring->position_mask);
}

/* As Timeline.observe. */
static void observe(UnattendedRun *run, int64_t played, double seconds)
{
	double lowest = (double)played - seconds * run->rate, share = (seconds - run->observed) / run->forget;
	run->offset += (lowest - run->offset) * (share < 1.0 ? share : 1.0);
	if (run->offset < lowest)
		run->offset = lowest;
	if (run->offset > lowest + run->block)
		run->offset = lowest + run->block;
	run->observed = seconds;
}

static int has_arrived(const UnattendedRun *run)
{
	return __atomic_load_n(run->arrival, __ATOMIC_ACQUIRE) != 0;
}

/* As RenderLoop._wait; return whether the ring lacks a block. */
static int wait_for_card(UnattendedRun *run)
{
	double began = seconds_now(), block_seconds = (double)run->block / run->rate;
	int64_t room_at = (int64_t)(run->depth - 1) * run->block;
	for (;;) {
		double now = seconds_now();
		int64_t waiting = queued(run->ring), played = run->written - waiting;
		observe(run, played, now);
		if (waiting <= room_at) {
			double elapsed = now * run->rate + run->offset - (double)played;
			if (elapsed < run->settled && waiting >= room_at)
				sleep_for((run->settled - elapsed) / run->rate);
			return 1;
		}
		if (now > began + run->patience)
			return 0;
		double wait_seconds = ((double)(run->written - room_at) - run->offset) / run->rate + run->read_seconds - now;
		sleep_for(wait_seconds > 0 && wait_seconds < block_seconds ? wait_seconds : run->poll_seconds);
	}
}

/* The model's next `count` samples, [OUTPUTS, count]. */
static void pull(UnattendedRun *run, int64_t count, float *sound)
{
	memset(run->parts, 0, sizeof(float) * run->bus_count * PARTS * run->channels * count);
	core_render(run->core, run->voices, run->voice_count, run->now, (int32_t)count, run->parts);
	core_mix(run->core, run->buses, run->bus_count, run->now, (int32_t)count, run->parts, sound);
	run->now += count;
}

/* Of the model's samples that a block of the card needs. */
static int64_t source_count(const UnattendedRun *run)
{
	int64_t lacking = run->block - run->converted_count;
	if (!run->table)
		return run->block;
	return lacking <= 0 ? 0 : (lacking * run->down + run->up - 1) / run->up + 1;
}

/* As RateConversion.process, of inputs [OUTPUTS, count]; the outputs join `converted`. */
static void convert(UnattendedRun *run, const float *inputs, int64_t count, float *joined, float *outputs)
{
	int64_t total = run->pending_count + count, room = total - run->taps;
	int64_t output_count = room < 0 ? 0 : ((room + 1) * run->up - 1 - run->phase) / run->down + 1;
	int64_t end = run->phase + output_count * run->down, first = end / run->up;
	for (int channel = 0; channel < OUTPUTS; channel++) {
		float *row = joined + channel * total;
		memcpy(row, run->pending + channel * MOST_SAMPLES, sizeof(float) * run->pending_count);
		memcpy(row + run->pending_count, inputs + channel * count, sizeof(float) * count);
		memcpy(run->pending + channel * MOST_SAMPLES, row + first, sizeof(float) * (total - first));
	}
	core_convert(joined, total, OUTPUTS, run->table, (int32_t)run->taps, run->up, run->down, run->phase, output_count,
	             outputs);
	for (int channel = 0; channel < OUTPUTS; channel++)
		memcpy(run->converted + channel * MOST_SAMPLES + run->converted_count, outputs + channel * output_count,
		       sizeof(float) * output_count);
	run->converted_count += output_count;
	run->pending_count = total - first;
	run->phase = end % run->up;
}

/* The card's next block, [OUTPUTS, block], before the limiter. */
static void make_block(UnattendedRun *run, float *sound)
{
	float *inputs = run->scratch, *joined = inputs + OUTPUTS * MOST_SAMPLES, *outputs = joined + OUTPUTS * MOST_SAMPLES;
	if (!run->table) {
		pull(run, run->block, sound);
		return;
	}
	while (run->converted_count < run->block) {
		int64_t count = source_count(run);
		pull(run, count, inputs);
		convert(run, inputs, count, joined, outputs);
	}
	run->converted_count -= run->block;
	for (int channel = 0; channel < OUTPUTS; channel++) {
		float *row = run->converted + channel * MOST_SAMPLES;
		memcpy(sound + channel * run->block, row, sizeof(float) * run->block);
		memmove(row, row + run->block, sizeof(float) * run->converted_count);
	}
}

/* The place in its scratch of a run's block. */
static float *block_of(const UnattendedRun *run)
{
	return run->scratch + 3 * OUTPUTS * MOST_SAMPLES;
}

/* The sum of all runs' blocks, in the place of the first one's. */
static void make_sum(UnattendedRun *run)
{
	float *sum = block_of(run);
	make_block(run, sum);
	for (UnattendedRun *other = run->next; other; other = other->next) {
		float *block = block_of(other);
		make_block(other, block);
		for (int64_t index = 0; index < OUTPUTS * (int64_t)run->block; index++)
			sum[index] += block[index];
	}
}

/* Send a run's voices the codes of the hop that has begun. */
static void send_codes(UnattendedRun *run)
{
	if (!run->knobs)
		return;
	int64_t end = core_knob_codes(run->core, run->voices, run->voice_count, run->knobs, run->now);
	if (end > run->codes_end) {
		run->codes_end = end;
		run->decodes_ahead = 1;
	}
}

/* Decode rows that a run's voices will read. */
static void decode_ahead(UnattendedRun *run)
{
	if (run->decodes_ahead)
		run->decodes_ahead = core_ahead(run->core, run->voices, run->voice_count, run->now, run->ahead_rows) > 0;
}

/* Whether another block needs neither the caller nor an event, once the card lacks it. */
static int goes_on(UnattendedRun *run)
{
	if (run->blocks >= run->most)
		return 0;
	for (UnattendedRun *each = run; each; each = each->next) {
		int64_t end = each->now + source_count(each);
		if (each->now >= each->needed_at || end > each->known_end || end > each->codes_end)
			return 0;
	}
	return !has_arrived(run) && wait_for_card(run) && !has_arrived(run);
}

void core_run_unattended(UnattendedRun *run)
{
	int64_t stride = (int64_t)MOST_BLOCKS * run->block;
	float *block = block_of(run);
	int ran_low;
	run->blocks = 0;
	do {
		double began = seconds_now();
		make_sum(run);
		core_limit(block, OUTPUTS * (int64_t)run->block);
		ran_low = queued(run->ring) < run->block; /* the card may have found it empty: the caller looks */
		write_ring(run->ring, block, run->block, run->block);
		run->written += run->block;
		for (int channel = 0; channel < OUTPUTS; channel++)
			memcpy(run->sound + channel * stride + (int64_t)run->blocks * run->block, block + channel * run->block,
			       sizeof(float) * run->block);
		for (UnattendedRun *each = run; each; each = each->next) {
			send_codes(each);
			if (queued(run->ring) > (int64_t)(run->depth - 1) * run->block) /* after a stall, sound first */
				decode_ahead(each);
		}
		run->seconds[run->blocks++] = seconds_now() - began;
	} while (!ran_low && goes_on(run));
	for (UnattendedRun *other = run->next; other; other = other->next)
		other->blocks = run->blocks;
}

#endif
