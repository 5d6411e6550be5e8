#include "vst3.h"

/* The next character of a text; what is not UTF-8 is a question mark. */
static uint32_t next(const uint8_t **cursor)
{
	const uint8_t *text = *cursor;
	int more = *text >= 0xf0 ? 3 : *text >= 0xe0 ? 2 : *text >= 0xc0 ? 1 : 0;
	uint32_t character = more ? *text & (0x3f >> more) : *text;
	bool good = *text < 0x80 || (more && *text < 0xf8);
	for (text++; more; more--, text++) {
		if ((*text & 0xc0) != 0x80) {
			good = false;
			break;
		}
		character = character << 6 | (*text & 0x3f);
	}
	*cursor = text;
	return good && character <= 0x10ffff ? character : '?';
}

void to_utf16(const char *text, int16_t *utf16, size_t size)
{
	const uint8_t *cursor = (const uint8_t *)text;
	size_t count = 0;
	while (*cursor && count + 2 < size) {
		uint32_t character = next(&cursor);
		if (character > 0xffff) {
			utf16[count++] = (int16_t)(0xd800 | (character - 0x10000) >> 10);
			character = 0xdc00 | (character & 0x3ff);
		}
		utf16[count++] = (int16_t)character;
	}
	utf16[count] = 0;
}

void from_utf16(const int16_t *text, char *utf8, size_t size)
{
	size_t count = 0;
	while (*text && count + 4 < size) {
		uint32_t character = (uint16_t)*text++;
		if ((character & 0xfc00) == 0xd800 && ((uint16_t)*text & 0xfc00) == 0xdc00)
			character = 0x10000 + ((character & 0x3ff) << 10 | ((uint16_t)*text++ & 0x3ff));
		int more = character > 0xffff ? 3 : character > 0x7ff ? 2 : character > 0x7f ? 1 : 0;
		utf8[count++] = (char)(more ? (0xff00 >> (more + 1) & 0xff) | character >> 6 * more : character);
		while (more--)
			utf8[count++] = (char)(0x80 | (character >> 6 * more & 0x3f));
	}
	utf8[count] = 0;
}
