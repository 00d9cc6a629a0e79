/* The settings file: [rayvm], name = value. */
#define LOG_MODULE "options"
#include "options_private.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

struct file_reader {
	struct options *options;
	const char *path;
	FILE *file;
	int line;
	bool too_long;
	bool failed;
	int error; /* errno of reading; 0: none */
};

static char *read_settings_line(char *text, int size, void *data)
{
	struct file_reader *reader = data;
	errno = 0;
	if (fgets(text, size, reader->file) == NULL) {
		reader->error = ferror(reader->file) ? errno : 0;
		return NULL;
	}
	reader->line++;
	size_t length = strlen(text);
	if (length > 0 && text[length - 1] != '\n' && !feof(reader->file)) {
		reader->too_long = true;
		return NULL;
	}
	return text;
}

static int from_file(void *data, const char *section, const char *name, const char *value)
{
	struct file_reader *reader = data;
	struct origin origin = { reader->path, reader->line, name };
	if (strcmp(section, "rayvm") != 0) {
		options_complain(&origin, "settings belong into the section [rayvm], this one stands in [%s]", section);
		reader->failed = true;
		return 0;
	}
	if (!options_set(reader->options, &origin, value))
		reader->failed = true;
	return reader->failed ? 0 : 1;
}

bool options_read_file(struct options *options, const char *path)
{
	struct file_reader reader = { .options = options, .path = path };
	reader.file = fopen(path, "re");
	if (reader.file == NULL) {
		fprintf(stderr, "rayvm: cannot read the settings file %s: %s; name another with -c\n", path, strerror(errno));
		return false;
	}
	int result = ini_parse_stream(read_settings_line, &reader, from_file, &reader);
	fclose(reader.file);
	if (reader.failed)
		return false; /* complained with file and line */
	if (reader.error != 0) {
		fprintf(stderr, "rayvm: cannot read the settings file %s: %s; name another with -c\n", path, strerror(reader.error));
		return false;
	}
	if (reader.too_long) {
		fprintf(stderr, "rayvm: %s:%d: the line is too long; give this setting on the command line\n", path, reader.line);
		return false;
	}
	if (result != 0)
		fprintf(stderr, "rayvm: %s:%d: neither a [section] nor name = value\n", path, result);
	return result == 0;
}
