/* Status, statistics and events as JSON. Pure but for reading the counters. */
#pragma once

#include <json-c/json.h>

#include "base/stats.h"
#include "base/status.h"

json_object *report_status(const struct status *status);
json_object *report_stats(const struct stats *stats);
/* {count,p50,p95,p99,max,buckets} */
json_object *report_histogram(const struct histogram *histogram);
void report_stats_reset(struct stats *stats);
/* Calls send(data, event) for each difference that subscribers hear of; the callee owns the event. */
void report_events(const struct status *old, const struct status *now, void (*send)(void *data, json_object *event), void *data);
