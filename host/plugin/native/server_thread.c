/* The keeper: a thread that starts the server, exchanges messages with it, and starts another where it ends. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core_internal.h"

#define BETWEEN_STARTS 3000 /* ms: what fails at once does not keep the machine busy */
#define USEFUL 10000        /* ms: a server that has been ready and lived as long was no failure */
#define FAILURES 3          /* in a row: then no other is started */
#define LOOK_ROUND 500      /* ms: how soon nonsense in the memory is seen, and an end that the socket does not tell */
#define FAREWELL 250        /* ms: for a server to end by itself */
#define LONGEST_SAYING 65536u
#define AT_ONCE 64          /* messages: then there may be others than the server to hear */

static void say_line(core *c, bool urgent, const char *line)
{
	char log_line[LONGEST_LINE + 1];
	if (c->listener.say) c->listener.say(c->listener.self, urgent, line);
	int length = snprintf(log_line, sizeof log_line, "%s\n", line);
	if (c->keeper.log >= 0) (void)!write(c->keeper.log, log_line, (size_t)length);
}

static void warn(core *c, const char *form, ...) __attribute__((format(printf, 2, 3)));

static void warn(core *c, const char *form, ...)
{
	char line[LONGEST_LINE];
	va_list arguments;
	va_start(arguments, form);
	vsnprintf(line, sizeof line, form, arguments);
	va_end(arguments);
	say_line(c, true, line);
}

static void tell_sound(core *c)
{
	c->news += 1;
	futex_wake(&c->news);
}

static void collect(core *c) { server_free(atomic_exchange(&c->retired, NULL)); }

/* ---- starting and ending; the keeper's thread */

/* The first line of the file `interpreter` in the plugin's folder. */
static bool read_interpreter(const core *c, char *line, int size)
{
	char path[4096];
	int length = snprintf(path, sizeof path, "%s/interpreter", c->folder);
	FILE *file = length < (int)sizeof path ? fopen(path, "re") : NULL;
	bool is = file && fgets(line, size, file);
	if (file) fclose(file);
	if (is) line[strcspn(line, "\r\n")] = 0;
	return is && line[0];
}

/* Says why there is no server, once as long as that is the reason. */
static void give_up(core *c, const char *form, ...) __attribute__((format(printf, 2, 3)));

static void give_up(core *c, const char *form, ...)
{
	char reason[LONGEST_LINE];
	va_list arguments;
	va_start(arguments, form);
	vsnprintf(reason, sizeof reason, form, arguments);
	va_end(arguments);
	if (strcmp(reason, c->keeper.silent) != 0) say_line(c, true, reason);
	strcpy(c->keeper.silent, reason);
	c->coming = false;
	tell_sound(c);
}

static void start(core *c)
{
	keeper *k = &c->keeper;
	char interpreter[4096], reason[256] = "";
	k->started = now_ms();
	if (!read_interpreter(c, interpreter, sizeof interpreter)) {
		give_up(c, "timbrel is silent: no Python is named in %s/interpreter; `timbrel plugin install` writes it", c->folder);
		return;
	}
	server *new_server = server_new(interpreter, k->log, reason, sizeof reason);
	if (!new_server) {
		give_up(c, "timbrel is silent: %s does not start: %s; `timbrel plugin install` names another", interpreter, reason);
		return;
	}
	pthread_mutex_lock(&k->mutex);
	k->server = new_server;
	k->ready = false;
	patch old_patch = k->patch;
	k->patch = (patch){.kind = PATCH_DEFAULT};
	if (old_patch.kind != PATCH_DEFAULT) keeper_load(c, old_patch);
	pthread_mutex_unlock(&k->mutex);
	collect(c);
	server_free(atomic_exchange(&c->offered, new_server)); /* one that the thread of sound has never taken */
	tell_sound(c);
}

static void describe_end(int status, char *text, size_t size)
{
	if (status != -1 && WIFEXITED(status)) snprintf(text, size, "status %d", WEXITSTATUS(status));
	else if (status != -1 && WIFSIGNALED(status)) snprintf(text, size, "signal %d", WTERMSIG(status));
	else snprintf(text, size, "unknown status");
}

static void end(core *c, int patience)
{
	keeper *k = &c->keeper;
	server *old_server = k->server;
	pthread_mutex_lock(&k->mutex);
	k->server = NULL;
	outbox_empty(&k->out);
	pthread_cond_broadcast(&k->answer);
	pthread_mutex_unlock(&k->mutex);
	inbox_empty(&k->in);
	bool nonsense = old_server->nonsense;
	char end_text[32];
	describe_end(server_end(old_server, patience), end_text, sizeof end_text);
	collect(c);
	old_server->ended = true; /* from here on it is the thread of sound that lets it go, or the next offer */
	futex_wake(&old_server->memory->plugin_bell);
	if (k->quits) return;
	if (k->ready && !nonsense && now_ms() - k->started > USEFUL) k->failures = 0;
	if (++k->failures >= FAILURES) {
		give_up(c, "timbrel is silent: its server has ended %d times (%s); `timbrel plugin status` says more%s%s", FAILURES, end_text,
		        k->log >= 0 ? ", and so does " : "", k->log >= 0 ? k->log_path : "");
	} else if (k->ready) warn(c, "timbrel's server has ended (%s)%s; it starts again", end_text, nonsense ? " after a fault" : "");
}

/* ---- messages */

static void keep_patch(core *c, uint32_t number, const void *bytes, size_t length, bool *changed)
{
	keeper *k = &c->keeper;
	if (number > k->last_question) return;
	if (number > k->last_answer) k->last_answer = number;
	/* What the server said before it came to the last load is not what the host has loaded. */
	if (k->last_answer < k->settled) return;
	bool had_patch = k->patch.kind != PATCH_DEFAULT; /* what plays from the beginning is no change */
	bool same_state = k->patch.kind == PATCH_STATE && k->patch.length == length
	            && (!length || memcmp(k->patch.bytes, bytes, length) == 0);
	void *copy = same_state ? NULL : copy_of(bytes, length);
	if (copy) {
		free(k->patch.bytes);
		k->patch = (patch){PATCH_STATE, copy, length};
		*changed = (had_patch && number == 0) || k->nameless;
		k->nameless = false;
	}
	pthread_cond_broadcast(&k->answer);
}

static bool keep_parameters(core *c, const unsigned char *bytes, size_t length)
{
	wire_parameter parameters[WIRE_MACROS];
	if (length != sizeof parameters) return false;
	memcpy(parameters, bytes, sizeof parameters);
	for (uint32_t i = 0; i < WIRE_MACROS; ++i) {
		if (!(parameters[i].rest >= 0 && parameters[i].rest <= 1)
		    || !memchr(parameters[i].name, 0, sizeof parameters[i].name))
			return false;
		c->rests[i] = parameters[i].rest;
	}
	memcpy(c->keeper.parameters, parameters, sizeof parameters);
	return true;
}

static bool keep_presets(core *c, const unsigned char *bytes, size_t length)
{
	if (length && bytes[length - 1] != 0) return false;
	char *copy = copy_of(bytes, length);
	if (!copy) return true; /* the host shows what it knew before */
	free(c->keeper.presets);
	c->keeper.presets = copy;
	c->keeper.presets_length = length;
	return true;
}

static bool pass_on(core *c, const unsigned char *bytes, size_t length)
{
	char line[LONGEST_LINE];
	if (length > LONGEST_SAYING || (length && memchr(bytes, 0, length))) return false;
	if (length > sizeof line - 1) length = whole_characters((const char *)bytes, sizeof line - 1);
	for (size_t i = 0; i < length; ++i) line[i] = bytes[i] < ' ' || bytes[i] == 0x7f ? ' ' : (char)bytes[i];
	line[length] = 0;
	say_line(c, false, line);
	return true;
}

/* What a hand has turned on the panel no longer stands where the host has put it: the server has its value. The host is not
 * told of macros: Ardour would set them to what it reads then. Returns whether it is to be told. */
static bool let_go(core *c, uint32_t parameter)
{
	if (c->keeper.last_answer < c->keeper.settled) return false; /* it was turned before the last load */
	if (parameter < WIRE_MACROS) {
		atomic_fetch_and(&c->moved_macros, ~(1u << parameter));
		return false;
	}
	return parameter == WIRE_PRESET && !c->chooses && atomic_exchange(&c->values[WIRE_PRESET], 0) != 0;
}

/* False where a message is not as the wire has it. */
static bool obey(core *c, const inbox *in)
{
	keeper *k = &c->keeper;
	bool valid = true, changed = false, parameters = false;
	if (in->head.kind == WIRE_SAY) return pass_on(c, in->bytes, in->head.length);
	pthread_mutex_lock(&k->mutex);
	switch (in->head.kind) {
	case WIRE_READY:
		k->ready = true;
		k->silent[0] = 0;
		break;
	case WIRE_STATE: keep_patch(c, in->head.number, in->bytes, in->head.length, &changed); break;
	case WIRE_PARAMETERS: parameters = valid = keep_parameters(c, in->bytes, in->head.length); break;
	case WIRE_PRESETS: parameters = valid = keep_presets(c, in->bytes, in->head.length); break;
	case WIRE_TURNED: parameters = let_go(c, in->head.number); break;
	default: break; /* a kind that a later server knows */
	}
	pthread_mutex_unlock(&k->mutex);
	if (parameters) core_tell(c, CHANGED_PARAMETERS);
	if (changed) core_tell(c, CHANGED_STATE);
	return valid;
}

/* False where the server is gone, or talks nonsense. */
static bool exchange(core *c)
{
	keeper *k = &c->keeper;
	pthread_mutex_lock(&k->mutex);
	bool connected = outbox_send(&k->out, k->server->socket);
	pthread_mutex_unlock(&k->mutex);
	for (int i = 0; i < AT_ONCE; ++i) {
		enum inbox_answer answer = inbox_take(&k->in, k->server->socket);
		if (answer == INBOX_WAITS) break;
		if (answer == INBOX_ENDED) return false;
		if (!obey(c, &k->in)) {
			k->server->nonsense = true;
			return false;
		}
	}
	return connected;
}

/* ---- the thread */

static void wait_for_work(core *c)
{
	keeper *k = &c->keeper;
	pthread_mutex_lock(&k->mutex);
	struct pollfd polls[2] = {{.fd = k->wake, .events = POLLIN}, {.fd = -1}};
	int patience = -1;
	if (k->server) {
		polls[1] = (struct pollfd){.fd = k->server->socket, .events = POLLIN | (k->out.first ? POLLOUT : 0)};
		patience = LOOK_ROUND;
	} else if (c->coming) {
		int64_t left_ms = k->started + BETWEEN_STARTS - now_ms();
		patience = left_ms > 0 ? (int)left_ms : 0;
	}
	pthread_mutex_unlock(&k->mutex);
	poll(polls, 2, patience);
	uint64_t count;
	(void)!read(k->wake, &count, sizeof count);
}

/* Says what other threads have noted. */
static void report(core *c)
{
	keeper *k = &c->keeper;
	if (c->lost != k->lost) {
		warn(c, "timbrel's server could not follow: %llu events are lost", (unsigned long long)(c->lost - k->lost));
		k->lost = c->lost;
	}
	if (c->spoils != k->spoils) {
		k->spoils = c->spoils;
		warn(c, "timbrel lacks sound in this bounce: it had no server, or lost it; run `timbrel plugin status`, then bounce again");
	}
	if (atomic_exchange(&c->unknown, false))
		warn(c, "timbrel's patch is not in the project that was saved: its server has not answered yet; save again once it plays");
}

static void *keep(void *self)
{
	core *c = self;
	keeper *k = &c->keeper;
	k->log = server_log(k->log_path, sizeof k->log_path);
	start(c);
	for (;;) {
		wait_for_work(c);
		if (k->quits) break;
		if (atomic_exchange(&c->revived, false)) k->failures = 0;
		if (!k->server && c->coming && now_ms() - k->started >= BETWEEN_STARTS) start(c);
		if (k->server && (!exchange(c) || k->server->nonsense || server_has_ended(k->server))) end(c, k->server->nonsense ? 0 : FAREWELL);
		report(c);
	}
	report(c);
	if (k->server) end(c, FAREWELL);
	if (k->log >= 0) close(k->log);
	return NULL;
}

bool keeper_start(core *c)
{
	keeper *k = &c->keeper;
	pthread_condattr_t clock;
	k->log = -1;
	c->coming = true;
	k->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->wake < 0) return false;
	pthread_mutex_init(&k->mutex, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&k->answer, &clock);
	pthread_condattr_destroy(&clock);
	/* The host's signals are for the host's threads. */
	sigset_t all_signals, host_mask;
	sigfillset(&all_signals);
	pthread_sigmask(SIG_SETMASK, &all_signals, &host_mask);
	int error = pthread_create(&k->thread, NULL, keep, c);
	pthread_sigmask(SIG_SETMASK, &host_mask, NULL);
	if (error) close(k->wake);
	return !error;
}

void keeper_stop(core *c)
{
	keeper *k = &c->keeper;
	k->quits = true;
	keeper_wake(c);
	pthread_join(k->thread, NULL);
	close(k->wake);
	pthread_cond_destroy(&k->answer);
	pthread_mutex_destroy(&k->mutex);
	free(k->patch.bytes);
	free(k->presets);
}

void keeper_revive(core *c)
{
	if (c->coming) return;
	c->revived = true; /* before the keeper may try */
	c->coming = true;
	keeper_wake(c);
}

void keeper_load(core *c, patch loaded)
{
	keeper *k = &c->keeper;
	free(k->patch.bytes);
	k->patch = loaded;
	if (!k->server) { /* the next one is told when it starts */
		keeper_revive(c);
		return;
	}
	/* A load that nobody has read yet gives its place and its number to this one. */
	if (!outbox_withdraw(&k->out, WIRE_LOAD_STATE, WIRE_LOAD_PRESET)) k->server->loads += 1;
	uint32_t kind = loaded.kind == PATCH_STATE ? WIRE_LOAD_STATE : WIRE_LOAD_PRESET;
	bool queued = outbox_put(&k->out, kind, k->server->loads, loaded.bytes, loaded.length);
	k->settled = ++k->last_question;
	queued = queued && outbox_put(&k->out, WIRE_SAVE, k->settled, NULL, 0);
	if (!queued) k->server->nonsense = true; /* no memory: the next server gets it */
	keeper_wake(c);
}

void keeper_wake(core *c)
{
	uint64_t increment = 1;
	(void)!write(c->keeper.wake, &increment, sizeof increment);
}
