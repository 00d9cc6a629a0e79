#include "vmm/i8042.h"

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM 0x04
#define COMMAND_SYSTEM 0x04
#define COMMAND_PORTS_OFF 0x30
#define REPLY_RESEND 0xfe /* what a missing device amounts to: the driver gives up at once instead of at its time limit */

void i8042_reset(struct i8042 *controller)
{
	*controller = (struct i8042){ .command_byte = COMMAND_SYSTEM | COMMAND_PORTS_OFF };
}

static void answer(struct i8042 *controller, uint8_t value)
{
	controller->output = value;
	controller->full = true;
}

uint8_t i8042_read(struct i8042 *controller, bool data)
{
	if (!data)
		return (uint8_t)(STATUS_SYSTEM | (controller->full ? STATUS_OUTPUT_FULL : 0));
	controller->full = false;
	return controller->output;
}

bool i8042_write(struct i8042 *controller, bool data, uint8_t value)
{
	if (data) {
		if (controller->expects_byte)
			controller->command_byte = value;
		else
			answer(controller, REPLY_RESEND);
		controller->expects_byte = false;
		return false;
	}
	controller->expects_byte = false;
	switch (value) {
	case 0x20:
		answer(controller, controller->command_byte);
		break;
	case 0x60:
		controller->expects_byte = true;
		break;
	case 0xa7:
		break;
	case 0xa9: /* auxiliary port: no answer of a working one */
	case 0xab: /* keyboard port: clock line stuck */
		answer(controller, 0x01);
		break;
	case 0xaa:
		answer(controller, 0x55);
		break;
	case 0xfe:
		return true;
	default:
		break;
	}
	return false;
}
