#include "vmm/serial.h"

#include <string.h>

#include "base/base.h"

/* Registers and bits: PC16550D data sheet, table 1. */
#define IER_RECEIVED 0x01
#define IER_SENT 0x02
#define IER_BITS 0x0f
#define IIR_NONE 0x01
#define IIR_SENT 0x02
#define IIR_RECEIVED 0x04
#define IIR_FIFOS 0xc0
#define LCR_DIVISOR 0x80
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_BITS 0x1f
#define LSR_DATA 0x01
#define LSR_SENT 0x60 /* holding register and shift register empty */
#define FCR_ENABLE 0x01
#define FCR_CLEAR_INPUT 0x02

void serial_init(struct serial *serial, const struct serial_host *host, bool keep_output)
{
	memset(serial, 0, sizeof(*serial));
	pthread_mutex_init(&serial->lock, NULL);
	serial->host = *host;
	serial->keep_output = keep_output;
	serial->dll = 1;
}

void serial_finish(struct serial *serial)
{
	pthread_mutex_destroy(&serial->lock);
}

static uint8_t interrupt_id(const struct serial *serial)
{
	if ((serial->ier & IER_RECEIVED) && serial->in_head != serial->in_tail)
		return IIR_RECEIVED;
	if ((serial->ier & IER_SENT) && serial->thr_empty_pending)
		return IIR_SENT;
	return IIR_NONE;
}

/* OUT2 gates the line on a PC; Linux sets it. */
static bool irq_wanted(const struct serial *serial)
{
	return interrupt_id(serial) != IIR_NONE && (serial->mcr & MCR_OUT2);
}

static void update_irq(struct serial *serial)
{
	bool level = irq_wanted(serial);
	if (level != serial->irq_level) {
		serial->irq_level = level;
		serial->host.irq(serial->host.data, level);
	}
}

void serial_reset(struct serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	serial->ier = serial->lcr = serial->mcr = serial->scr = serial->dlm = serial->fcr = 0;
	serial->dll = 1;
	serial->thr_empty_pending = false;
	serial->irq_level = false;
	serial->in_tail = serial->in_head;
	pthread_mutex_unlock(&serial->lock);
}

uint8_t serial_read(struct serial *serial, uint32_t reg)
{
	uint8_t value = 0;
	pthread_mutex_lock(&serial->lock);
	switch (reg) {
	case 0:
		if (serial->lcr & LCR_DIVISOR) {
			value = serial->dll;
		} else if (serial->in_head != serial->in_tail) {
			value = serial->in[serial->in_tail++ % SERIAL_INPUT];
			update_irq(serial);
		}
		break;
	case 1:
		value = serial->lcr & LCR_DIVISOR ? serial->dlm : serial->ier;
		break;
	case 2:
		value = interrupt_id(serial);
		if (value == IIR_SENT) {
			serial->thr_empty_pending = false;
			update_irq(serial);
		}
		if (serial->fcr & FCR_ENABLE)
			value |= IIR_FIFOS;
		break;
	case 3:
		value = serial->lcr;
		break;
	case 4:
		value = serial->mcr;
		break;
	case 5:
		value = LSR_SENT | (serial->in_head != serial->in_tail ? LSR_DATA : 0);
		break;
	case 6:
		/* In loopback the modem outputs come back as inputs; else CTS, DSR and carrier are there. */
		if (serial->mcr & MCR_LOOP)
			value = (uint8_t)((serial->mcr & 0x02) << 3 | (serial->mcr & 0x01) << 5 | (serial->mcr & 0x0c) << 4);
		else
			value = 0xb0;
		break;
	default:
		value = serial->scr;
		break;
	}
	pthread_mutex_unlock(&serial->lock);
	return value;
}

static void take_in(struct serial *serial, uint8_t byte)
{
	if (serial->in_head - serial->in_tail < SERIAL_INPUT)
		serial->in[serial->in_head++ % SERIAL_INPUT] = byte;
}

static void send(struct serial *serial, uint8_t byte)
{
	serial->thr_empty_pending = true;
	if (serial->mcr & MCR_LOOP) {
		take_in(serial, byte);
		return;
	}
	if (serial->host.copy != NULL)
		serial->host.copy(serial->host.data, byte);
	if (!serial->keep_output)
		return;
	if (serial->out_head - serial->out_tail == SERIAL_OUTPUT) {
		serial->dropped++;
		return;
	}
	bool was_empty = serial->out_head == serial->out_tail;
	serial->out[serial->out_head++ % SERIAL_OUTPUT] = byte;
	if (was_empty)
		serial->host.wake(serial->host.data);
}

void serial_write(struct serial *serial, uint32_t reg, uint8_t value)
{
	pthread_mutex_lock(&serial->lock);
	switch (reg) {
	case 0:
		if (serial->lcr & LCR_DIVISOR)
			serial->dll = value;
		else
			send(serial, value);
		break;
	case 1:
		if (serial->lcr & LCR_DIVISOR) {
			serial->dlm = value;
		} else {
			/* Enabling the transmit interrupt while empty raises it at once: Linux starts its transmitter so. */
			if ((value & IER_SENT) && !(serial->ier & IER_SENT))
				serial->thr_empty_pending = true;
			serial->ier = value & IER_BITS;
		}
		break;
	case 2:
		serial->fcr = value;
		if (value & FCR_CLEAR_INPUT)
			serial->in_tail = serial->in_head;
		break;
	case 3:
		serial->lcr = value;
		break;
	case 4:
		serial->mcr = value & MCR_BITS;
		break;
	case 7:
		serial->scr = value;
		break;
	default:
		break; /* line and modem status are read-only */
	}
	update_irq(serial);
	pthread_mutex_unlock(&serial->lock);
}

uint32_t serial_input(struct serial *serial, const void *bytes, uint32_t size)
{
	const uint8_t *from = bytes;
	pthread_mutex_lock(&serial->lock);
	uint32_t n = min_u32(size, SERIAL_INPUT - (serial->in_head - serial->in_tail));
	for (uint32_t i = 0; i < n; i++)
		take_in(serial, from[i]);
	update_irq(serial);
	pthread_mutex_unlock(&serial->lock);
	return n;
}

uint32_t serial_input_room(struct serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	uint32_t room = SERIAL_INPUT - (serial->in_head - serial->in_tail);
	pthread_mutex_unlock(&serial->lock);
	return room;
}

uint32_t serial_peek(struct serial *serial, void *to, uint32_t size)
{
	uint8_t *bytes = to;
	pthread_mutex_lock(&serial->lock);
	uint32_t n = min_u32(size, serial->out_head - serial->out_tail);
	for (uint32_t i = 0; i < n; i++)
		bytes[i] = serial->out[(serial->out_tail + i) % SERIAL_OUTPUT];
	pthread_mutex_unlock(&serial->lock);
	return n;
}

void serial_sent(struct serial *serial, uint32_t n)
{
	pthread_mutex_lock(&serial->lock);
	serial->out_tail += min_u32(n, serial->out_head - serial->out_tail);
	pthread_mutex_unlock(&serial->lock);
}

uint32_t serial_save(struct serial *serial, void *to, uint32_t size)
{
	pthread_mutex_lock(&serial->lock);
	struct serial_state state = {
		.ier = serial->ier, .lcr = serial->lcr, .mcr = serial->mcr, .scr = serial->scr, .dll = serial->dll, .dlm = serial->dlm,
		.fcr = serial->fcr, .thr_empty_pending = serial->thr_empty_pending, .n_in = serial->in_head - serial->in_tail,
	};
	for (uint32_t i = 0; i < state.n_in; i++)
		state.in[i] = serial->in[(serial->in_tail + i) % SERIAL_INPUT];
	pthread_mutex_unlock(&serial->lock);
	return state_put(to, size, &state, sizeof(state), STATE_SERIAL, SERIAL_STATE_VERSION);
}

bool serial_load(struct serial *serial, const void *from, uint32_t size)
{
	struct serial_state untrusted;
	serial_reset(serial);
	if (!state_get(&untrusted, sizeof(untrusted), STATE_SERIAL, SERIAL_STATE_VERSION, from, size) || untrusted.ier > IER_BITS ||
	    untrusted.mcr > MCR_BITS || untrusted.thr_empty_pending > 1 || untrusted.zero != 0 || untrusted.n_in > SERIAL_INPUT ||
	    !state_is_zero(untrusted.in + untrusted.n_in, SERIAL_INPUT - untrusted.n_in))
		return false;
	pthread_mutex_lock(&serial->lock);
	serial->ier = untrusted.ier;
	serial->lcr = untrusted.lcr;
	serial->mcr = untrusted.mcr;
	serial->scr = untrusted.scr;
	serial->dll = untrusted.dll;
	serial->dlm = untrusted.dlm;
	serial->fcr = untrusted.fcr;
	serial->thr_empty_pending = untrusted.thr_empty_pending;
	for (uint32_t i = 0; i < untrusted.n_in; i++)
		take_in(serial, untrusted.in[i]);
	/* The line as the interrupt controllers have to see it, whatever it was. */
	serial->irq_level = !irq_wanted(serial);
	update_irq(serial);
	pthread_mutex_unlock(&serial->lock);
	return true;
}
