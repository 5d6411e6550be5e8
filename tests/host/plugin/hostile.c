/* Ten thousand states, streams of messages and streams of events that nobody should send, each from a seed:
 *
 *     hostile SEED COUNT FOLDER
 *
 * FOLDER is empty, so that the core has no server of its own. Linked with a core that is built with the sanitizers, which
 * end it where an access or a number is wrong. */
#include "server_thread.c"

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>

static uint64_t chance;

static uint32_t below(uint32_t limit) /* xorshift64* */
{
	chance ^= chance >> 12;
	chance ^= chance << 25;
	chance ^= chance >> 27;
	return (uint32_t)((chance * 0x2545f4914f6cdd1dULL) >> 33) % limit;
}

static void check(bool true_, const char *what)
{
	if (true_) return;
	fprintf(stderr, "hostile: %s\n", what);
	exit(1);
}

static size_t damage(unsigned char *bytes, size_t count, size_t most)
{
	for (uint32_t i = below(4); i-- > 0 && count;) bytes[below((uint32_t)count)] = (unsigned char)below(256);
	if (below(4) == 0) count = below((uint32_t)count + 1);
	if (below(8) == 0)
		while (count < most && below(16)) bytes[count++] = (unsigned char)below(256);
	return count;
}

/* Where a state says at which rate the rack is how late, both little endian. */
static void say_latency(unsigned char *bytes, uint32_t rate, uint32_t latency)
{
	const uint32_t told[] = {htole32(rate), htole32(latency)};
	memcpy(bytes + 4 * 24, told, sizeof told);
}

static void states(const char *folder, int count)
{
	core *c = core_new(folder, NULL);
	check(c != NULL, "no core");
	for (int i = 0; i < count; ++i) {
		unsigned char bytes[1024] = {0};
		void *saved;
		if (below(4) == 0) {
			for (uint32_t at = 0, length = below(300); at < length; ++at) bytes[at] = (unsigned char)(1 + below(255));
			core_load_preset(c, (const char *)bytes);
		}
		size_t length = core_save(c, &saved);
		check(length > 0, "nothing is saved");
		memcpy(bytes, saved, length);
		const double rates[] = {8000.0 + below(500000), 44100.4, NAN, -1, INFINITY, 1e30};
		double rate = rates[below(6)];
		if (below(2)) say_latency(bytes, rate > 0 && rate < 1e9 ? (uint32_t)rate : below(UINT32_MAX), below(1u << 21));
		core_load(c, bytes, damage(bytes, length, sizeof bytes));
		free(saved);
		float sides[2][64];
		core_activate(c, rate, below(3) ? below(3000) : below(UINT32_MAX));
		check(core_latency(c) <= LONGEST_RACK_LATENCY + WIRE_RING / 2, "a latency that no rack has");
		core_run(c, sides[0], sides[1], 64);
		check(core_latency(c) <= LONGEST_RACK_LATENCY + WIRE_RING / 2, "a latency that no rack has in a block");
		length = core_save(c, &saved);
		check(core_load(c, saved, length), "what was saved is no state");
		free(saved);
	}
	core_free(c);
}

/* A core without a thread, whose server is this process. */
static core *alone(void)
{
	core *c = calloc(1, sizeof *c + 1);
	c->keeper.log = c->keeper.wake = -1;
	pthread_mutex_init(&c->keeper.mutex, NULL);
	pthread_cond_init(&c->keeper.answer, NULL);
	return c;
}

static server *one_server(void)
{
	server *one = calloc(1, sizeof *one);
	one->memory = mmap(NULL, sizeof(wire_memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return one;
}

static void messages(int count)
{
	static const uint32_t usual[] = {0, 1, 5, 72, 16 * 72, 16 * 72, 2000};
	core *c = alone();
	for (int i = 0; i < count; ++i) {
		int sockets[2];
		server *one = c->keeper.server = one_server();
		check(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "no sockets");
		one->socket = sockets[0];
		for (uint32_t n = below(8); n-- > 0;) {
			unsigned char bytes[sizeof(wire_message) + 4096] = {0};
			wire_message head = {100 + below(7), below(3), usual[below(7)]};
			if (below(20) == 0) head.length = below(UINT32_MAX);
			uint32_t really = head.length < 4096 ? head.length : 4096;
			for (uint32_t at = 0; below(4) && at < really; ++at)
				bytes[sizeof head + at] = (unsigned char)(below(2) ? below(256) : 0);
			memcpy(bytes, &head, sizeof head);
			size_t length = sizeof head + really;
			if (below(20) == 0) length = damage(bytes, length, sizeof bytes);
			check(send(sockets[1], bytes, length, MSG_NOSIGNAL) >= 0 || errno == EPIPE, "not sent");
			if (below(3) == 0) core_load_preset(c, "a preset that is asked for meanwhile");
			if (!exchange(c)) break;
			char name[64];
			wire_parameter told;
			core_preset_name(c, below(300), name);
			core_parameter(c, below(20), &told);
		}
		close(sockets[0]);
		close(sockets[1]);
		inbox_empty(&c->keeper.in);
		outbox_empty(&c->keeper.out);
		c->keeper.server = NULL;
		server_free(one);
	}
	free(c->keeper.patch.bytes);
	free(c->keeper.presets);
	free(c);
}

/* A server of sorts: takes, makes and rings, now and then writes what cannot be, and ends soon after that. */
typedef struct {
	pthread_mutex_t mutex;
	server *server;
	bool diligent;  /* takes events */
	uint32_t steps; /* until it ends; 0 while nothing is wrong */
	bool ends;
	uint64_t chance;
} scribe;

static void *scribble(void *self)
{
	scribe *s = self;
	for (bool ends = false; !ends; sched_yield()) {
		pthread_mutex_lock(&s->mutex);
		ends = s->ends;
		if (s->server) {
			wire_memory *m = s->server->memory;
			s->chance = s->chance * 6364136223846793005ULL + 1442695040888963407ULL;
			uint32_t draw = (uint32_t)(s->chance >> 33);
			if (s->diligent) m->event_tail = m->event_head;
			m->made = m->complete;
			m->rack_latency = draw / 32 % 5;
			if (draw % 512 == 0) {
				((_Atomic uint32_t *)m)[draw / 512 % 48] = (uint32_t)s->chance;
				s->steps = s->steps ? s->steps : 20;
			}
			if (s->steps && --s->steps == 0) s->server->ended = true;
			if (draw % 8 == 0) m->sound[draw / 8 % 2][draw / 16 % WIRE_RING] = NAN;
			m->plugin_bell += 1;
			if (m->plugin_sleeps || s->steps) futex_wake(&m->plugin_bell);
		}
		pthread_mutex_unlock(&s->mutex);
	}
	return NULL;
}

static void serve(scribe *s, server *one)
{
	pthread_mutex_lock(&s->mutex);
	s->server = one;
	s->diligent = below(4) > 0;
	s->steps = 0;
	pthread_mutex_unlock(&s->mutex);
}

static void events(int count)
{
	static float sound[2][70000];
	core *c = alone();
	scribe s = {.mutex = PTHREAD_MUTEX_INITIALIZER, .chance = chance};
	pthread_t thread;
	check(pthread_create(&thread, NULL, scribble, &s) == 0, "no thread");
	for (int i = 0; i < count; ++i) {
		server *one = one_server();
		c->offered = one;
		serve(&s, one);
		core_activate(c, 1000.0 + below(200000), below(3) ? below(3000) : below(UINT32_MAX));
		for (uint32_t calls = below(30); calls-- > 0;) {
			uint8_t bytes[4] = {(uint8_t)below(256), (uint8_t)below(256), (uint8_t)below(128), 0};
			uint32_t offset = below(4) ? below(600) : below(UINT32_MAX);
			float values[] = {(float)below(100) / 50, -1e30f, INFINITY, NAN, 1e30f};
			switch (below(10)) {
			case 0: core_offline(c, below(2)); break;
			case 1: core_set(c, offset, below(25), values[below(5)]); break;
			case 2: core_tempo(c, offset, values[below(5)] * 100); break;
			case 3: core_transport(c, offset, below(2), below(2), below(3000)); break;
			case 4: core_midi(c, offset, bytes, below(4)); break;
			case 5:
				for (uint32_t n = below(20) ? 1 : 9000; n-- > 0;) core_midi(c, offset, (const uint8_t[]){0x90, 60, 64}, 3);
				break;
			case 6:
				if (below(20) == 0) core_deactivate(c);
				break;
			default: {
				uint32_t length = below(100) ? below(500) : below(70000);
				c->coming = false; /* there is no keeper that would bring a server */
				core_run(c, sound[0], sound[1], length);
				for (uint32_t n = 0; n < length; ++n)
					check(isfinite(sound[0][n]) && isfinite(sound[1][n]), "a sample is no number");
			}
			}
		}
		serve(&s, NULL);
		c->offered = NULL;
		c->sound.server = NULL;
		server_free(one);
	}
	pthread_mutex_lock(&s.mutex);
	s.ends = true;
	pthread_mutex_unlock(&s.mutex);
	pthread_join(thread, NULL);
	free(c);
}

int main(int count, char **arguments)
{
	if (count != 4) return 2;
	chance = strtoull(arguments[1], NULL, 10) + 88172645463325252ULL;
	int times = atoi(arguments[2]);
	states(arguments[3], times);
	messages(times);
	events(times);
	return 0;
}
