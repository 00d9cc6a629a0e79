/* The line editor. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shell-ui/prompt.h"

static struct prompt prompt;

static void setup(void)
{
	memset(&prompt, 0, sizeof(prompt));
}

static const char *text(void)
{
	static char out[PROMPT_MAX * 4 + 1];
	prompt_text(&prompt, out, sizeof(out));
	return out;
}

static void type(const char *s)
{
	for (; *s; s++)
		ck_assert(prompt_insert(&prompt, (uint8_t)*s));
}

static void submit(const char *line)
{
	char out[PROMPT_MAX * 4 + 1];
	type(line);
	prompt_submit(&prompt, out, sizeof(out));
	ck_assert_str_eq(out, line);
}

START_TEST(test_editing)
{
	type("show linx desktop");
	prompt_edit(&prompt, PROMPT_WORD_LEFT);
	ck_assert_uint_eq(prompt.cursor, 10);
	prompt_edit(&prompt, PROMPT_LEFT);
	prompt_edit(&prompt, PROMPT_LEFT);
	prompt_insert(&prompt, 'u');
	ck_assert_str_eq(text(), "show linux desktop");
	prompt_edit(&prompt, PROMPT_HOME);
	ck_assert(!prompt_edit(&prompt, PROMPT_BACKSPACE));
	ck_assert(!prompt_edit(&prompt, PROMPT_LEFT));
	prompt_edit(&prompt, PROMPT_DELETE);
	ck_assert_str_eq(text(), "how linux desktop");
	prompt_edit(&prompt, PROMPT_WORD_RIGHT);
	ck_assert_uint_eq(prompt.cursor, 3);
	prompt_edit(&prompt, PROMPT_KILL_TO_END);
	ck_assert_str_eq(text(), "how");
	prompt_edit(&prompt, PROMPT_BACKSPACE);
	ck_assert_str_eq(text(), "ho");
	prompt_edit(&prompt, PROMPT_END);
	ck_assert(!prompt_edit(&prompt, PROMPT_RIGHT));
	ck_assert(!prompt_edit(&prompt, PROMPT_DELETE));
}
END_TEST

START_TEST(test_kills)
{
	type("one two  three ");
	prompt_edit(&prompt, PROMPT_KILL_WORD);
	ck_assert_str_eq(text(), "one two  ");
	prompt_edit(&prompt, PROMPT_KILL_WORD);
	ck_assert_str_eq(text(), "one ");
	type("four");
	prompt_edit(&prompt, PROMPT_WORD_LEFT);
	prompt_edit(&prompt, PROMPT_KILL_TO_START);
	ck_assert_str_eq(text(), "four");
	ck_assert_uint_eq(prompt.cursor, 0);
	prompt_edit(&prompt, PROMPT_CLEAR);
	ck_assert_str_eq(text(), "");
}
END_TEST

START_TEST(test_unicode)
{
	prompt_insert(&prompt, 0xe9);
	prompt_insert(&prompt, 'e');
	prompt_insert(&prompt, 0x301); /* combining: one step with its letter */
	prompt_insert(&prompt, 0x6f22);
	ck_assert_str_eq(text(), "\xc3\xa9" "e\xcc\x81\xe6\xbc\xa2");
	prompt_edit(&prompt, PROMPT_BACKSPACE);
	prompt_edit(&prompt, PROMPT_LEFT);
	ck_assert_uint_eq(prompt.cursor, 1);
	prompt_edit(&prompt, PROMPT_DELETE);
	ck_assert_str_eq(text(), "\xc3\xa9");
	ck_assert(!prompt_insert(&prompt, '\n'));
	ck_assert(!prompt_insert(&prompt, 0));
	ck_assert(!prompt_insert(&prompt, 0x1b));
	prompt_set(&prompt, "a\xff\x80z");
	ck_assert_str_eq(text(), "a\xef\xbf\xbd\xef\xbf\xbdz");
}
END_TEST

START_TEST(test_full)
{
	for (int i = 0; i < PROMPT_MAX; i++)
		ck_assert(prompt_insert(&prompt, 0x10ffff));
	ck_assert(!prompt_insert(&prompt, 'x'));
	char out[PROMPT_MAX * 4 + 1];
	ck_assert_uint_eq(prompt_submit(&prompt, out, sizeof(out)), PROMPT_MAX * 4);
	ck_assert_uint_eq(prompt.line.length, 0);
}
END_TEST

START_TEST(test_history)
{
	submit("first");
	submit("second");
	submit("second"); /* not twice */
	submit("   ");    /* nor a blank line */
	type("draft");
	ck_assert(prompt_edit(&prompt, PROMPT_HISTORY_UP));
	ck_assert_str_eq(text(), "second");
	ck_assert(prompt_edit(&prompt, PROMPT_HISTORY_UP));
	ck_assert_str_eq(text(), "first");
	ck_assert(!prompt_edit(&prompt, PROMPT_HISTORY_UP));
	prompt_edit(&prompt, PROMPT_HISTORY_DOWN);
	prompt_edit(&prompt, PROMPT_HISTORY_DOWN);
	ck_assert_str_eq(text(), "draft");
	ck_assert(!prompt_edit(&prompt, PROMPT_HISTORY_DOWN));
}
END_TEST

START_TEST(test_history_bounded)
{
	char line[32];
	for (int i = 0; i < PROMPT_HISTORY + 10; i++) {
		prompt.line.length = prompt.cursor = 0;
		snprintf(line, sizeof(line), "line %d", i);
		submit(line);
	}
	int n = 0;
	while (prompt_edit(&prompt, PROMPT_HISTORY_UP))
		n++;
	ck_assert_int_eq(n, PROMPT_HISTORY);
	ck_assert_str_eq(text(), "line 10");
}
END_TEST

/* Whatever is done, the cursor stays in the line. */
START_TEST(test_random)
{
	srand(1);
	for (int i = 0; i < 50000; i++) {
		int what = rand() % 30;
		char out[PROMPT_MAX * 4 + 1];
		if (what <= PROMPT_CLEAR)
			prompt_edit(&prompt, (enum prompt_edit)what);
		else if (what == 29 && rand() % 10 == 0)
			prompt_submit(&prompt, out, sizeof(out));
		else
			prompt_insert(&prompt, rand() % 4 ? (uint32_t)('a' + rand() % 26) : ' ');
		ck_assert_uint_le(prompt.cursor, prompt.line.length);
		ck_assert_uint_le(prompt.line.length, PROMPT_MAX);
		ck_assert_uint_le(prompt.n_history, PROMPT_HISTORY);
	}
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("prompt");
	TCase *tcase = tcase_create("prompt");
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, test_editing);
	tcase_add_test(tcase, test_kills);
	tcase_add_test(tcase, test_unicode);
	tcase_add_test(tcase, test_full);
	tcase_add_test(tcase, test_history);
	tcase_add_test(tcase, test_history_bounded);
	tcase_add_test(tcase, test_random);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
