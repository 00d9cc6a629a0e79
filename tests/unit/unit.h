/* The main() that every unit test shares: runs one suite, verbosity and TAP output by check's environment variables. */
#pragma once

#include <check.h>
#include <stdlib.h>

#define UNIT_MAIN(make_suite)                                  \
	int main(void)                                         \
	{                                                      \
		SRunner *runner = srunner_create(make_suite()); \
		srunner_run_all(runner, CK_ENV);               \
		int failed = srunner_ntests_failed(runner);    \
		srunner_free(runner);                          \
		return failed == 0 ? 0 : 1;                    \
	}
