/* The wire between a plugin and its server: one shared memory for time, events and samples, one socket for the rest.
 *
 * The plugin makes both, and hands them to the server as descriptors 3 (memory) and 4 (socket, SOCK_STREAM). All numbers
 * are in the machine's own order. host/plugin/wire.py has the same layout; a test compares the two.
 *
 * Time counts samples since the last WIRE_RESET. A position in the memory carries the epoch of that reset in its upper
 * 16 bits, so that what a server still says of an earlier epoch means nothing:
 *
 *     position = epoch << 48 | samples
 *
 * The plugin writes events, moves `event_head` on, and then `complete`: no further event will lie before it. The server
 * makes the samples up to there, writes them into `sound` at (sample & (WIRE_RING - 1)), and moves `made` on. Each side
 * adds 1 to the other's bell after that, and wakes it (futex) if it has said that it sleeps.
 */
#ifndef TIMBREL_WIRE_H
#define TIMBREL_WIRE_H

#include <stdatomic.h>
#include <stdint.h>

#define WIRE_MAGIC 0x4c424d54u /* "TMBL" */
#define WIRE_VERSION 1u
#define WIRE_RING 65536u  /* samples of each of two channels: a power of two */
#define WIRE_EVENTS 8192u /* a power of two */
#define WIRE_LONGEST_BLOCK 16384u
#define WIRE_POSITION(epoch, samples) ((uint64_t)(epoch) << 48 | (uint64_t)(samples))
#define WIRE_EPOCH(position) ((uint16_t)((position) >> 48))
#define WIRE_SAMPLES(position) ((position) & (((uint64_t)1 << 48) - 1))

enum wire_event_kind {
	WIRE_MIDI = 1,  /* data: the bytes of one channel message, 1 to 3 of them, `number` says how many */
	WIRE_PARAMETER, /* number: which parameter; value: its new value, in its own unit */
	WIRE_TEMPO,     /* value: quarter notes a minute */
	WIRE_TRANSPORT, /* number: 0 stops, 1 starts at the beginning, 2 goes on */
	WIRE_RESET,     /* a new epoch, `epoch`; value: the sampling rate in Hz; number: WIRE_OFFLINE or 0; `loads`: see below */
	WIRE_EXCLUSIVE  /* data: the next bytes of a system exclusive message, 1 to 3 of them, `number` says how many */
};

#define WIRE_OFFLINE 1u /* a bounce: nothing is left out for lack of time */

/* `loads` counts the messages LOAD_STATE and LOAD_PRESET that were sent before a reset: the server obeys these first. */
typedef struct {
	uint64_t time; /* samples; of a reset 0 */
	float value;
	uint16_t kind;
	uint16_t number;
	uint16_t epoch; /* of a reset: the new one */
	uint8_t data[3];
	uint8_t reserved;
	uint32_t loads;
	uint32_t block; /* of a reset: the samples that the host asks for at once, as far as it has said */
} wire_event;

typedef struct {
	uint32_t magic, version;
	_Alignas(64) _Atomic uint64_t event_head; /* events written, ever: by the plugin */
	_Atomic uint64_t complete;                /* a position: by the plugin */
	_Atomic uint32_t server_bell;             /* by the plugin; the server sleeps on it */
	_Atomic uint32_t plugin_sleeps;           /* 1 while it does: by the plugin */
	_Alignas(64) _Atomic uint64_t event_tail; /* events taken, ever: by the server */
	_Atomic uint64_t made;                    /* a position: by the server */
	_Atomic uint32_t plugin_bell;             /* by the server; the plugin sleeps on it while it bounces */
	_Atomic uint32_t server_sleeps;           /* 1 while it does: by the server */
	_Atomic uint32_t rack_latency;            /* samples between an event and its sound in the rack: by the server, before `made` of an epoch */
	_Alignas(64) wire_event events[WIRE_EVENTS];
	_Alignas(64) float sound[2][WIRE_RING];
} wire_memory;

/* Messages on the socket: a head, then `length` bytes. Whoever gets a kind that it does not know passes it over. */
typedef struct {
	uint32_t kind, number, length;
} wire_message;

#define WIRE_LONGEST_MESSAGE (64u << 20)

enum wire_to_server {
	WIRE_LOAD_STATE = 1, /* number: of this load, from 1 on; bytes: as a STATE message brought them */
	WIRE_LOAD_PRESET,    /* number: of this load; bytes: a preset's name or path, UTF-8 */
	WIRE_SAVE            /* number: of this question; answered by a STATE with the same number */
};

enum wire_to_plugin {
	WIRE_READY = 101, /* after the first patch is loaded; bytes: none */
	WIRE_STATE,       /* number: of the question, or 0 where the server says it unasked: after each load; bytes: the state */
	WIRE_PARAMETERS,  /* bytes: WIRE_MACROS of wire_parameter */
	WIRE_PRESETS,     /* bytes: names of what the preset parameter chooses from 1 on, MIDI from program 0; each ended by a zero byte */
	WIRE_SAY,         /* bytes: a line for the host's log, UTF-8, no zero byte */
	WIRE_TURNED       /* number: of a macro that was turned on the panel, or WIRE_PRESET after a preset was chosen there */
};

/* What the plugin's parameters are. A macro that has not been moved from where it rests is not sent. */
enum wire_parameters {
	WIRE_MACROS = 16, /* 0 to 15: 0 to 1 */
	WIRE_GAIN = 16,   /* dB, -60 to 12: applied by the plugin itself, never sent */
	WIRE_PRESET = 17, /* 0: as the state has it; from 1 on: see WIRE_PRESETS */
	WIRE_PANEL = 18,  /* 0 or 1: going to 1 opens the panel of this instance */
	WIRE_PARAMETER_COUNT = 19
};

typedef struct {
	char name[64]; /* UTF-8, ended by a zero byte; empty where the macro moves nothing */
	float rest;    /* 0 to 1 */
	uint32_t used; /* 0: it moves nothing */
} wire_parameter;

#endif
