/* What typed lines mean, and what is answered. */
#include "unit.h"

#include <string.h>

#include "fake_panel.h"
#include "shell-ui/answers.h"
#include "shell-ui/commands.h"

static const struct {
	const char *line;
	enum command_kind kind;
} lines[] = {
	{ "show linux desktop", COMMAND_SHOW }, { "  Show   me the LINUX desktop, please!", COMMAND_SHOW }, { "show", COMMAND_SHOW },
	{ "desktop", COMMAND_SHOW }, { "linux", COMMAND_SHOW }, { "open the desktop", COMMAND_SHOW }, { "can you show linux?", COMMAND_SHOW },
	{ "go to linux", COMMAND_SHOW }, { "switch to the linux desktop", COMMAND_SHOW }, { "start linux desktop", COMMAND_SHOW },
	{ "hide linux desktop", COMMAND_HIDE }, { "hide", COMMAND_HIDE }, { "Hide the Desktop.", COMMAND_HIDE }, { "close linux", COMMAND_HIDE },
	{ "toggle", COMMAND_TOGGLE }, { "switch", COMMAND_TOGGLE },
	{ "help", COMMAND_HELP }, { "?", COMMAND_HELP }, { "HELP ME", COMMAND_HELP }, { "what can you do?", COMMAND_HELP },
	{ "help vm", COMMAND_HELP }, { "status", COMMAND_STATUS }, { "show status", COMMAND_STATUS }, { "how are you?", COMMAND_STATUS },
	{ "vm", COMMAND_VM_USAGE }, { "vm status", COMMAND_VM_USAGE }, { "vm dance", COMMAND_VM_USAGE }, { "vm start now please", COMMAND_VM },
	{ "version", COMMAND_VERSION }, { "show version", COMMAND_VERSION }, { "uptime", COMMAND_UPTIME }, { "date", COMMAND_TIME },
	{ "what time is it?", COMMAND_TIME }, { "show me the time", COMMAND_TIME }, { "memory", COMMAND_MEMORY }, { "mem", COMMAND_MEMORY },
	{ "list devices", COMMAND_DEVICES }, { "hello", COMMAND_GREETING }, { "Hi RayOS!", COMMAND_GREETING }, { "thank you", COMMAND_THANKS },
	{ "who are you", COMMAND_ABOUT }, { "clear", COMMAND_CLEAR }, { "exit", COMMAND_QUIT }, { "press F5", COMMAND_PRESS },
	{ "", COMMAND_NOTHING }, { "    ", COMMAND_NOTHING }, { "...", COMMAND_UNKNOWN }, { "frobnicate", COMMAND_UNKNOWN },
	{ "show the weather", COMMAND_UNKNOWN }, { "pressure", COMMAND_UNKNOWN }, { "don't show linux desktop now or ever", COMMAND_UNKNOWN },
};

START_TEST(test_lines)
{
	struct command command;
	command_parse(lines[_i].line, &command);
	ck_assert_msg(command.kind == lines[_i].kind, "\"%s\" is %d, not %d", lines[_i].line, command.kind, lines[_i].kind);
}
END_TEST

static const struct {
	const char *line;
	enum link_vm_command vm;
} machine[] = {
	{ "vm start", LINK_VM_START }, { "start the vm", LINK_VM_START }, { "vm stop", LINK_VM_STOP }, { "stop the machine", LINK_VM_STOP },
	{ "vm reset", LINK_VM_RESET }, { "restart vm", LINK_VM_RESET }, { "reboot", LINK_VM_RESET }, { "vm pause", LINK_VM_PAUSE },
	{ "pause", LINK_VM_PAUSE }, { "vm resume", LINK_VM_RESUME }, { "vm powerdown", LINK_VM_POWERDOWN }, { "vm power off", LINK_VM_POWERDOWN },
	{ "shut down the machine", LINK_VM_POWERDOWN }, { "VM SHUTDOWN", LINK_VM_POWERDOWN }, { "start linux", LINK_VM_START },
};

START_TEST(test_machine)
{
	struct command command;
	command_parse(machine[_i].line, &command);
	ck_assert_int_eq(command.kind, COMMAND_VM);
	ck_assert_int_eq(command.vm, machine[_i].vm);
}
END_TEST

START_TEST(test_guess)
{
	struct command command;
	command_parse("stauts", &command);
	ck_assert_str_eq(command.meant, "status");
	command_parse("hlep", &command);
	ck_assert_str_eq(command.meant, "help");
	command_parse("xylophone", &command);
	ck_assert_ptr_null(command.meant);
	ck_assert_str_eq(command.text, "xylophone");
}
END_TEST

START_TEST(test_hostile_lines)
{
	struct command command;
	char line[5000];
	memset(line, 'a', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	command_parse(line, &command);
	ck_assert_int_eq(command.kind, COMMAND_UNKNOWN);
	ck_assert_uint_lt(strlen(command.text), COMMAND_TEXT);
	for (size_t i = 0; i < sizeof(line) - 1; i += 2)
		line[i] = ' ';
	command_parse(line, &command); /* thousands of words */
	ck_assert_int_eq(command.kind, COMMAND_UNKNOWN);
	memcpy(line, "press ", 6);
	command_parse(line, &command);
	ck_assert_int_eq(command.kind, COMMAND_PRESS);
	ck_assert_uint_lt(strlen(command.text), COMMAND_TEXT);
	command_parse("\xff\xfe\x80", &command);
	ck_assert_int_eq(command.kind, COMMAND_UNKNOWN);
}
END_TEST

START_TEST(test_keys)
{
	struct command command;
	uint32_t code[COMMAND_CHORD];
	char bad[40];

	command_parse("press Ctrl + Alt+del", &command);
	ck_assert_int_eq(command_keys(command.text, fake_key_code, code, bad, sizeof(bad)), 3);
	ck_assert_uint_eq(code[0], KEY_LEFTCTRL);
	ck_assert_uint_eq(code[1], KEY_LEFTALT);
	ck_assert_uint_eq(code[2], KEY_DELETE);
	command_parse("press ctrl alt delete", &command);
	ck_assert_int_eq(command_keys(command.text, fake_key_code, code, bad, sizeof(bad)), 3);
	ck_assert_int_eq(command_keys("`", fake_key_code, code, bad, sizeof(bad)), 1);
	ck_assert_uint_eq(code[0], KEY_GRAVE);
	ck_assert_int_eq(command_keys("key_f5", fake_key_code, code, bad, sizeof(bad)), 1);
	ck_assert_uint_eq(code[0], KEY_F5);
	ck_assert_int_eq(command_keys("ctrl+wobble", fake_key_code, code, bad, sizeof(bad)), -1);
	ck_assert_str_eq(bad, "wobble");
	ck_assert_int_eq(command_keys("f5+f5+f5+f5+f5", fake_key_code, code, bad, sizeof(bad)), -1);
	ck_assert_int_eq(command_keys("", fake_key_code, code, bad, sizeof(bad)), 0);
}
END_TEST

START_TEST(test_complete)
{
	ck_assert_str_eq(command_complete("sho"), "show linux desktop");
	ck_assert_str_eq(command_complete("VM RESU"), "vm resume");
	ck_assert_ptr_null(command_complete("vm re")); /* two */
	ck_assert_ptr_null(command_complete("xyz"));
	ck_assert_ptr_null(command_complete(""));
}
END_TEST

/* The placeholder names the machine's state and what helps, in every state. */
START_TEST(test_placeholder)
{
	static const struct {
		enum vm_state vm;
		const char *state, *advice;
		enum status_tag tag;
	} cases[] = {
		{ VM_NONE, "not started", "vm start", STATUS_OFF }, { VM_STARTING, "starting", "by itself", STATUS_BUSY },
		{ VM_RUNNING, "running", "by itself", STATUS_BUSY }, { VM_PAUSED, "paused", "vm resume", STATUS_BUSY },
		{ VM_STOPPING, "stopping", "Wait", STATUS_BUSY }, { VM_STOPPED, "stopped", "vm start", STATUS_OFF },
		{ VM_CRASHED, "crashed", "vm start", STATUS_BAD },
	};
	struct status status = { .vm = cases[_i].vm };
	struct answer_context context = { .status = &status, .toggle_key = "`", .show_key = "F11", .hide_key = "F12" };
	struct placeholder_text text;
	answer_placeholder(&context, &text);
	ck_assert(text.title[0]);
	ck_assert_ptr_nonnull(strstr(text.state, cases[_i].state));
	ck_assert_ptr_nonnull(strstr(text.advice, cases[_i].advice));
	ck_assert_int_eq(text.tag, cases[_i].tag);
}
END_TEST

START_TEST(test_placeholder_unconfigured)
{
	struct status status = { .vm = VM_NONE };
	struct answer_context context = { .status = &status, .hint = "give --kernel FILE", .toggle_key = "`", .show_key = "F11", .hide_key = "F12" };
	struct placeholder_text text;
	answer_placeholder(&context, &text);
	ck_assert_ptr_nonnull(strstr(text.state, "no machine is configured"));
	ck_assert_ptr_nonnull(strstr(text.advice, "give --kernel FILE"));
}
END_TEST

/* Every command has an answer in every state, whole and within its buffer, however small. */
START_TEST(test_answers)
{
	char answer[ANSWER_MAX], small[16];
	for (int vm = VM_NONE; vm <= VM_CRASHED; vm++) {
		struct status status = { .vm = (enum vm_state)vm, .n_outputs = 1, .output = { { "X-1", 1280, 800, 59990, true } } };
		struct answer_context context = { .status = &status, .toggle_key = "`", .show_key = "F11", .hide_key = "F12" };
		for (int kind = COMMAND_UNKNOWN; kind <= COMMAND_QUIT; kind++) {
			struct command command = { .kind = (enum command_kind)kind, .text = "what" };
			answer_command(&command, &context, answer, sizeof(answer));
			bool silent = kind == COMMAND_PRESS || kind == COMMAND_CLEAR;
			ck_assert_msg(silent == (answer[0] == '\0'), "command %d", kind);
			if (!silent)
				ck_assert_int_eq(answer[strlen(answer) - 1], '\n');
			answer_command(&command, &context, small, sizeof(small));
			ck_assert_uint_lt(strlen(small), sizeof(small));
		}
	}
}
END_TEST

START_TEST(test_show_guides)
{
	char answer[ANSWER_MAX];
	struct status status = { .vm = VM_CRASHED };
	struct answer_context context = { .status = &status, .toggle_key = "`", .show_key = "F11", .hide_key = "F12" };
	struct command command = { .kind = COMMAND_SHOW };
	answer_command(&command, &context, answer, sizeof(answer));
	ck_assert_ptr_nonnull(strstr(answer, "vm start"));
	status.vm = VM_NONE;
	context.hint = "give --kernel FILE";
	answer_command(&command, &context, answer, sizeof(answer));
	ck_assert_ptr_nonnull(strstr(answer, "give --kernel FILE"));
	status.scanout_width = 640; /* a synthetic guest needs no machine */
	answer_command(&command, &context, answer, sizeof(answer));
	ck_assert_ptr_nonnull(strstr(answer, "Showing"));
}
END_TEST

START_TEST(test_help_names_the_keys)
{
	char answer[ANSWER_MAX];
	struct status status = { .vm = VM_RUNNING };
	struct answer_context context = { .status = &status, .toggle_key = "LEFTMETA+TAB", .show_key = "F11", .hide_key = "F12" };
	struct command command = { .kind = COMMAND_HELP };
	answer_command(&command, &context, answer, sizeof(answer));
	ck_assert_ptr_nonnull(strstr(answer, "LEFTMETA+TAB"));
	ck_assert_ptr_null(strstr(answer, "held they are typed"));
	context.pass_key = "RIGHTCTRL";
	answer_command(&command, &context, answer, sizeof(answer));
	ck_assert_ptr_nonnull(strstr(answer, "RIGHTCTRL"));
	ck_assert_ptr_nonnull(strstr(answer, "held they are typed"));
}
END_TEST

/* The page names the keys, as they are set, and the way out where there is one. */
START_TEST(test_status_keys)
{
	char text[ANSWER_MAX];
	struct status status = { .vm = VM_RUNNING };
	struct answer_context context = { .status = &status, .toggle_key = "PAUSE", .show_key = "F11", .hide_key = "LEFTMETA+TAB", .pass_key = "RIGHTCTRL", .way_out = "through the door" };
	struct command command = { .kind = COMMAND_STATUS };
	answer_command(&command, &context, text, sizeof(text));
	static const char *const wanted[] = { "PAUSE", "F11", "LEFTMETA+TAB", "RIGHTCTRL", "Way out", "through the door" };
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		ck_assert_msg(strstr(text, wanted[i]) != NULL, "%s is not in %s", wanted[i], text);
	context.pass_key = context.way_out = NULL;
	answer_command(&command, &context, text, sizeof(text));
	ck_assert(strstr(text, "PAUSE") != NULL && strstr(text, "held") == NULL && strstr(text, "Way out") == NULL);
}
END_TEST

static Suite *make_suite(void)
{
	Suite *suite = suite_create("commands");
	TCase *tcase = tcase_create("commands");
	tcase_add_test(tcase, test_status_keys);
	tcase_add_loop_test(tcase, test_lines, 0, (int)ARRAY_LEN(lines));
	tcase_add_loop_test(tcase, test_machine, 0, (int)ARRAY_LEN(machine));
	tcase_add_test(tcase, test_guess);
	tcase_add_test(tcase, test_hostile_lines);
	tcase_add_test(tcase, test_keys);
	tcase_add_test(tcase, test_complete);
	tcase_add_loop_test(tcase, test_placeholder, 0, 7);
	tcase_add_test(tcase, test_placeholder_unconfigured);
	tcase_add_test(tcase, test_answers);
	tcase_add_test(tcase, test_show_guides);
	tcase_add_test(tcase, test_help_names_the_keys);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(make_suite)
