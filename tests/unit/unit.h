/*
 * The main() that every unit test shares: runs one suite, verbosity and TAP output by check's environment variables. UNIT_SKIP("reason")
 * ends a test that cannot say anything on this machine: it is counted as skipped, not as passed.
 */
#pragma once

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* check knows no skipped tests: a failure with this text, of which unit_run() makes what TAP has for it. */
#define UNIT_SKIPPED "# SKIP "
#define UNIT_SKIP(...) ck_abort_msg(UNIT_SKIPPED __VA_ARGS__)

/* The program's exit status. */
static inline int unit_run(Suite *suite, enum print_output mode)
{
	const char *wanted = getenv("CK_TAP_LOG_FILE_NAME");
	FILE *tap = wanted != NULL && strcmp(wanted, "-") == 0 ? tmpfile() : NULL;
	SRunner *runner = srunner_create(suite);
	char tap_path[64], tap_line[4096];
	if (tap != NULL) {
		snprintf(tap_path, sizeof(tap_path), "/proc/self/fd/%d", fileno(tap));
		srunner_set_tap(runner, tap_path);
	}
	srunner_run_all(runner, mode);
	int failed = srunner_ntests_failed(runner), n = failed;
	TestResult **results = srunner_failures(runner);
	for (int i = 0; i < n; i++)
		failed -= strncmp(tr_msg(results[i]), UNIT_SKIPPED, strlen(UNIT_SKIPPED)) == 0;
	free(results);
	srunner_free(runner);
	fflush(stdout);
	while (tap != NULL && fgets(tap_line, sizeof(tap_line), tap) != NULL)
		fputs(strncmp(tap_line, "not ok", 6) == 0 && strstr(tap_line, ": " UNIT_SKIPPED) != NULL ? tap_line + 4 : tap_line, stdout);
	if (tap != NULL)
		fclose(tap);
	return failed == 0 ? 0 : 1;
}

#define UNIT_MAIN(make_suite)                              \
	int main(void)                                     \
	{                                                  \
		return unit_run(make_suite(), CK_ENV);     \
	}
