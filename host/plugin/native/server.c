#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define LONGEST_LOG (1 << 20) /* bytes: some ten thousand lines */
#define ABOVE_THE_SERVERS 10  /* our own descriptors lie above those that the server gets, so that none covers another */

enum { MEMORY = 3, SOCKET = 4 };

int server_log(char *path, size_t size)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	bool has_state_home = state && state[0] == '/';
	if (!has_state_home && !(home && home[0] == '/')) return -1;
	int length = snprintf(path, size, "%s%s/timbrel/plugin.log", has_state_home ? state : home,
	                      has_state_home ? "" : "/.local/state");
	if (length < 0 || (size_t)length >= size) return -1;
	for (char *slash = path + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = 0;
		mkdir(path, 0700); /* one that is there already is as good */
	}
	int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	struct stat is;
	if (log >= 0 && fstat(log, &is) == 0 && is.st_size > LONGEST_LOG) (void)!ftruncate(log, 0);
	return log;
}

/* A descriptor above those that the server gets, in place of one; -1 stays. */
static int lifted(int descriptor)
{
	if (descriptor < 0) return -1;
	int high = fcntl(descriptor, F_DUPFD_CLOEXEC, ABOVE_THE_SERVERS);
	close(descriptor);
	return high;
}

/* A memory that nobody can shorten under the host's hands. */
static int shared_memory(void)
{
	int memory = lifted(memfd_create("timbrel", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	if (memory < 0) return -1;
	if (ftruncate(memory, sizeof(wire_memory)) == 0
	    && fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return memory;
	close(memory);
	return -1;
}

/* The environment without what would lead an interpreter or its loader elsewhere: to be freed, its strings not. */
static char **plain_environment(void)
{
	size_t count = 0;
	while (environ[count]) ++count;
	char **plain = calloc(count + 1, sizeof *plain);
	for (size_t i = 0, plain_count = 0; plain && i < count; ++i)
		if (strncmp(environ[i], "PYTHON", 6) != 0 && strncmp(environ[i], "LD_", 3) != 0) plain[plain_count++] = environ[i];
	return plain;
}

/* Starts the process; 0 or an errno. */
static int spawn(pid_t *process, const char *interpreter, int memory, int socket, int log)
{
	char *const arguments[] = {(char *)interpreter, "-I", "-m", "timbrel.host.plugin", NULL};
	char **environment = plain_environment();
	if (!environment) return ENOMEM;
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t all, none;
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	int wrong = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	for (int output = 1; output <= 2; ++output)
		wrong = wrong ? wrong
		        : log >= 0 ? posix_spawn_file_actions_adddup2(&files, log, output)
		                   : posix_spawn_file_actions_addopen(&files, output, "/dev/null", O_WRONLY, 0);
	wrong = wrong ? wrong : posix_spawn_file_actions_adddup2(&files, memory, MEMORY);
	wrong = wrong ? wrong : posix_spawn_file_actions_adddup2(&files, socket, SOCKET);
	wrong = wrong ? wrong : posix_spawn_file_actions_addclosefrom_np(&files, SOCKET + 1);
	wrong = wrong ? wrong : posix_spawnattr_setsigdefault(&attributes, &all);
	wrong = wrong ? wrong : posix_spawnattr_setsigmask(&attributes, &none);
	wrong = wrong ? wrong : posix_spawnattr_setpgroup(&attributes, 0);
	wrong = wrong ? wrong
	              : posix_spawnattr_setflags(&attributes,
	                                         POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	wrong = wrong ? wrong : posix_spawn(process, interpreter, &files, &attributes, arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	free(environment);
	return wrong;
}

server *server_new(const char *interpreter, int log, char *reason, size_t size)
{
	server *child = calloc(1, sizeof *child);
	int sockets[2] = {-1, -1}, memory = -1, wrong = 0;
	if (child && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0 && (memory = shared_memory()) >= 0) {
		child->socket = sockets[0];
		sockets[1] = lifted(sockets[1]);
		void *mapping = mmap(NULL, sizeof(wire_memory), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
		child->memory = mapping == MAP_FAILED ? NULL : mapping;
		if (sockets[1] >= 0 && child->memory) {
			child->memory->magic = WIRE_MAGIC;
			child->memory->version = WIRE_VERSION;
			wrong = spawn(&child->process, interpreter, memory, sockets[1], log);
		} else wrong = errno;
	} else wrong = errno ? errno : ENOMEM;
	if (memory >= 0) close(memory);
	if (sockets[1] >= 0) close(sockets[1]);
	if (!wrong) return child;
	snprintf(reason, size, "%s", strerror(wrong));
	if (sockets[0] >= 0) close(sockets[0]);
	server_free(child);
	return NULL;
}

bool server_has_ended(const server *child)
{
	siginfo_t child_info = {.si_pid = 0};
	/* One that cannot be waited for has been waited for by the host, and so has ended too. */
	return waitid(P_PID, (id_t)child->process, &child_info, WEXITED | WNOHANG | WNOWAIT) != 0 || child_info.si_pid != 0;
}

int server_end(server *child, int patience)
{
	close(child->socket);
	for (int waited_ms = 0; waited_ms < patience && !server_has_ended(child); waited_ms += 5)
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	/* Until it is waited for its number is its own, and so is its group's. */
	siginfo_t child_info;
	if (waitid(P_PID, (id_t)child->process, &child_info, WEXITED | WNOHANG | WNOWAIT) != 0) return -1;
	kill(-child->process, SIGKILL);
	int status = -1;
	while (waitpid(child->process, &status, 0) < 0)
		if (errno != EINTR) return -1;
	return status;
}

void server_free(server *child)
{
	if (child && child->memory) munmap(child->memory, sizeof(wire_memory));
	free(child);
}
