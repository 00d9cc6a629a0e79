/* MC146818 real-time clock with its CMOS bytes: the host's wall time in UTC, alarm and update interrupts. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "vmm/state.h"

#define RTC_STATE_VERSION 1

struct rtc_host {
	void (*irq)(void *data, bool level);   /* under the clock's lock */
	void (*tick)(void *data, bool wanted); /* call rtc_tick() once a second from now on, or no longer; under the lock */
	void *data;
};

struct rtc {
	pthread_mutex_t lock; /* guards all below */
	struct rtc_host host;
	uint8_t index;
	uint8_t cmos[128];
	int64_t offset_s; /* the guest's time minus the host's */
	bool irq_level, ticking;
};

struct rtc_state {
	struct state_head head;
	uint8_t index;
	uint8_t zero[7];
	uint8_t cmos[128];
	int64_t offset_s; /* the guest's time minus the host's */
};

void rtc_init(struct rtc *rtc, const struct rtc_host *host);
void rtc_finish(struct rtc *rtc);
void rtc_reset(struct rtc *rtc);
/* Port 0x70 selects (bit 7, the NMI mask, is ignored), 0x71 is the data. now: host's wall time in seconds. vCPU threads. */
void rtc_select(struct rtc *rtc, uint8_t index);
uint8_t rtc_read(struct rtc *rtc, int64_t now);
void rtc_write(struct rtc *rtc, uint8_t value, int64_t now);
void rtc_tick(struct rtc *rtc, int64_t now);
/* See state.h. */
uint32_t rtc_save(struct rtc *rtc, void *to, uint32_t size);
bool rtc_load(struct rtc *rtc, const void *from, uint32_t size);

/* Seconds since 1970 in UTC as a date, and back; out-of-range fields of a date are carried over. Pure. */
void rtc_civil(int64_t seconds, struct tm *tm);
int64_t rtc_seconds(const struct tm *tm);
