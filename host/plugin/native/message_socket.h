/* Messages on the socket, in pieces as it takes and gives them: nothing here waits. */
#ifndef TIMBREL_MESSAGE_SOCKET_H
#define TIMBREL_MESSAGE_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "wire.h"

typedef struct letter {
	struct letter *next;
	wire_message head;
	size_t sent_bytes; /* the head's included */
	unsigned char bytes[];
} letter;

typedef struct {
	letter *first, *last;
} outbox;

bool outbox_put(outbox *, uint32_t kind, uint32_t number, const void *bytes, size_t length); /* false: no memory */
bool outbox_send(outbox *, int socket); /* what the socket takes now; false: the other end is gone */
bool outbox_withdraw(outbox *, uint32_t kind, uint32_t or_kind); /* all that is unsent: whether one of these was in it */
void outbox_empty(outbox *);

typedef struct {
	wire_message head;
	size_t received_bytes; /* the head's included */
	unsigned char *bytes;
} inbox;

enum inbox_answer {
	INBOX_WAITS,   /* no message is complete */
	INBOX_MESSAGE, /* `head` and `bytes` are one */
	INBOX_ENDED    /* the other end is gone, or sends no messages */
};

enum inbox_answer inbox_take(inbox *, int socket); /* frees the message it gave before */
void inbox_empty(inbox *);

#endif
