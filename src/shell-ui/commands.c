#include "shell-ui/commands.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"

#define MAX_WORDS 12
#define MAX_WORD 24

struct words {
	char word[MAX_WORDS][MAX_WORD];
	int n;
};

static bool is_one_of(const char *word, const char *const *list)
{
	for (; *list; list++) {
		if (strcmp(word, *list) == 0)
			return true;
	}
	return false;
}

#define ONE_OF(word, ...) is_one_of(word, (const char *const[]){ __VA_ARGS__, NULL })

/* Words in lower case; everything that is no letter, digit or part of a name separates. Bytes beyond ASCII belong to words. */
static void split(const char *line, struct words *words)
{
	words->n = 0;
	while (words->n < MAX_WORDS) {
		size_t n = 0;
		char *word = words->word[words->n];
		while (*line && !isalnum((unsigned char)*line) && !((unsigned char)*line & 0x80) && *line != '?')
			line++;
		if (*line == '?' && n == 0) { /* a lone question mark asks for help; after a word it is punctuation */
			line++;
			if (words->n == 0)
				strcpy(words->word[words->n++], "help");
			continue;
		}
		for (; isalnum((unsigned char)*line) || ((unsigned char)*line & 0x80) || *line == '-' || *line == '\''; line++) {
			if (n < MAX_WORD - 1 && *line != '\'' && *line != '-')
				word[n++] = (char)tolower((unsigned char)*line);
		}
		word[n] = '\0';
		if (n > 0)
			words->n++;
		else if (!*line)
			break;
	}
}

/* Leaves out words that carry no meaning here. */
static void drop_fillers(struct words *words)
{
	int kept = 0;
	for (int i = 0; i < words->n; i++) {
		if (ONE_OF(words->word[i], "please", "the", "a", "an", "me", "my", "to", "can", "could", "you", "would", "will", "i",
			"want", "like", "let", "lets", "now", "rayos", "just", "up", "in", "is", "of"))
			continue;
		if (kept != i)
			memcpy(words->word[kept], words->word[i], MAX_WORD);
		kept++;
	}
	words->n = kept;
}

static bool names_desktop(const char *word)
{
	return ONE_OF(word, "linux", "desktop", "guest", "screen", "picture");
}

static bool names_machine(const char *word)
{
	return ONE_OF(word, "vm", "machine", "virtual", "guest", "linux");
}

/* True when all words from `from` on name the desktop. */
static bool rest_is(const struct words *words, int from, bool (*names)(const char *word))
{
	for (int i = from; i < words->n; i++) {
		if (!names(words->word[i]))
			return false;
	}
	return true;
}

static bool machine_verb(const char *word, enum link_vm_command *command)
{
	static const struct {
		const char *word;
		enum link_vm_command command;
	} verbs[] = {
		{ "start", LINK_VM_START }, { "boot", LINK_VM_START }, { "run", LINK_VM_START }, { "launch", LINK_VM_START },
		{ "stop", LINK_VM_STOP }, { "kill", LINK_VM_STOP }, { "halt", LINK_VM_STOP },
		{ "reset", LINK_VM_RESET }, { "restart", LINK_VM_RESET }, { "reboot", LINK_VM_RESET },
		{ "pause", LINK_VM_PAUSE }, { "suspend", LINK_VM_PAUSE }, { "freeze", LINK_VM_PAUSE },
		{ "resume", LINK_VM_RESUME }, { "continue", LINK_VM_RESUME }, { "unpause", LINK_VM_RESUME },
		{ "powerdown", LINK_VM_POWERDOWN }, { "poweroff", LINK_VM_POWERDOWN }, { "shutdown", LINK_VM_POWERDOWN },
	};
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (strcmp(word, verbs[i].word) == 0) {
			*command = verbs[i].command;
			return true;
		}
	}
	return false;
}

/* "power down", "shut down", "turn off" as one word. */
static void join_pairs(struct words *words)
{
	for (int i = 0; i + 1 < words->n; i++) {
		bool down = ONE_OF(words->word[i], "power", "shut", "turn") && ONE_OF(words->word[i + 1], "down", "off");
		if (!down)
			continue;
		strcpy(words->word[i], "powerdown");
		for (int j = i + 1; j + 1 < words->n; j++)
			memcpy(words->word[j], words->word[j + 1], MAX_WORD);
		words->n--;
	}
}

static bool parse_machine(const struct words *words, struct command *command)
{
	if (words->n < 1)
		return false;
	const char *first = words->word[0];
	if (ONE_OF(first, "vm", "machine")) {
		command->kind = COMMAND_VM_USAGE;
		if (words->n == 1 || (words->n == 2 && strcmp(words->word[1], "status") == 0))
			return true;
		if (words->n == 2 && machine_verb(words->word[1], &command->vm))
			command->kind = COMMAND_VM;
		else
			snprintf(command->text, sizeof(command->text), "%s", words->word[1]);
		return true;
	}
	/* "start the machine"; a verb alone only where nobody would type it by chance */
	if (!machine_verb(first, &command->vm) || !rest_is(words, 1, names_machine))
		return false;
	if (words->n == 1 && !ONE_OF(first, "pause", "resume", "reboot", "reset", "powerdown", "poweroff", "shutdown"))
		return false;
	command->kind = COMMAND_VM;
	return true;
}

static bool parse_desktop(const struct words *words, struct command *command)
{
	if (words->n < 1)
		return false;
	const char *first = words->word[0];
	if (ONE_OF(first, "show", "open", "present", "view", "display", "see", "enter") && rest_is(words, 1, names_desktop))
		command->kind = COMMAND_SHOW;
	else if (ONE_OF(first, "go", "switch", "start", "run", "launch") && words->n > 1 && rest_is(words, 1, names_desktop))
		command->kind = COMMAND_SHOW;
	else if (ONE_OF(first, "hide", "close", "leave", "back") && rest_is(words, 1, names_desktop))
		command->kind = COMMAND_HIDE;
	else if (ONE_OF(first, "toggle", "flip", "switch") && rest_is(words, 1, names_desktop))
		command->kind = COMMAND_TOGGLE;
	else if (names_desktop(first) && strcmp(first, "screen") != 0 && rest_is(words, 0, names_desktop))
		command->kind = COMMAND_SHOW;
	else
		return false;
	return true;
}

static const struct {
	const char *words[6]; /* all that remain after fillers, one blank between */
	enum command_kind kind;
} answers[] = {
	{ { "help", "commands", "what do", "how" }, COMMAND_HELP },
	{ { "status", "state", "how are", "status page" }, COMMAND_STATUS },
	{ { "version", "ver", "about version" }, COMMAND_VERSION },
	{ { "uptime", "how long" }, COMMAND_UPTIME },
	{ { "time", "date", "clock", "time it" }, COMMAND_TIME },
	{ { "today", "day it", "day", "date time", "time date" }, COMMAND_TIME },
	{ { "memory", "mem", "ram", "free", "how much memory" }, COMMAND_MEMORY },
	{ { "devices", "inputs", "outputs" }, COMMAND_DEVICES },
	{ { "hello", "hi", "hey", "hello there", "hi there", "good morning" }, COMMAND_GREETING },
	{ { "good evening", "good day", "moin", "hallo", "servus", "hey there" }, COMMAND_GREETING },
	{ { "thanks", "thank", "thx", "cheers", "great", "danke" }, COMMAND_THANKS },
	{ { "about", "who are", "what are", "what this", "who", "whoami" }, COMMAND_ABOUT },
	{ { "clear", "cls", "clear transcript", "clear screen", "reset screen" }, COMMAND_CLEAR },
	{ { "quit", "exit", "logout", "bye", "goodbye", "log out" }, COMMAND_QUIT },
};

static bool parse_answer(const struct words *words, int from, struct command *command)
{
	char joined[MAX_WORDS * MAX_WORD] = "";
	for (int i = from; i < words->n; i++) {
		if (i > from)
			strcat(joined, " ");
		strcat(joined, words->word[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		for (size_t j = 0; j < ARRAY_LEN(answers[i].words) && answers[i].words[j]; j++) {
			if (strcmp(joined, answers[i].words[j]) == 0) {
				command->kind = answers[i].kind;
				return true;
			}
		}
	}
	return false;
}

static const char *const known[] = {
	"help", "status", "show linux desktop", "hide linux desktop", "toggle", "vm start", "vm stop", "vm reset", "vm pause", "vm resume",
	"vm powerdown", "press", "version", "uptime", "time", "date", "memory", "devices", "about", "clear",
};

/* Letters to change, add or leave out to make a of b; at most MAX_WORD letters are looked at. */
static int distance(const char *a, const char *b)
{
	int row[MAX_WORD + 1];
	int n = (int)strnlen(b, MAX_WORD);
	for (int j = 0; j <= n; j++)
		row[j] = j;
	for (int i = 1; a[i - 1] && i <= MAX_WORD; i++) {
		int diagonal = row[0];
		row[0] = i;
		for (int j = 1; j <= n; j++) {
			int above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = above;
			row[j] = best;
		}
	}
	return row[n];
}

/* The command whose first word is nearest to the word typed. */
static const char *guess(const char *word)
{
	const char *best = NULL;
	int least = strlen(word) <= 3 ? 2 : 3; /* must be below */
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		char first[MAX_WORD];
		size_t n = strcspn(known[i], " ");
		snprintf(first, sizeof(first), "%.*s", (int)n, known[i]);
		int d = distance(word, first);
		if (d < least && strcmp(first, "vm") != 0) {
			least = d;
			best = known[i];
		}
	}
	return best;
}

static bool parse_press(const char *line, struct command *command)
{
	while (isspace((unsigned char)*line))
		line++;
	if (strncasecmp(line, "press", 5) != 0 || (line[5] && !isspace((unsigned char)line[5])))
		return false;
	command->kind = COMMAND_PRESS;
	size_t n = 0;
	bool word = false, plus = true;
	for (line += 5; *line && n < sizeof(command->text) - 2; line++) {
		if (isspace((unsigned char)*line)) {
			word = n > 0;
			continue;
		}
		if (word && !plus && *line != '+')
			command->text[n++] = '+'; /* "ctrl alt del" and "ctrl + alt" are chords too */
		plus = *line == '+';
		word = false;
		command->text[n++] = *line;
	}
	command->text[n] = '\0';
	return true;
}

void command_parse(const char *line, struct command *command)
{
	struct words words;

	memset(command, 0, sizeof(*command));
	if (parse_press(line, command))
		return;
	split(line, &words);
	if (words.n == 0) {
		while (isspace((unsigned char)*line))
			line++;
		command->kind = *line ? COMMAND_UNKNOWN : COMMAND_NOTHING;
		snprintf(command->text, sizeof(command->text), "%s", line);
		return;
	}
	char first[MAX_WORD];
	memcpy(first, words.word[0], sizeof(first));
	drop_fillers(&words);
	join_pairs(&words);
	if (parse_machine(&words, command) || parse_desktop(&words, command) || parse_answer(&words, 0, command))
		return;
	if (words.n > 1 && ONE_OF(words.word[0], "show", "list", "tell", "print", "what") && parse_answer(&words, 1, command))
		return;
	if (words.n > 0 && ONE_OF(words.word[0], "help")) {
		command->kind = COMMAND_HELP;
		return;
	}
	command->kind = COMMAND_UNKNOWN;
	command->meant = guess(words.n > 0 ? words.word[0] : first);
	while (isspace((unsigned char)*line))
		line++;
	snprintf(command->text, sizeof(command->text), "%s", line);
}

static int one_key(const char *name, int (*key_code)(const char *name))
{
	static const struct {
		const char *alias, *name;
	} aliases[] = {
		{ "CTRL", "LEFTCTRL" }, { "CONTROL", "LEFTCTRL" }, { "ALT", "LEFTALT" }, { "ALTGR", "RIGHTALT" }, { "SHIFT", "LEFTSHIFT" },
		{ "SUPER", "LEFTMETA" }, { "WIN", "LEFTMETA" }, { "META", "LEFTMETA" }, { "DEL", "DELETE" }, { "INS", "INSERT" },
		{ "ESCAPE", "ESC" }, { "RETURN", "ENTER" }, { "PGUP", "PAGEUP" }, { "PGDN", "PAGEDOWN" }, { "BACKTICK", "GRAVE" },
		{ "`", "GRAVE" }, { "PRINT", "SYSRQ" }, { "BKSP", "BACKSPACE" },
	};
	char upper[40];
	size_t n = 0;
	for (; name[n] && n < sizeof(upper) - 1; n++)
		upper[n] = (char)toupper((unsigned char)name[n]);
	upper[n] = '\0';
	const char *plain = strncmp(upper, "KEY_", 4) == 0 ? upper + 4 : upper;
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
		if (strcmp(plain, aliases[i].alias) == 0) {
			plain = aliases[i].name;
			break;
		}
	}
	char full[48];
	snprintf(full, sizeof(full), "KEY_%s", plain);
	int code = key_code(full);
	return code > 0 && code < 0x300 ? code : -1;
}

int command_keys(const char *keys, int (*key_code)(const char *name), uint32_t code[COMMAND_CHORD], char *bad, size_t bad_size)
{
	int n = 0;
	while (*keys) {
		size_t length = strcspn(keys, "+");
		char name[40];
		snprintf(name, sizeof(name), "%.*s", (int)(length < sizeof(name) ? length : sizeof(name) - 1), keys);
		int value = n < COMMAND_CHORD ? one_key(name, key_code) : -1;
		if (value < 0) {
			snprintf(bad, bad_size, "%s", name);
			return -1;
		}
		code[n++] = (uint32_t)value;
		keys += length;
		keys += *keys == '+';
	}
	return n;
}

const char *command_complete(const char *start)
{
	const char *found = NULL;
	size_t n = strlen(start);
	for (size_t i = 0; n > 0 && i < ARRAY_LEN(known); i++) {
		if (strncasecmp(known[i], start, n) != 0)
			continue;
		if (found)
			return NULL;
		found = known[i];
	}
	return found;
}
