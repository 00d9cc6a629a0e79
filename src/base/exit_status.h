/* How the program ends: what scripts and service managers rely on. rayvm(1), "Exit status". */
#pragma once

enum exit_status {
	EXIT_ASKED = 0,   /* somebody asked for the end */
	EXIT_FAILED = 1,  /* failed while running */
	EXIT_USAGE = 2,   /* usage or settings */
	EXIT_KVM = 3,     /* no usable KVM */
	EXIT_DISPLAY = 4, /* no usable display */
	EXIT_INPUT = 5,   /* no seat, or no right to the input devices */
};
