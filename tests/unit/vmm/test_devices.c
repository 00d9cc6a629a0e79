/* COM1, clock, ACPI registers, keyboard controller: registers in, registers out. */
#include <string.h>

#include "base/base.h"
#include "unit.h"
#include "vmm/acpi_pm.h"
#include "vmm/i8042.h"
#include "vmm/rtc.h"
#include "vmm/serial.h"

/* What the devices asked of their host. */
static struct {
	bool irq, tick;
	unsigned irq_changes, wakes, power_offs;
} seen;

static void set_irq(void *data, bool level)
{
	(void)data;
	seen.irq = level;
	seen.irq_changes++;
}

static void wake(void *data)
{
	(void)data;
	seen.wakes++;
}

static void tick(void *data, bool wanted)
{
	(void)data;
	seen.tick = wanted;
}

static void power_off(void *data)
{
	(void)data;
	seen.power_offs++;
}

/* --- COM1 --- */

static struct serial serial;

static void serial_setup(void)
{
	memset(&seen, 0, sizeof(seen));
	serial_init(&serial, &(struct serial_host){ set_irq, wake, NULL }, true);
}

static void serial_teardown(void)
{
	serial_finish(&serial);
}

START_TEST(serial_probe)
{
	/* what Linux' autoconfig does: scratch, divisor latch, FIFO, loopback */
	serial_write(&serial, 7, 0xa5);
	ck_assert_uint_eq(serial_read(&serial, 7), 0xa5);
	serial_write(&serial, 3, 0x80);
	serial_write(&serial, 0, 0x01);
	serial_write(&serial, 1, 0x02);
	ck_assert_uint_eq(serial_read(&serial, 0), 1);
	ck_assert_uint_eq(serial_read(&serial, 1), 2);
	serial_write(&serial, 3, 0x03);
	ck_assert_uint_eq(serial_read(&serial, 1), 0);
	serial_write(&serial, 1, 0xff);
	ck_assert_uint_eq(serial_read(&serial, 1), 0x0f);
	serial_write(&serial, 1, 0);
	serial_write(&serial, 2, 1);
	ck_assert_uint_eq(serial_read(&serial, 2) & 0xc1, 0xc1);
	serial_write(&serial, 4, 0x1a);
	ck_assert_uint_eq(serial_read(&serial, 6) & 0xf0, 0x90);
	ck_assert_uint_eq(serial_read(&serial, 5), 0x60);
	serial_write(&serial, 5, 0);
	ck_assert_uint_eq(serial_read(&serial, 5), 0x60);
}
END_TEST

START_TEST(serial_interrupts)
{
	serial_write(&serial, 4, 0x08);
	serial_write(&serial, 1, 0x02);
	ck_assert(seen.irq);
	ck_assert_uint_eq(serial_read(&serial, 2) & 0x0f, 0x02);
	ck_assert(!seen.irq); /* reading the cause clears it */
	serial_write(&serial, 0, 'a');
	ck_assert(seen.irq);
	serial_write(&serial, 1, 0x01);
	ck_assert(!seen.irq);
	ck_assert_uint_eq(serial_input(&serial, "xy", 2), 2);
	ck_assert(seen.irq);
	ck_assert_uint_eq(serial_read(&serial, 2) & 0x0f, 0x04);
	ck_assert_uint_eq(serial_read(&serial, 0), 'x');
	ck_assert(seen.irq);
	ck_assert_uint_eq(serial_read(&serial, 0), 'y');
	ck_assert(!seen.irq);
	/* without OUT2 the line stays low */
	serial_write(&serial, 4, 0);
	serial_input(&serial, "z", 1);
	ck_assert(!seen.irq);
	serial_reset(&serial);
	ck_assert_uint_eq(serial_read(&serial, 5), 0x60);
}
END_TEST

START_TEST(serial_bounds)
{
	char bytes[16];
	for (uint32_t i = 0; i < SERIAL_OUTPUT + 1000; i++)
		serial_write(&serial, 0, (uint8_t)i);
	ck_assert_uint_eq(serial.dropped, 1000);
	ck_assert_uint_eq(seen.wakes, 1);
	ck_assert_uint_eq(serial_peek(&serial, bytes, sizeof(bytes)), sizeof(bytes));
	ck_assert_int_eq(bytes[3], 3);
	serial_sent(&serial, 3);
	ck_assert_uint_eq(serial_peek(&serial, bytes, 1), 1);
	ck_assert_int_eq(bytes[0], 3);
	serial_sent(&serial, UINT32_MAX);
	ck_assert_uint_eq(serial_peek(&serial, bytes, 1), 0);
	serial_write(&serial, 0, 'n');
	ck_assert_uint_eq(seen.wakes, 2);
	/* input */
	static char typed[SERIAL_INPUT + 10];
	ck_assert_uint_eq(serial_input(&serial, typed, sizeof(typed)), SERIAL_INPUT);
	ck_assert_uint_eq(serial_input_room(&serial), 0);
	ck_assert_uint_eq(serial_input(&serial, typed, 1), 0);
	serial_write(&serial, 2, 3);
	ck_assert_uint_eq(serial_input_room(&serial), SERIAL_INPUT);
}
END_TEST

/* --- clock --- */

static struct rtc rtc;
#define NOW 1793713999ll /* 2026-11-03 13:53:19 UTC, a Tuesday */

static uint8_t rtc_get(uint8_t index, int64_t now)
{
	rtc_select(&rtc, index);
	return rtc_read(&rtc, now);
}

static void rtc_put(uint8_t index, uint8_t value, int64_t now)
{
	rtc_select(&rtc, index);
	rtc_write(&rtc, value, now);
}

static void rtc_setup(void)
{
	memset(&seen, 0, sizeof(seen));
	rtc_init(&rtc, &(struct rtc_host){ set_irq, tick, NULL });
}

static void rtc_teardown(void)
{
	rtc_finish(&rtc);
}

/* The calendar is the C library's. */
START_TEST(rtc_calendar)
{
	static const int64_t edges[] = { 0, -1, 86399, 86400, 951782399, 951782400, 951868800, 4107542399, 4107542400, -2203891200, -62135596800, 253402300799, 400000000000 };
	uint64_t random = 88172645463325252;
	for (uint32_t i = 0; i < 200000; i++) {
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		time_t seconds = i < ARRAY_LEN(edges) ? edges[i] : (int64_t)(random % 1000000000000) - 200000000000;
		struct tm ours, theirs;
		rtc_civil(seconds, &ours);
		ck_assert_ptr_nonnull(gmtime_r(&seconds, &theirs));
		ck_assert_msg(ours.tm_sec == theirs.tm_sec && ours.tm_min == theirs.tm_min && ours.tm_hour == theirs.tm_hour && ours.tm_mday == theirs.tm_mday &&
			ours.tm_mon == theirs.tm_mon && ours.tm_year == theirs.tm_year && ours.tm_wday == theirs.tm_wday, "%lld", (long long)seconds);
		ck_assert_int_eq(rtc_seconds(&ours), seconds);
		/* what only a guest would set */
		ours.tm_mon = (int)(random % 166) - 1;
		ours.tm_mday = (int)(random >> 8) % 166;
		ours.tm_hour = (int)(random >> 16) % 178;
		struct tm odd = ours;
		ck_assert_int_eq(rtc_seconds(&ours), timegm(&odd));
	}
}
END_TEST

START_TEST(rtc_time)
{
	ck_assert_uint_eq(rtc_get(0, NOW), 0x19);
	ck_assert_uint_eq(rtc_get(2, NOW), 0x53);
	ck_assert_uint_eq(rtc_get(4, NOW), 0x13);
	ck_assert_uint_eq(rtc_get(6, NOW), 3);
	ck_assert_uint_eq(rtc_get(7, NOW), 0x03);
	ck_assert_uint_eq(rtc_get(8, NOW), 0x11);
	ck_assert_uint_eq(rtc_get(9, NOW), 0x26);
	ck_assert_uint_eq(rtc_get(0x32, NOW), 0x20);
	ck_assert_uint_eq(rtc_get(0x0a, NOW) & 0x80, 0);
	ck_assert_uint_eq(rtc_get(0x0d, NOW), 0x80);
	ck_assert_uint_eq(rtc_get(0x80, NOW), 0x19); /* the NMI bit is none of the index */
	/* binary, 12 hours */
	rtc_put(0x0b, 0x04, NOW);
	ck_assert_uint_eq(rtc_get(0, NOW), 19);
	ck_assert_uint_eq(rtc_get(4, NOW), 0x81);
	/* plain memory */
	rtc_put(0x40, 0x77, NOW);
	ck_assert_uint_eq(rtc_get(0x40, NOW), 0x77);
	rtc_reset(&rtc);
	ck_assert_uint_eq(rtc_get(0x40, NOW), 0x77);
	ck_assert_uint_eq(rtc_get(0x0b, NOW), 0x02);
}
END_TEST

START_TEST(rtc_set)
{
	rtc_put(0x0b, 0x82, NOW); /* SET */
	rtc_put(0, 0x05, NOW);
	rtc_put(2, 0x00, NOW);
	rtc_put(4, 0x10, NOW);
	rtc_put(7, 0x31, NOW);
	rtc_put(8, 0x12, NOW);
	rtc_put(9, 0x99, NOW);
	rtc_put(0x32, 0x19, NOW);
	ck_assert_uint_eq(rtc_get(0, NOW + 30), 0x05); /* stopped */
	rtc_put(0x0b, 0x02, NOW);
	ck_assert_uint_eq(rtc_get(0, NOW + 2), 0x07);
	ck_assert_uint_eq(rtc_get(9, NOW + 2), 0x99);
	ck_assert_uint_eq(rtc_get(9, NOW + 14 * 3600), 0x00);
	ck_assert_uint_eq(rtc_get(0x32, NOW + 14 * 3600), 0x20);
	/* nonsense of every value neither crashes nor sticks */
	for (unsigned index = 0; index < 256; index++)
		for (unsigned value = 0; value < 256; value += 15) {
			rtc_put((uint8_t)index, (uint8_t)value, NOW);
			rtc_get((uint8_t)index, NOW);
		}
}
END_TEST

/* Years before 1900 and before 0 are the guest's nonsense, not ours: no shift of negative numbers, and what it set it reads. */
START_TEST(rtc_strange_years)
{
	rtc_put(0x0b, 0x82, NOW); /* SET, BCD */
	rtc_put(9, 0x50, NOW);
	rtc_put(0x32, 0x17, NOW); /* 1750 */
	rtc_put(0x0b, 0x02, NOW);
	ck_assert_uint_eq(rtc_get(9, NOW), 0x50);
	ck_assert_uint_eq(rtc_get(0x32, NOW), 0x17);
	for (uint32_t century = 0; century < 256; century += 51) {
		for (uint32_t reg = 0; reg < 10; reg++) {
			for (uint32_t value = 0; value < 256; value += 15) {
				rtc_put(0x0b, value & 4 ? 0x86 : 0x82, NOW);
				for (uint8_t r = 0; r < 10; r++)
					rtc_put(r, r == reg ? (uint8_t)value : 0, NOW);
				rtc_put(0x32, (uint8_t)century, NOW);
				rtc_put(0x0b, value & 4 ? 0x06 : 0x02, NOW);
				rtc_get(9, NOW);
				rtc_tick(&rtc, NOW + 1);
				ck_assert_uint_le(rtc_get(8, NOW) >> 4, 1);
			}
		}
	}
}
END_TEST

START_TEST(rtc_interrupts)
{
	rtc_put(0x0b, 0x12, NOW); /* update-ended */
	ck_assert(seen.tick);
	rtc_tick(&rtc, NOW + 1);
	ck_assert(seen.irq);
	ck_assert_uint_eq(rtc_get(0x0c, NOW), 0x90);
	ck_assert(!seen.irq);
	rtc_put(0x0b, 0x02, NOW);
	ck_assert(!seen.tick);
	/* alarm at :21, any minute and hour */
	rtc_put(1, 0x21, NOW);
	rtc_put(3, 0xff, NOW);
	rtc_put(5, 0xff, NOW);
	rtc_put(0x0b, 0x22, NOW);
	rtc_tick(&rtc, NOW + 1);
	ck_assert(!seen.irq);
	rtc_tick(&rtc, NOW + 2);
	ck_assert(seen.irq);
	ck_assert_uint_eq(rtc_get(0x0c, NOW) & 0xa0, 0xa0);
}
END_TEST

/* --- ACPI --- */

static struct acpi_pm pm;

static void pm_setup(void)
{
	memset(&seen, 0, sizeof(seen));
	acpi_pm_init(&pm, &(struct acpi_pm_host){ set_irq, power_off, NULL });
}

static void pm_teardown(void)
{
	acpi_pm_finish(&pm);
}

static uint32_t pm_read(uint32_t offset, uint32_t size)
{
	uint32_t value = 0;
	acpi_pm_access(&pm, offset, &value, size, false, 0);
	return value;
}

static void pm_write(uint32_t offset, uint32_t value, uint32_t size)
{
	acpi_pm_access(&pm, offset, &value, size, true, 0);
}

START_TEST(pm_button)
{
	ck_assert_uint_eq(pm_read(4, 2), 1); /* SCI_EN from the start */
	acpi_pm_power_button(&pm);
	ck_assert_uint_eq(pm_read(0, 2), 0x100);
	ck_assert(!seen.irq);
	pm_write(2, 0x120, 2);
	ck_assert(seen.irq);
	ck_assert_uint_eq(pm_read(2, 2), 0x120);
	pm_write(0, 0x20, 2);
	ck_assert(seen.irq);
	pm_write(0, 0x100, 2);
	ck_assert(!seen.irq);
	ck_assert_uint_eq(pm_read(0, 4), 0x01200000);
	/* a write of the enables alone leaves the status */
	acpi_pm_power_button(&pm);
	pm_write(2, 0x120, 2);
	ck_assert_uint_eq(pm_read(0, 2), 0x100);
	pm_write(2, 0x400, 2);
	ck_assert_uint_eq(pm_read(2, 2), 0x400);
}
END_TEST

START_TEST(pm_sleep)
{
	pm_write(4, 5 << 10, 2); /* type without SLP_EN */
	ck_assert_uint_eq(seen.power_offs, 0);
	ck_assert_uint_eq(pm_read(4, 2), 0x1401);
	pm_write(4, 0x2000 | 3 << 10, 2);
	ck_assert_uint_eq(seen.power_offs, 0);
	pm_write(4, 0x2000 | 5 << 10, 2);
	ck_assert_uint_eq(seen.power_offs, 1);
	pm_write(8, 0xffffffff, 4);
	pm_write(14, 0xffffffff, 4); /* past the end */
	ck_assert_uint_eq(pm_read(14, 4), 0xffffffff);
	ck_assert_uint_eq(seen.power_offs, 1);
}
END_TEST

START_TEST(pm_timer)
{
	ck_assert_uint_eq(acpi_pm_timer(0), 0);
	ck_assert_uint_eq(acpi_pm_timer(NSEC_PER_SEC), 3579545);
	ck_assert_uint_eq(acpi_pm_timer(NSEC_PER_SEC / 2), 1789772);
	/* wraps at 32 bits after about 20 minutes, and goes on for years */
	ck_assert_uint_eq(acpi_pm_timer(1200 * NSEC_PER_SEC), (uint32_t)(1200ull * 3579545));
	ck_assert_uint_eq(acpi_pm_timer(100000000 * NSEC_PER_SEC), (uint32_t)(100000000ull * 3579545));
}
END_TEST

START_TEST(keyboard_controller)
{
	struct i8042 c;
	i8042_reset(&c);
	ck_assert_uint_eq(i8042_read(&c, false) & 3, 0);
	ck_assert(!i8042_write(&c, false, 0xaa));
	ck_assert_uint_eq(i8042_read(&c, false) & 1, 1);
	ck_assert_uint_eq(i8042_read(&c, true), 0x55);
	ck_assert_uint_eq(i8042_read(&c, false) & 1, 0);
	i8042_write(&c, false, 0x60);
	i8042_write(&c, true, 0x47);
	i8042_write(&c, false, 0x20);
	ck_assert_uint_eq(i8042_read(&c, true), 0x47);
	i8042_write(&c, true, 0xf2); /* a keyboard would name itself */
	ck_assert_uint_eq(i8042_read(&c, true), 0xfe);
	for (int i = 0; i < 256; i++)
		ck_assert(i8042_write(&c, false, (uint8_t)i) == (i == 0xfe));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("devices");
	TCase *c = tcase_create("serial");
	tcase_add_checked_fixture(c, serial_setup, serial_teardown);
	tcase_add_test(c, serial_probe);
	tcase_add_test(c, serial_interrupts);
	tcase_add_test(c, serial_bounds);
	suite_add_tcase(s, c);
	c = tcase_create("rtc");
	tcase_add_checked_fixture(c, rtc_setup, rtc_teardown);
	tcase_add_test(c, rtc_calendar);
	tcase_add_test(c, rtc_time);
	tcase_add_test(c, rtc_set);
	tcase_add_test(c, rtc_strange_years);
	tcase_add_test(c, rtc_interrupts);
	suite_add_tcase(s, c);
	c = tcase_create("acpi_pm");
	tcase_add_checked_fixture(c, pm_setup, pm_teardown);
	tcase_add_test(c, pm_button);
	tcase_add_test(c, pm_sleep);
	tcase_add_test(c, pm_timer);
	tcase_add_test(c, keyboard_controller);
	suite_add_tcase(s, c);
	return s;
}

UNIT_MAIN(suite)
