/* Bytes that a host's stream gives in pieces. */
#ifndef TIMBREL_BYTES_H
#define TIMBREL_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "wire.h"

typedef struct {
	uint8_t *start;
	size_t count, room;
} bytes;

/* Where `more` bytes can be added; null where memory ends, or where it is too much for a state. */
static inline void *bytes_room(bytes *bytes, size_t more)
{
	if (bytes->count + more > bytes->room) {
		size_t room = 2 * bytes->room + more;
		uint8_t *grown = bytes->count <= WIRE_LONGEST_MESSAGE ? realloc(bytes->start, room) : NULL;
		if (!grown)
			return NULL;
		bytes->start = grown;
		bytes->room = room;
	}
	return bytes->start + bytes->count;
}

#endif
