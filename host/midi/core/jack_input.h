/* MIDI inputs of a client of JACK, read by a thread that never enters Python (docs/internals/processes.md).

   The caller allocates jack_client_bytes() and jack_input_bytes() for each input, and gives `jack_client_process` to
   jack_set_process_callback and `jack_client_connection` to jack_set_port_connect_callback. JACK's thread queues events;
   one other thread takes them. */
#ifndef TIMBREL_JACK_INPUT_H
#define TIMBREL_JACK_INPUT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define INPUT_API __declspec(dllexport)
#else
#define INPUT_API __attribute__((visibility("default")))
#endif

enum {
	INPUT_VERSION = 3,
	LONGEST_EVENT = 256, /* bytes, which may be several messages; a damaged event could have any length */
	RING_BYTES = 1 << 18 /* 20,000 short messages, when sweeps of eight knobs send 400 a second */
};

/* JACK's jack_midi_event_t. */
typedef struct {
	uint32_t time; /* frames since the cycle's start */
	size_t size;
	const uint8_t *bytes;
} JackEvent;

/* Of JACK: jack_port_get_buffer, jack_midi_get_event_count, jack_midi_event_get, jack_port_by_id. */
typedef void *(*PortBuffer)(void *port, uint32_t frames);
typedef uint32_t (*EventCount)(void *buffer);
typedef int (*EventGet)(JackEvent *event, void *buffer, uint32_t index);
typedef void *(*PortById)(void *jack_client, uint32_t id);

typedef struct JackClient JackClient;
typedef struct JackInput JackInput;

INPUT_API int32_t jack_input_version(void);
INPUT_API int64_t jack_client_bytes(void);
INPUT_API int64_t jack_input_bytes(void);

/* Begin without inputs. An event sets `flag`; where it was 0, it also sends a byte to `bell`, a socket. */
INPUT_API void jack_client_open(JackClient *client, PortBuffer buffer, EventCount count, EventGet get, PortById by_id,
                                void *jack_client, int32_t *flag, int32_t bell);

/* Have JACK's thread read a port of the client, from now on. One thread at a time opens inputs. */
INPUT_API void jack_input_open(JackInput *input, JackClient *client, void *port);

/* JACK's process callback: queue the cycle's events, with the time of Python's perf_counter; a full ring drops them. */
INPUT_API int jack_client_process(uint32_t frames, void *client);

/* JACK's callback of connections: count those that end, by the input that they led to. */
INPUT_API void jack_client_connection(uint32_t sender, uint32_t receiver, int is_connected, void *client);

/* Return how many connections to an input have ended, modulo 2^32. */
INPUT_API uint32_t jack_input_ended_connections(const JackInput *input);

/* Copy the next event into `bytes`, of LONGEST_EVENT, and its time into `seconds`; return its size, 0 for none. */
INPUT_API int32_t jack_input_next(JackInput *input, uint8_t *bytes, double *seconds);

#endif
