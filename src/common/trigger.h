/*
 * trigger.h - the rules by which tasks of workflows run or are skipped, and failed tasks are tried again
 *
 * Pure: no process, no lock, no global.
 */
#ifndef CLO_TRIGGER_H
#define CLO_TRIGGER_H

#include "common/json.h"

/* Whether a task runs. All are canonical: the rule (without one all dependencies must have completed), an object with the state
 * of each dependency by name, and what the task would see. */
bool clo_trigger_fires(clo_span trigger, clo_span states, clo_span context);

/* Whether a task that failed with this error is tried again, by the condition of its retry policy, which is canonical. */
bool clo_retry_matches(clo_span condition, const char *error, size_t length);

#endif
