#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE
#include "jack_input.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"

enum { ACTIVE_SENSING = 0xFE, HEADER_BYTES = sizeof(double) + sizeof(uint16_t) };

struct JackClient {
	PortBuffer port_buffer;
	EventCount event_count;
	EventGet event_get;
	PortById port_by_id;
	void *jack_client;
	int32_t *flag, bell;
	_Atomic(JackInput *) newest;
};

struct JackInput {
	void *port;
	JackInput *older;
	_Atomic uint32_t ended_connections;
	_Atomic uint32_t written, read; /* bytes, modulo 2^32 */
	uint8_t ring[RING_BYTES];       /* records: seconds, size, bytes */
};

static void put(JackInput *input, uint32_t position, const void *bytes, uint32_t size)
{
	for (uint32_t index = 0; index < size; index++)
		input->ring[(position + index) % RING_BYTES] = ((const uint8_t *)bytes)[index];
}

static void get(const JackInput *input, uint32_t position, void *bytes, uint32_t size)
{
	for (uint32_t index = 0; index < size; index++)
		((uint8_t *)bytes)[index] = input->ring[(position + index) % RING_BYTES];
}

static void queue_event(const JackClient *client, JackInput *input, const JackEvent *event)
{
	uint32_t written = atomic_load_explicit(&input->written, memory_order_relaxed);
	uint32_t waiting = written - atomic_load_explicit(&input->read, memory_order_acquire);
	uint16_t size = (uint16_t)event->size;
	if (waiting + HEADER_BYTES + size > RING_BYTES)
		return;
	double seconds = seconds_now();
	put(input, written, &seconds, sizeof seconds);
	put(input, written + sizeof seconds, &size, sizeof size);
	put(input, written + HEADER_BYTES, event->bytes, size);
	atomic_store_explicit(&input->written, written + HEADER_BYTES + size, memory_order_release);
	if (__atomic_exchange_n(client->flag, 1, __ATOMIC_ACQ_REL) == 0)
		(void)!send(client->bell, "", 1, MSG_DONTWAIT);
}

int32_t jack_input_version(void) { return INPUT_VERSION; }

int64_t jack_client_bytes(void) { return sizeof(JackClient); }

int64_t jack_input_bytes(void) { return sizeof(JackInput); }

void jack_client_open(JackClient *client, PortBuffer buffer, EventCount count, EventGet get_event, PortById by_id,
                      void *jack_client, int32_t *flag, int32_t bell)
{
	memset(client, 0, sizeof *client);
	client->port_buffer = buffer;
	client->event_count = count;
	client->event_get = get_event;
	client->port_by_id = by_id;
	client->jack_client = jack_client;
	client->flag = flag;
	client->bell = bell;
}

void jack_input_open(JackInput *input, JackClient *client, void *port)
{
	memset(input, 0, sizeof *input);
	input->port = port;
	input->older = atomic_load(&client->newest);
	atomic_store(&client->newest, input);
}

int jack_client_process(uint32_t frames, void *data)
{
	JackClient *client = data;
	for (JackInput *input = atomic_load(&client->newest); input; input = input->older) {
		void *buffer = client->port_buffer(input->port, frames);
		uint32_t count = client->event_count(buffer);
		for (uint32_t index = 0; index < count; index++) {
			JackEvent event;
			if (client->event_get(&event, buffer, index) != 0 || event.size == 0 || event.size > LONGEST_EVENT)
				continue;
			if (event.bytes[0] != ACTIVE_SENSING)
				queue_event(client, input, &event);
		}
	}
	return 0;
}

void jack_client_connection(uint32_t sender, uint32_t receiver, int is_connected, void *data)
{
	JackClient *client = data;
	(void)sender;
	if (is_connected)
		return;
	void *port = client->port_by_id(client->jack_client, receiver);
	for (JackInput *input = atomic_load(&client->newest); input; input = input->older)
		if (input->port == port)
			atomic_fetch_add(&input->ended_connections, 1);
}

uint32_t jack_input_ended_connections(const JackInput *input) { return atomic_load(&input->ended_connections); }

int32_t jack_input_next(JackInput *input, uint8_t *bytes, double *seconds)
{
	uint32_t read = atomic_load_explicit(&input->read, memory_order_relaxed);
	if (read == atomic_load_explicit(&input->written, memory_order_acquire))
		return 0;
	uint16_t size;
	get(input, read, seconds, sizeof *seconds);
	get(input, read + sizeof *seconds, &size, sizeof size);
	get(input, read + HEADER_BYTES, bytes, size);
	atomic_store_explicit(&input->read, read + HEADER_BYTES + size, memory_order_release);
	return size;
}
