/* Stands in the generated filters for the number of the process that loads them. */
#pragma once

#define SANDBOX_PID_PLACEHOLDER 0x52415956u
