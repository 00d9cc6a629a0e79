#include "vmm/acpi_pm.h"

#include <string.h>

#include "base/base.h"

/* ACPI 6.4, 4.8.3. */
#define PM1_TIMER 0x0001
#define PM1_GLOBAL_LOCK 0x0020
#define PM1_POWER_BUTTON 0x0100
#define PM1_SLEEP_BUTTON 0x0200
#define PM1_RTC 0x0400
#define PM1_STATUS_BITS (PM1_TIMER | PM1_GLOBAL_LOCK | PM1_POWER_BUTTON | 0x8000)
#define PM1_ENABLE_BITS (PM1_TIMER | PM1_GLOBAL_LOCK | PM1_POWER_BUTTON | PM1_SLEEP_BUTTON | PM1_RTC)
#define CONTROL_SCI_ENABLE 0x0001
#define CONTROL_BITS 0x1c06 /* SLP_TYP, BM_RLD, GBL_RLS */
#define CONTROL_SLEEP_TYPE(value) (((value) >> 10) & 7)
#define CONTROL_SLEEP_ENABLE 0x2000
#define SLEEP_TYPE_S5 5

void acpi_pm_init(struct acpi_pm *pm, const struct acpi_pm_host *host)
{
	memset(pm, 0, sizeof(*pm));
	pthread_mutex_init(&pm->lock, NULL);
	pm->host = *host;
	pm->control = CONTROL_SCI_ENABLE;
}

void acpi_pm_finish(struct acpi_pm *pm)
{
	pthread_mutex_destroy(&pm->lock);
}

static bool sci_wanted(const struct acpi_pm *pm)
{
	return pm->status & pm->enable & (PM1_GLOBAL_LOCK | PM1_POWER_BUTTON);
}

static void update_sci(struct acpi_pm *pm)
{
	bool level = sci_wanted(pm);
	if (level != pm->sci_level) {
		pm->sci_level = level;
		pm->host.sci(pm->host.data, level);
	}
}

void acpi_pm_reset(struct acpi_pm *pm)
{
	pthread_mutex_lock(&pm->lock);
	pm->status = pm->enable = 0;
	pm->control = CONTROL_SCI_ENABLE;
	pm->sci_level = false;
	pthread_mutex_unlock(&pm->lock);
}

uint32_t acpi_pm_timer(uint64_t guest_ns)
{
	uint64_t seconds = guest_ns / NSEC_PER_SEC, rest = guest_ns % NSEC_PER_SEC;
	return (uint32_t)(seconds * 3579545 + rest * 3579545 / NSEC_PER_SEC);
}

/* The block as bytes: event status and enable at 0 and 2, control at 4, timer at 8. */
static void snapshot(const struct acpi_pm *pm, uint64_t guest_ns, uint8_t block[16])
{
	uint32_t timer = acpi_pm_timer(guest_ns);
	memset(block, 0, 16);
	memcpy(block, &pm->status, 2);
	memcpy(block + 2, &pm->enable, 2);
	memcpy(block + 4, &pm->control, 2);
	memcpy(block + 8, &timer, 4);
}

void acpi_pm_access(struct acpi_pm *pm, uint32_t offset, void *data, uint32_t size, bool write, uint64_t guest_ns)
{
	uint8_t block[16];
	bool power_off = false;
	if (!write)
		memset(data, 0xff, size);
	if (offset + size > sizeof(block))
		return;
	pthread_mutex_lock(&pm->lock);
	snapshot(pm, guest_ns, block);
	if (!write) {
		memcpy(data, block + offset, size);
		pthread_mutex_unlock(&pm->lock);
		return;
	}
	/* Status bits are cleared by writing ones; bytes outside the access write zeros there and the old value elsewhere. */
	uint16_t clear = 0;
	memset(block, 0, 2);
	memcpy(block + offset, data, size);
	memcpy(&clear, block, 2);
	pm->status &= (uint16_t)~(clear & PM1_STATUS_BITS);
	memcpy(&pm->enable, block + 2, 2);
	/* Enables stick even for what never happens here: Linux reads back what it set (drivers/acpi/acpica/evxfevnt.c). */
	pm->enable &= PM1_ENABLE_BITS;
	if (offset < 6 && offset + size > 4) {
		uint16_t untrusted_control;
		memcpy(&untrusted_control, block + 4, 2);
		/* There is no legacy mode to go back to. SLP_EN is write-only. */
		pm->control = (uint16_t)((untrusted_control & CONTROL_BITS) | CONTROL_SCI_ENABLE);
		power_off = (untrusted_control & CONTROL_SLEEP_ENABLE) && CONTROL_SLEEP_TYPE(untrusted_control) == SLEEP_TYPE_S5;
	}
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
	if (power_off)
		pm->host.power_off(pm->host.data);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	pthread_mutex_lock(&pm->lock);
	pm->status |= PM1_POWER_BUTTON;
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

uint32_t acpi_pm_save(struct acpi_pm *pm, void *to, uint32_t size)
{
	pthread_mutex_lock(&pm->lock);
	struct acpi_pm_state state = { .status = pm->status, .enable = pm->enable, .control = pm->control };
	pthread_mutex_unlock(&pm->lock);
	return state_put(to, size, &state, sizeof(state), STATE_ACPI_PM, ACPI_PM_STATE_VERSION);
}

bool acpi_pm_load(struct acpi_pm *pm, const void *from, uint32_t size)
{
	struct acpi_pm_state untrusted;
	acpi_pm_reset(pm);
	if (!state_get(&untrusted, sizeof(untrusted), STATE_ACPI_PM, ACPI_PM_STATE_VERSION, from, size) || untrusted.zero != 0 ||
	    (untrusted.status & ~PM1_STATUS_BITS) || (untrusted.enable & ~PM1_ENABLE_BITS) ||
	    (untrusted.control & ~(CONTROL_BITS | CONTROL_SCI_ENABLE)) || !(untrusted.control & CONTROL_SCI_ENABLE))
		return false;
	pthread_mutex_lock(&pm->lock);
	pm->status = untrusted.status;
	pm->enable = untrusted.enable;
	pm->control = untrusted.control;
	/* The line as the interrupt controllers have to see it, whatever it was. */
	pm->sci_level = !sci_wanted(pm);
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
	return true;
}
