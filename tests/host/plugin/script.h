/* What hosts of tests have in common: options, and a text file of events.
 *
 *     rate=48000 samples=48000 blocks=64,128 events=FILE offline load=FILE save=FILE piece=BYTES describe
 *
 * Blocks come in turn, over and over; `piece` is the most that a stream takes at once. A line of events is a sample's
 * number and what happens there, in order:
 *
 *     midi 90 3c 64 | on CHANNEL KEY VELOCITY | off … | pressure … | set PARAMETER VALUE
 *     tempo BPM | play BEAT | stop | realtime | offline | load FILE
 *
 * The words of the second line do their work before the block they lie in.
 */
#ifndef TIMBREL_SCRIPT_H
#define TIMBREL_SCRIPT_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_EVENTS 65536

typedef struct {
	uint64_t time;
	char word[16], text[256];
	double numbers[3];
} line;

static void fail(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	exit(1);
}

static line *read_lines(const char *path)
{
	line *lines = calloc(MOST_EVENTS + 1, sizeof *lines);
	FILE *file = path ? fopen(path, "r") : NULL;
	char text[512], numbers[3][256];
	size_t count = 0;
	if (path && !file)
		fail("%s cannot be read", path);
	while (file && fgets(text, sizeof text, file)) {
		line *to = &lines[count++];
		unsigned long long time;
		int got = sscanf(text, "%llu %15s %255s %255s %255s", &time, to->word, numbers[0], numbers[1], numbers[2]);
		if (count > MOST_EVENTS || got < 2)
			fail("%s:%zu: not an event: %s", path, count, text);
		to->time = time;
		snprintf(to->text, sizeof to->text, "%s", got > 2 ? numbers[0] : "");
		for (int i = 0; i < got - 2; i++)
			to->numbers[i] = strcmp(to->word, "midi") ? strtod(numbers[i], NULL) : strtol(numbers[i], NULL, 16);
	}
	if (file)
		fclose(file);
	lines[count].time = UINT64_MAX;
	return lines;
}

static const char *option(int count, char **words, const char *name)
{
	size_t length = strlen(name);
	for (int i = 3; i < count; i++)
		if (strncmp(words[i], name, length) == 0 && (words[i][length] == '=' || !words[i][length]))
			return words[i] + length + (words[i][length] == '=');
	return NULL;
}

static uint32_t *read_blocks(const char *text)
{
	uint32_t *blocks = calloc(strlen(text) + 2, sizeof *blocks), count = 0;
	for (char *end; *text; text = *end == ',' ? end + 1 : end) {
		blocks[count] = (uint32_t)strtoul(text, &end, 10);
		if (!blocks[count++] || (*end && *end != ','))
			fail("not a list of blocks: %s", text);
	}
	return blocks;
}

#endif
