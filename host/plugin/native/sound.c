/* The thread of sound: a block's events are noted, then sent, and what the server has made is given out. Nothing here
 * allocates, locks or, but in a bounce, waits. */
#include <math.h>
#include <string.h>

#include "core_internal.h"

#define LONGEST_LATENCY (WIRE_RING / 2) /* samples; the ring has room for as many again to be made */
#define SHORT_BLOCK (256.0 / 48000) /* seconds: a server that has less time than this is held up too often */
#define LEAST_TIME (SHORT_BLOCK / 2) /* that a server has in short blocks: two of them, or more where they are very short */
#define OPENING 64u      /* events: room for what an epoch begins with, or for what ends notes whose ends were lost */
#define PATIENCE 30000   /* ms that a bounce waits for a server that makes nothing, such as while a model loads */
#define NAP 100          /* ms: that long a waiter goes without looking whether the server has ended */
#define LEAST_TEMPO 1.0  /* quarter notes a minute */
#define MOST_TEMPO 1000.0
#define SAME_TEMPO 1e-3

static bool usable(const server *candidate) { return !candidate->ended && !candidate->nonsense; }

static bool plays(const sound *s) { return s->server && !s->begins && usable(s->server); }

static void new_latency(core *c)
{
	const sound *s = &c->sound;
	uint32_t block_latency = s->block >= SHORT_BLOCK * s->rate ? s->block : 2 * s->block;
	while (block_latency < LONGEST_LATENCY && block_latency < LEAST_TIME * s->rate && s->block) block_latency += s->block;
	if (s->offline) block_latency = 0;
	if (block_latency + s->rack_latency < s->least_latency) block_latency = s->least_latency - s->rack_latency;
	uint32_t latency = (block_latency < LONGEST_LATENCY ? block_latency : LONGEST_LATENCY) + s->rack_latency;
	if (atomic_exchange(&c->latency, latency) != latency) core_tell(c, CHANGED_LATENCY);
}

/* The sampling rate in Hz; 0 where it is none for which a latency is kept. */
static uint32_t whole_rate(const sound *s)
{
	return s->rate >= 1 && s->rate <= FASTEST_RATE ? (uint32_t)lround(s->rate) : 0;
}

/* Until a server tells how late the rack is, it is taken to be as late as it was before, at the same rate. */
static void expect_rack_latency(core *c)
{
	sound *s = &c->sound;
	uint64_t rate_and_latency = c->kept_latency;
	if (rate_and_latency >> 32 && rate_and_latency >> 32 == whole_rate(s)) s->rack_latency = (uint32_t)rate_and_latency;
}

void core_activate(core *c, double rate, uint32_t block)
{
	sound *s = &c->sound;
	if (!s->active) keeper_revive(c);
	s->rate = rate;
	expect_rack_latency(c);
	s->block = block;
	s->active = s->begins = true;
	s->noted = s->taken = 0;
	s->least_latency = 0;
	s->told_tempo = s->tempo;
	s->told_rolling = s->rolling;
	s->sounded = s->missed = false;
	c->spoilt = false;
	c->late = 0;
	gap_start(&s->gap, rate);
	new_latency(c);
}

void core_keep_latency(core *c) { c->sound.least_latency = c->latency; }

void core_deactivate(core *c) { c->sound.active = false; }

void core_offline(core *c, bool offline)
{
	sound *s = &c->sound;
	if (s->offline == offline) return;
	s->offline = offline;
	s->begins = true;
	c->spoilt = false;
	if (offline) gap_start(&s->gap, s->rate); /* what was silent before it does not fade its beginning in */
	new_latency(c);
}

/* ---- a block's events are noted */

static void note(core *c, uint32_t offset, noted_event entry)
{
	sound *s = &c->sound;
	if (!s->active) return;
	if (s->noted == WIRE_EVENTS) {
		s->lost = true;
		c->lost += 1;
		return;
	}
	uint64_t previous_time = s->noted ? s->events[s->noted - 1].event.time : 0;
	entry.event.time = offset > previous_time ? offset : previous_time;
	s->events[s->noted++] = entry;
}

#define LONGEST_EXCLUSIVE 18u /* bytes of a message that may mean something to the server */

static void note_exclusive(core *c, uint32_t offset, const uint8_t *bytes, uint32_t count)
{
	if (count > LONGEST_EXCLUSIVE || bytes[count - 1] != 0xf7) return;
	for (uint32_t i = 0; i < count; i += 3) {
		uint32_t chunk_bytes = count - i < 3 ? count - i : 3;
		noted_event entry = {.event = {.kind = WIRE_EXCLUSIVE, .number = (uint16_t)chunk_bytes}};
		memcpy(entry.event.data, bytes + i, chunk_bytes);
		note(c, offset, entry);
	}
}

void core_midi(core *c, uint32_t offset, const uint8_t *bytes, uint32_t count)
{
	if (count > 0 && bytes[0] == 0xf0) note_exclusive(c, offset, bytes, count);
	if (count < 1 || bytes[0] < 0x80 || bytes[0] >= 0xf0) return; /* messages of a channel alone */
	bool two_bytes = bytes[0] >= 0xc0 && bytes[0] < 0xe0;
	if (count != (two_bytes ? 2 : 3) || bytes[1] > 0x7f || (!two_bytes && bytes[2] > 0x7f)) return;
	/* The server does what a program change asks. The parameter goes to what the project has: else a host could not choose
	 * by it what it chose before. */
	if ((bytes[0] & 0xf0) == 0xc0 && !c->chooses) c->values[WIRE_PRESET] = 0;
	noted_event entry = {.event = {.kind = WIRE_MIDI, .number = (uint16_t)count}};
	memcpy(entry.event.data, bytes, count);
	note(c, offset, entry);
}

float sound_allowed(uint32_t parameter, float value)
{
	float low = parameter == WIRE_GAIN ? CORE_GAIN_LOW : 0.0f;
	float high = parameter == WIRE_GAIN ? CORE_GAIN_HIGH : parameter == WIRE_PRESET ? 65535.0f : 1.0f;
	if (parameter >= WIRE_PRESET) value = roundf(value);
	return value < low ? low : value > high ? high : value;
}

void core_set(core *c, uint32_t offset, uint32_t parameter, float value)
{
	if (parameter >= WIRE_PARAMETER_COUNT || !isfinite(value)) return;
	value = sound_allowed(parameter, value);
	uint32_t bit = parameter < WIRE_MACROS ? 1u << parameter : 0, moved_macros = c->moved_macros;
	float old_value = atomic_exchange(&c->values[parameter], value);
	if (!bit && value == old_value) return;
	if (bit) atomic_fetch_or(&c->moved_macros, bit);
	if (parameter == WIRE_PRESET && value > 0) {
		core_rest_macros(c); /* it sounds as it was made, whatever was moved before */
		if (!c->sound.active || !plays(&c->sound)) {
			c->chooses = true; /* what no server hears now is said when an epoch begins */
			keeper_revive(c);
			return;
		}
	}
	note(c, offset,
	     (noted_event){.event = {.kind = WIRE_PARAMETER, .number = (uint16_t)parameter, .value = value},
	                   .old_value = old_value,
	                   .had_moved = (moved_macros & bit) != 0});
}

void core_tempo(core *c, uint32_t offset, double bpm)
{
	sound *s = &c->sound;
	if (!(bpm >= LEAST_TEMPO && bpm <= MOST_TEMPO) || fabs(bpm - s->told_tempo) < SAME_TEMPO) return;
	s->told_tempo = bpm;
	note(c, offset, (noted_event){.event = {.kind = WIRE_TEMPO, .value = (float)bpm}});
}

void core_transport(core *c, uint32_t offset, bool rolling, bool from_the_beginning, uint32_t song_samples)
{
	sound *s = &c->sound;
	if (rolling == s->told_rolling && !(rolling && from_the_beginning)) return;
	s->told_rolling = rolling;
	if (rolling) s->song_samples = song_samples;
	uint16_t number = !rolling ? 0 : from_the_beginning ? 1 : 2;
	note(c, offset, (noted_event){.event = {.kind = WIRE_TRANSPORT, .number = number}});
}

/* ---- and sent */

static uint32_t room(const sound *s)
{
	const wire_memory *m = s->server->memory;
	uint64_t waiting = m->event_head - m->event_tail;
	if (waiting > WIRE_EVENTS) s->server->nonsense = true;
	return waiting > WIRE_EVENTS ? 0 : WIRE_EVENTS - (uint32_t)waiting;
}

/* The caller knows that there is room. */
static void send_event(sound *s, uint64_t time, wire_event event)
{
	wire_memory *m = s->server->memory;
	uint64_t head = m->event_head;
	event.time = time;
	m->events[head % WIRE_EVENTS] = event;
	m->event_head = head + 1;
}

/* Where a parameter stood before this block, and whether a macro had moved. */
static float value_before_block(const core *c, uint32_t parameter, bool *has_moved)
{
	const sound *s = &c->sound;
	for (uint32_t i = 0; i < s->noted; ++i)
		if (s->events[i].event.kind == WIRE_PARAMETER && s->events[i].event.number == parameter) {
			*has_moved = s->events[i].had_moved;
			return s->events[i].old_value;
		}
	*has_moved = parameter < WIRE_MACROS && core_moved(c, parameter);
	return c->values[parameter];
}

/* A macro that the host has set to where it seems to rest is sent, too: the rests are those of the patch before, or the
 * default, until the server has sent those of the patch that it is to load. */
static void send_moved(core *c, uint64_t time)
{
	for (uint32_t i = 0; i < WIRE_MACROS; ++i) {
		bool has_moved;
		float value = value_before_block(c, i, &has_moved);
		if (has_moved)
			send_event(&c->sound, time, (wire_event){.kind = WIRE_PARAMETER, .number = (uint16_t)i, .value = value});
	}
}

/* False where the memory has no room: then the next block tries again. */
static bool begin_epoch(core *c)
{
	sound *s = &c->sound;
	if (room(s) < OPENING) return false;
	s->epoch = s->epoch == UINT16_MAX ? 1 : s->epoch + 1; /* never 0, which new memory holds */
	s->position = 0;
	s->begins = s->lost = false;
	s->rolled = s->rolling;
	s->early_count = 0;
	send_event(s, 0, (wire_event){.kind = WIRE_RESET, .value = (float)s->rate, .number = s->offline ? WIRE_OFFLINE : 0,
	                              .epoch = s->epoch, .loads = s->server->loads, .block = s->block});
	if (atomic_exchange(&c->chooses, false))
		send_event(s, 0, (wire_event){.kind = WIRE_PARAMETER, .number = WIRE_PRESET, .value = c->values[WIRE_PRESET]});
	send_moved(c, 0);
	bool has_moved;
	gain_start(&s->gain, s->rate, value_before_block(c, WIRE_GAIN, &has_moved));
	if (s->tempo > 0) send_event(s, 0, (wire_event){.kind = WIRE_TEMPO, .value = (float)s->tempo});
	if (s->rolling) send_event(s, 0, (wire_event){.kind = WIRE_TRANSPORT, .number = 2});
	return true;
}

static bool starts_to_roll(const sound *s)
{
	for (uint32_t i = 0; i < s->noted && s->events[i].event.time == 0; ++i)
		if (s->events[i].event.kind == WIRE_TRANSPORT) return s->events[i].event.number != 0;
	return false;
}

/* A host may run a bounce for a while before it plays: Ardour for some hundred blocks, now more and now fewer. So that
 * all bounces begin alike, an epoch begins where the transport starts. There the song is ahead, most often by the latency
 * that the host makes up for: that much of the epoch has passed, and with it the notes of that time. Controllers stand
 * as they were set. */
static void begin_where_it_rolls(core *c)
{
	sound *s = &c->sound;
	uint64_t song_samples = s->position < s->song_samples ? s->position : s->song_samples, from = s->position - song_samples;
	uint32_t early_count = s->early_count;
	if (!begin_epoch(c)) return;
	for (uint32_t i = early_count > EARLY ? early_count - EARLY : 0; i < early_count && room(s) > 0; ++i) {
		const wire_event *e = &s->early[i % EARLY];
		bool note = e->kind == WIRE_MIDI && e->data[0] < 0xa0;
		if (!note || e->time >= from) send_event(s, e->time > from ? e->time - from : 0, *e);
	}
	s->position = song_samples;
}

/* The notes whose ends were lost end, pedals come up, and macros go where they should stand. */
static void make_good(core *c, uint64_t time)
{
	sound *s = &c->sound;
	for (uint8_t channel = 0; channel < 16; ++channel)
		for (uint32_t i = 0; i < 2; ++i)
			send_event(s, time, (wire_event){.kind = WIRE_MIDI, .number = 3, .data = {0xb0 | channel, i ? 123 : 64, 0}});
	send_moved(c, time);
	s->lost = false;
}

/* Sends the events from sample `from` of the block on, for `count` samples. Returns for how many they are: fewer where
 * those of a bounce do not fit at once. Without a server only what an epoch begins with is kept in mind. */
static uint32_t send_events(core *c, uint32_t from, uint32_t count, bool last)
{
	sound *s = &c->sound;
	bool playing = plays(s);
	for (; s->taken < s->noted; ++s->taken) {
		const wire_event *e = &s->events[s->taken].event;
		uint32_t offset = e->time < from + count ? (uint32_t)e->time - from : count - (count > 0);
		if (!last && e->time >= from + count) break;
		uint64_t time = s->position + offset;
		if (playing && e->kind == WIRE_PARAMETER && e->number == WIRE_GAIN) {
			if (time == 0) gain_start(&s->gain, s->rate, e->value);
			else gain_set(&s->gain, (int64_t)time + s->rack_latency, e->value);
			continue;
		}
		if (playing && s->offline && !s->rolled && (e->kind == WIRE_MIDI || e->kind == WIRE_EXCLUSIVE)) {
			s->early[s->early_count % EARLY] = *e;
			s->early[s->early_count++ % EARLY].time = time;
		}
		if (playing && room(s) > 0) send_event(s, time, *e);
		else if (playing && s->offline && offset > 0) return offset;
		else if (playing) {
			s->lost = true;
			c->lost += 1;
		}
		if (e->kind == WIRE_TEMPO) s->tempo = e->value;
		if (e->kind == WIRE_TRANSPORT) s->rolling = e->number != 0;
		s->rolled |= s->rolling;
	}
	if (playing && s->lost && room(s) >= OPENING) make_good(c, s->position + count);
	return count;
}

/* ---- samples */

/* How many samples of this epoch are made. */
static uint64_t made_samples(const sound *s)
{
	uint64_t position = s->server->memory->made;
	if (WIRE_EPOCH(position) != s->epoch) return 0;
	if (WIRE_SAMPLES(position) > s->position) s->server->nonsense = true;
	return s->server->nonsense ? 0 : WIRE_SAMPLES(position);
}

static void ring(_Atomic uint32_t *bell, _Atomic uint32_t *sleeps)
{
	*bell += 1;
	if (*sleeps) futex_wake(bell);
}

/* Until all samples are made that have been asked for, the server ends, or it has made none for too long. */
static void wait_until_made(sound *s)
{
	wire_memory *m = s->server->memory;
	uint64_t sample_count = made_samples(s);
	int64_t progress_ms = now_ms();
	while (sample_count < s->position && plays(s)) {
		uint32_t bell = m->plugin_bell;
		m->plugin_sleeps = 1;
		uint64_t new_count = made_samples(s);
		if (new_count > sample_count) progress_ms = now_ms();
		else if (now_ms() - progress_ms > PATIENCE) s->server->nonsense = true;
		else futex_wait(&m->plugin_bell, bell, NAP);
		sample_count = new_count;
	}
	m->plugin_sleeps = 0;
}

/* The block's end is at `position` already. False where samples are missing. */
static bool give_out(core *c, float *left, float *right, uint32_t count)
{
	sound *s = &c->sound;
	const wire_memory *m = s->server->memory;
	if (s->offline) wait_until_made(s);
	uint64_t sample_count = made_samples(s);
	bool epoch_begun = WIRE_EPOCH(m->made) == s->epoch;
	uint32_t rack = epoch_begun ? m->rack_latency : s->rack_latency;
	if (rack > LONGEST_RACK_LATENCY) s->server->nonsense = true;
	else if (epoch_begun) {
		c->kept_latency = (uint64_t)whole_rate(s) << 32 | rack;
		if (rack != s->rack_latency) {
			s->rack_latency = rack;
			new_latency(c);
		}
	}
	int64_t first = (int64_t)s->position - count - (c->latency - s->rack_latency);
	for (uint32_t i = 0; i < count; ++i) {
		int64_t sample = first + i;
		bool present = sample >= 0 && (uint64_t)sample < sample_count;
		float l = present ? m->sound[0][sample % WIRE_RING] : 0.0f, r = present ? m->sound[1][sample % WIRE_RING] : 0.0f;
		left[i] = isfinite(l) ? l : 0.0f;
		right[i] = isfinite(r) ? r : 0.0f;
	}
	gain_apply(&s->gain, first, left, right, count);
	int64_t present_count = (int64_t)sample_count - first; /* before sample 0 all is there: silence */
	gap_mend(&s->gap, left, right, count, present_count < 0 ? 0 : present_count < count ? (uint32_t)present_count : count);
	if (epoch_begun) {
		s->sounded = true;
		s->missed = false;
	}
	c->sounds = epoch_begun;
	return epoch_begun ? first + count <= (int64_t)sample_count : !s->missed;
}

/* False where samples are missing: all but those before the first server has made any. */
static bool give_silence(core *c, float *left, float *right, uint32_t count)
{
	sound *s = &c->sound;
	gap_mend(&s->gap, left, right, count, 0);
	s->missed |= s->sounded;
	c->sounds = false;
	return !s->missed && c->coming;
}

static void spoil(core *c)
{
	if (atomic_exchange(&c->spoilt, true)) return;
	c->spoils += 1;
	keeper_wake(c);
}

/* ---- the server that plays */

/* Takes the server that the keeper offers, in place of one that has ended. */
static void take_server(core *c)
{
	sound *s = &c->sound;
	if (s->server && s->server->ended && !c->retired) { /* else when the keeper has freed the one before */
		c->retired = s->server;
		s->server = NULL;
	}
	if (!s->server) s->server = atomic_exchange(&c->offered, NULL);
}

static void wait_for_server(core *c)
{
	int64_t start_ms = now_ms();
	for (;;) {
		uint32_t news = c->news;
		take_server(c);
		if ((c->sound.server && usable(c->sound.server)) || !c->coming || now_ms() - start_ms > PATIENCE) return;
		futex_wait(&c->news, news, NAP);
	}
}

void core_run(core *c, float *left, float *right, uint32_t count)
{
	sound *s = &c->sound;
	if (!s->active) {
		memset(left, 0, count * sizeof *left);
		memset(right, 0, count * sizeof *right);
		return;
	}
	server *old_server = s->server;
	if (s->offline) wait_for_server(c);
	else take_server(c);
	if (s->offline && s->server != old_server && !s->begins && s->position > 0)
		spoil(c); /* it does not know the notes before */
	if (atomic_exchange(&c->reloaded, false)) {
		s->begins = true;
		expect_rack_latency(c);
		new_latency(c);
	}
	s->begins |= s->server != old_server;
	if (count > s->block && !s->offline) {
		s->block = count;
		s->begins = true;
		new_latency(c);
	}
	if (s->begins && s->server && usable(s->server)) begin_epoch(c);
	else if (s->offline && s->position > 0 && !s->rolled && plays(s) && starts_to_roll(s)) begin_where_it_rolls(c);
	uint32_t offset = 0;
	bool complete = true;
	do {
		uint32_t chunk = count - offset < WIRE_LONGEST_BLOCK ? count - offset : WIRE_LONGEST_BLOCK;
		chunk = send_events(c, offset, chunk, offset + chunk == count);
		if (plays(s)) {
			s->position += chunk;
			s->server->memory->complete = WIRE_POSITION(s->epoch, s->position);
			ring(&s->server->memory->server_bell, &s->server->memory->server_sleeps);
			complete &= give_out(c, left + offset, right + offset, chunk);
		} else complete &= give_silence(c, left + offset, right + offset, chunk);
		if (s->offline && !plays(s)) spoil(c);
		offset += chunk;
	} while (offset < count);
	c->late += !complete;
	s->noted = s->taken = 0;
}
