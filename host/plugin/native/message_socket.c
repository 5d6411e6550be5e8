#include "message_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

bool outbox_put(outbox *box, uint32_t kind, uint32_t number, const void *bytes, size_t length)
{
	letter *one = malloc(sizeof *one + length);
	if (!one) return false;
	*one = (letter){.head = {kind, number, (uint32_t)length}};
	if (length) memcpy(one->bytes, bytes, length);
	if (box->last) box->last->next = one;
	else box->first = one;
	box->last = one;
	return true;
}

bool outbox_send(outbox *box, int socket)
{
	for (letter *one = box->first; one; one = box->first) {
		bool heading = one->sent < sizeof one->head;
		size_t before = heading ? 0 : sizeof one->head; /* bytes before the part that is sent now */
		const unsigned char *part = heading ? (const unsigned char *)&one->head : one->bytes;
		size_t length = heading ? sizeof one->head : one->head.length;
		ssize_t sent = send(socket, part + (one->sent - before), before + length - one->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			if (errno == EINTR) continue;
			return errno == EAGAIN || errno == EWOULDBLOCK;
		}
		one->sent += (size_t)sent;
		if (one->sent == sizeof one->head + one->head.length) {
			box->first = one->next;
			if (!box->first) box->last = NULL;
			free(one);
		}
	}
	return true;
}

bool outbox_withdraw(outbox *box, uint32_t kind, uint32_t or_kind)
{
	/* Only the first can be on its way, and then it goes on. */
	letter *sending = box->first && box->first->sent ? box->first : NULL, *next = sending ? sending->next : box->first;
	bool found = false;
	for (letter *one = next; one; one = next) {
		next = one->next;
		found |= one->head.kind == kind || one->head.kind == or_kind;
		free(one);
	}
	box->first = box->last = sending;
	if (sending) sending->next = NULL;
	return found;
}

void outbox_empty(outbox *box)
{
	outbox_withdraw(box, 0, 0);
	free(box->first);
	*box = (outbox){NULL, NULL};
}

enum inbox_answer inbox_take(inbox *box, int socket)
{
	if (box->got && box->got == sizeof box->head + box->head.length) inbox_empty(box);
	for (;;) {
		bool heading = box->got < sizeof box->head;
		size_t before = heading ? 0 : sizeof box->head;
		unsigned char *part = heading ? (unsigned char *)&box->head : box->bytes;
		size_t length = heading ? sizeof box->head : box->head.length;
		ssize_t got = recv(socket, part + (box->got - before), before + length - box->got, MSG_DONTWAIT);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return INBOX_WAITS;
		if (got <= 0) return INBOX_ENDED;
		box->got += (size_t)got;
		if (heading && box->got == sizeof box->head) {
			if (box->head.length > WIRE_LONGEST_MESSAGE) return INBOX_ENDED;
			if (box->head.length && !(box->bytes = malloc(box->head.length))) return INBOX_ENDED;
		}
		if (box->got >= sizeof box->head && box->got == sizeof box->head + box->head.length) return INBOX_MESSAGE;
	}
}

void inbox_empty(inbox *box)
{
	free(box->bytes);
	*box = (inbox){.got = 0};
}
