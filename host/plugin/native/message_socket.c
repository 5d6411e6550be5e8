#include "message_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef struct {
	unsigned char *start;
	size_t length;
} span;

/* The part of a message that is next after `done` bytes: what is left of its head, then of its bytes. */
static span next_part(wire_message *head, unsigned char *bytes, size_t done)
{
	if (done < sizeof *head) return (span){(unsigned char *)head + done, sizeof *head - done};
	return (span){bytes + (done - sizeof *head), sizeof *head + head->length - done};
}

bool outbox_put(outbox *box, uint32_t kind, uint32_t number, const void *bytes, size_t length)
{
	letter *message = malloc(sizeof *message + length);
	if (!message) return false;
	*message = (letter){.head = {kind, number, (uint32_t)length}};
	if (length) memcpy(message->bytes, bytes, length);
	if (box->last) box->last->next = message;
	else box->first = message;
	box->last = message;
	return true;
}

bool outbox_send(outbox *box, int socket)
{
	for (letter *message = box->first; message; message = box->first) {
		span part = next_part(&message->head, message->bytes, message->sent_bytes);
		ssize_t sent_bytes = send(socket, part.start, part.length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent_bytes < 0) {
			if (errno == EINTR) continue;
			return errno == EAGAIN || errno == EWOULDBLOCK;
		}
		message->sent_bytes += (size_t)sent_bytes;
		if (message->sent_bytes == sizeof message->head + message->head.length) {
			box->first = message->next;
			if (!box->first) box->last = NULL;
			free(message);
		}
	}
	return true;
}

bool outbox_withdraw(outbox *box, uint32_t kind, uint32_t or_kind)
{
	/* Only the first can be on its way, and then it goes on. */
	letter *sending = box->first && box->first->sent_bytes ? box->first : NULL, *next = sending ? sending->next : box->first;
	bool withdrawn = false;
	for (letter *message = next; message; message = next) {
		next = message->next;
		withdrawn |= message->head.kind == kind || message->head.kind == or_kind;
		free(message);
	}
	box->first = box->last = sending;
	if (sending) sending->next = NULL;
	return withdrawn;
}

void outbox_empty(outbox *box)
{
	outbox_withdraw(box, 0, 0);
	free(box->first);
	*box = (outbox){NULL, NULL};
}

enum inbox_answer inbox_take(inbox *box, int socket)
{
	if (box->received_bytes && box->received_bytes == sizeof box->head + box->head.length) inbox_empty(box);
	for (;;) {
		bool heading = box->received_bytes < sizeof box->head;
		span part = next_part(&box->head, box->bytes, box->received_bytes);
		ssize_t received_bytes = recv(socket, part.start, part.length, MSG_DONTWAIT);
		if (received_bytes < 0 && errno == EINTR) continue;
		if (received_bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return INBOX_WAITS;
		if (received_bytes <= 0) return INBOX_ENDED;
		box->received_bytes += (size_t)received_bytes;
		if (heading && box->received_bytes == sizeof box->head) {
			if (box->head.length > WIRE_LONGEST_MESSAGE) return INBOX_ENDED;
			if (box->head.length && !(box->bytes = malloc(box->head.length))) return INBOX_ENDED;
		}
		if (box->received_bytes >= sizeof box->head && box->received_bytes == sizeof box->head + box->head.length)
			return INBOX_MESSAGE;
	}
}

void inbox_empty(inbox *box)
{
	free(box->bytes);
	*box = (inbox){.received_bytes = 0};
}
