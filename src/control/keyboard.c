#include "control/keyboard.h"

#include <linux/input-event-codes.h>
#include <string.h>

bool us_key(char character, uint16_t *code, bool *shift)
{
	/* Rows of the keyboard from their first key on; KEY_* codes run along a row (input-event-codes.h). */
	static const struct {
		const char *plain, *shifted;
		uint16_t first;
	} rows[] = {
		{ "1234567890-=", "!@#$%^&*()_+", KEY_1 },
		{ "qwertyuiop[]\n", "QWERTYUIOP{}", KEY_Q },
		{ "asdfghjkl;'`", "ASDFGHJKL:\"~", KEY_A },
		{ "\\zxcvbnm,./", "|ZXCVBNM<>?", KEY_BACKSLASH },
	};
	if (character == '\0')
		return false;
	if (character == ' ' || character == '\t') {
		*code = character == ' ' ? KEY_SPACE : KEY_TAB;
		*shift = false;
		return true;
	}
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *at = strchr(rows[i].plain, character);
		*shift = at == NULL;
		if (at != NULL)
			*code = (uint16_t)(rows[i].first + (at - rows[i].plain));
		else if ((at = strchr(rows[i].shifted, character)) != NULL)
			*code = (uint16_t)(rows[i].first + (at - rows[i].shifted));
		if (at != NULL)
			return true;
	}
	return false;
}
