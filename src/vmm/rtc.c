#include "vmm/rtc.h"

#include <string.h>
#include <time.h>

/* Registers: MC146818A data sheet. */
enum { SECONDS = 0, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D, CENTURY = 0x32 };
#define A_RUNNING 0x26 /* 32.768 kHz, 1024 Hz periodic rate; update in progress never shows: updates take no time here */
#define A_UPDATING 0x80
#define B_24H 0x02
#define B_BINARY 0x04
#define B_UPDATE_IRQ 0x10
#define B_ALARM_IRQ 0x20
#define B_SET 0x80
#define C_IRQ 0x80
#define C_ALARM 0x20
#define C_UPDATE 0x10
#define D_VALID 0x80
#define OFFSET_MAX (1ll << 40) /* seconds; the largest that registers can make is 16599 years */

void rtc_init(struct rtc *rtc, const struct rtc_host *host)
{
	memset(rtc, 0, sizeof(*rtc));
	pthread_mutex_init(&rtc->lock, NULL);
	rtc->host = *host;
	rtc->cmos[REG_A] = A_RUNNING;
	rtc->cmos[REG_B] = B_24H;
}

void rtc_finish(struct rtc *rtc)
{
	pthread_mutex_destroy(&rtc->lock);
}

static bool irq_wanted(const struct rtc *rtc)
{
	return rtc->cmos[REG_C] & rtc->cmos[REG_B] & (C_ALARM | C_UPDATE);
}

static void update_outputs(struct rtc *rtc)
{
	bool wanted = rtc->cmos[REG_B] & (B_UPDATE_IRQ | B_ALARM_IRQ);
	if (wanted != rtc->ticking) {
		rtc->ticking = wanted;
		rtc->host.tick(rtc->host.data, wanted);
	}
	bool level = irq_wanted(rtc);
	rtc->cmos[REG_C] = (uint8_t)((rtc->cmos[REG_C] & ~C_IRQ) | (level ? C_IRQ : 0));
	if (level != rtc->irq_level) {
		rtc->irq_level = level;
		rtc->host.irq(rtc->host.data, level);
	}
}

void rtc_reset(struct rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	/* Like the chip at reset: interrupt enables and flags go, time and memory stay (battery). */
	rtc->index = 0;
	rtc->cmos[REG_B] = B_24H;
	rtc->cmos[REG_C] = 0;
	update_outputs(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static uint8_t encode(const struct rtc *rtc, int value)
{
	return (uint8_t)(rtc->cmos[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static int decode(const struct rtc *rtc, uint8_t value)
{
	return rtc->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 0xf);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Days since 1970-01-01 of the first day of a month (0 to 11) in the Gregorian calendar, counted in years that begin in March. */
static int64_t month_start(int64_t year, int64_t month)
{
	int64_t shifted = (month + 10) % 12;
	year -= month < 2;
	int64_t era = floor_div(year, 400), in_era = year - era * 400;
	return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + (153 * shifted + 2) / 5 - 719468;
}

/*
 * UTC, like gmtime_r() and timegm(): those of the C library read /etc/localtime at their first use, and a vCPU's thread may open
 * nothing.
 */
void rtc_civil(int64_t seconds, struct tm *tm)
{
	int64_t days = floor_div(seconds, 86400), rest = seconds - days * 86400;
	int64_t shifted = days + 719468, era = floor_div(shifted, 146097), day = shifted - era * 146097;
	int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	int64_t in_year = day - (365 * year + year / 4 - year / 100), month = (5 * in_year + 2) / 153;
	memset(tm, 0, sizeof(*tm));
	tm->tm_mday = (int)(in_year - (153 * month + 2) / 5 + 1);
	tm->tm_mon = (int)((month + 2) % 12);
	tm->tm_year = (int)(year + era * 400 + (tm->tm_mon < 2) - 1900);
	tm->tm_wday = (int)(((days + 4) % 7 + 7) % 7);
	tm->tm_hour = (int)(rest / 3600);
	tm->tm_min = (int)(rest / 60 % 60);
	tm->tm_sec = (int)(rest % 60);
}

int64_t rtc_seconds(const struct tm *tm)
{
	int64_t years = floor_div(tm->tm_mon, 12);
	int64_t days = month_start(tm->tm_year + 1900ll + years, tm->tm_mon - years * 12) + tm->tm_mday - 1;
	return days * 86400 + tm->tm_hour * 3600ll + tm->tm_min * 60ll + tm->tm_sec;
}

/* Brings the time registers up to date, unless the guest stopped them to set them. */
static void load_time(struct rtc *rtc, int64_t now)
{
	if (rtc->cmos[REG_B] & B_SET)
		return;
	struct tm tm;
	rtc_civil(now + rtc->offset_s, &tm);
	rtc->cmos[SECONDS] = encode(rtc, tm.tm_sec);
	rtc->cmos[MINUTES] = encode(rtc, tm.tm_min);
	int hour = tm.tm_hour;
	if (rtc->cmos[REG_B] & B_24H)
		rtc->cmos[HOURS] = encode(rtc, hour);
	else
		rtc->cmos[HOURS] = (uint8_t)(encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0));
	rtc->cmos[WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	rtc->cmos[DAY] = encode(rtc, tm.tm_mday);
	rtc->cmos[MONTH] = encode(rtc, tm.tm_mon + 1);
	/* The guest can set a year before 1900, and by odd months and days one before 0. */
	int year = tm.tm_year + 1900 < 0 ? 0 : tm.tm_year + 1900;
	rtc->cmos[YEAR] = encode(rtc, year % 100);
	rtc->cmos[CENTURY] = encode(rtc, year / 100);
}

/* The guest set the registers: keeps the difference to the host's time. */
static void store_time(struct rtc *rtc, int64_t now)
{
	uint8_t hours = rtc->cmos[HOURS];
	struct tm tm = {
		.tm_sec = decode(rtc, rtc->cmos[SECONDS]),
		.tm_min = decode(rtc, rtc->cmos[MINUTES]),
		.tm_mday = decode(rtc, rtc->cmos[DAY]),
		.tm_mon = decode(rtc, rtc->cmos[MONTH]) - 1,
		.tm_year = decode(rtc, rtc->cmos[CENTURY]) * 100 + decode(rtc, rtc->cmos[YEAR]) - 1900,
	};
	if (rtc->cmos[REG_B] & B_24H)
		tm.tm_hour = decode(rtc, hours);
	else
		tm.tm_hour = decode(rtc, hours & 0x7f) % 12 + (hours & 0x80 ? 12 : 0);
	/* Odd months, days and hours are taken as they come; the sum cannot overflow: at most 16599 years. */
	rtc->offset_s = rtc_seconds(&tm) - now;
}

void rtc_select(struct rtc *rtc, uint8_t index)
{
	pthread_mutex_lock(&rtc->lock);
	rtc->index = index & 0x7f;
	pthread_mutex_unlock(&rtc->lock);
}

static bool is_time(uint8_t index)
{
	return index == SECONDS || index == MINUTES || index == HOURS || (index >= WEEKDAY && index <= YEAR) || index == CENTURY;
}

uint8_t rtc_read(struct rtc *rtc, int64_t now)
{
	pthread_mutex_lock(&rtc->lock);
	uint8_t index = rtc->index;
	if (is_time(index))
		load_time(rtc, now);
	uint8_t value = index == REG_D ? D_VALID : rtc->cmos[index];
	if (index == REG_C) {
		rtc->cmos[REG_C] = 0;
		update_outputs(rtc);
	}
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

void rtc_write(struct rtc *rtc, uint8_t value, int64_t now)
{
	pthread_mutex_lock(&rtc->lock);
	uint8_t index = rtc->index;
	if (index == REG_A) {
		rtc->cmos[REG_A] = value & (uint8_t)~A_UPDATING;
	} else if (index == REG_B) {
		bool was_set = rtc->cmos[REG_B] & B_SET;
		if (value & B_SET)
			load_time(rtc, now); /* what is not written keeps its value */
		else if (was_set)
			store_time(rtc, now);
		rtc->cmos[REG_B] = value;
		update_outputs(rtc);
	} else if (is_time(index)) {
		load_time(rtc, now);
		rtc->cmos[index] = value;
		if (!(rtc->cmos[REG_B] & B_SET))
			store_time(rtc, now);
	} else if (index != REG_C && index != REG_D) {
		rtc->cmos[index] = value;
	}
	pthread_mutex_unlock(&rtc->lock);
}

/* An alarm byte of 0xc0 and above matches everything. */
static bool alarm_matches(const struct rtc *rtc, int alarm, int value)
{
	return rtc->cmos[alarm] >= 0xc0 || rtc->cmos[alarm] == rtc->cmos[value];
}

void rtc_tick(struct rtc *rtc, int64_t now)
{
	pthread_mutex_lock(&rtc->lock);
	if (!(rtc->cmos[REG_B] & B_SET)) {
		load_time(rtc, now);
		rtc->cmos[REG_C] |= C_UPDATE;
		if (alarm_matches(rtc, SECONDS_ALARM, SECONDS) && alarm_matches(rtc, MINUTES_ALARM, MINUTES) &&
		    alarm_matches(rtc, HOURS_ALARM, HOURS))
			rtc->cmos[REG_C] |= C_ALARM;
		update_outputs(rtc);
	}
	pthread_mutex_unlock(&rtc->lock);
}

uint32_t rtc_save(struct rtc *rtc, void *to, uint32_t size)
{
	struct rtc_state state = { 0 };
	pthread_mutex_lock(&rtc->lock);
	state.index = rtc->index;
	memcpy(state.cmos, rtc->cmos, sizeof(state.cmos));
	state.offset_s = rtc->offset_s;
	pthread_mutex_unlock(&rtc->lock);
	return state_put(to, size, &state, sizeof(state), STATE_RTC, RTC_STATE_VERSION);
}

bool rtc_load(struct rtc *rtc, const void *from, uint32_t size)
{
	struct rtc_state untrusted;
	rtc_reset(rtc);
	if (!state_get(&untrusted, sizeof(untrusted), STATE_RTC, RTC_STATE_VERSION, from, size) || untrusted.index >= sizeof(untrusted.cmos) ||
	    !state_is_zero(untrusted.zero, sizeof(untrusted.zero)) || untrusted.offset_s > OFFSET_MAX || untrusted.offset_s < -OFFSET_MAX ||
	    (untrusted.cmos[REG_A] & A_UPDATING) || (untrusted.cmos[REG_C] & ~(C_IRQ | C_ALARM | C_UPDATE)) || untrusted.cmos[REG_D] != 0)
		return false;
	bool level = untrusted.cmos[REG_C] & untrusted.cmos[REG_B] & (C_ALARM | C_UPDATE);
	if (level != !!(untrusted.cmos[REG_C] & C_IRQ))
		return false;
	pthread_mutex_lock(&rtc->lock);
	rtc->index = untrusted.index;
	memcpy(rtc->cmos, untrusted.cmos, sizeof(rtc->cmos));
	rtc->offset_s = untrusted.offset_s;
	/* The line as the interrupt controllers have to see it, whatever it was. */
	rtc->irq_level = !level;
	update_outputs(rtc);
	pthread_mutex_unlock(&rtc->lock);
	return true;
}
