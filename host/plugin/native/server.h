/* A server: its process, and the memory and the socket that are shared with it. */
#ifndef TIMBREL_SERVER_H
#define TIMBREL_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "wire.h"

typedef struct {
	wire_memory *memory;
	pid_t process;
	int socket;
	_Atomic bool ended;     /* it makes no more sound: by the keeper */
	_Atomic bool nonsense;  /* what it wrote into the memory cannot be, or it hangs: by the thread of sound */
	_Atomic uint32_t loads; /* LOAD messages that it has been given */
} server;

/* The file that servers write their output to, $XDG_STATE_HOME/timbrel/plugin.log, emptied where it has become long: its
 * descriptor, or -1. `path` is told where it lies. */
int server_log(char *path, size_t size);

/* A new process of `interpreter`, whose output goes to the descriptor `log`. Null where there can be none: `reason` is told
 * a few words. */
server *server_new(const char *interpreter, int log, char *reason, size_t size);

bool server_has_ended(const server *); /* its process */

/* Closes its socket, gives it `patience` ms to end by itself, kills its whole process group; the status of waitpid, or -1. */
int server_end(server *, int patience);
void server_free(server *); /* of one that has ended: its memory */

#endif
