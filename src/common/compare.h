/*
 * compare.h - what canonical documents (json.h) have in common: equality, order, members
 *
 * Numbers count by their value, exactly, so that 1 and 1.0 are equal, and so are the documents that they stand in. Pure: no
 * process, no lock, no global.
 */
#ifndef CLO_COMPARE_H
#define CLO_COMPARE_H

#include "common/json.h"

bool clo_json_equal(clo_span one, clo_span other);
/* Equal documents have equal hashes. */
uint64_t clo_json_hash(clo_span document);

/* Two numbers by their value, two texts by their bytes. False when they are anything else. */
bool clo_json_compare(clo_span one, clo_span other, int *order);

/* Whether a text has another in it, an array an element, an object a key. False when memory ran out, too. */
bool clo_json_contains(clo_span whole, clo_span part);

/* The value of an object's key, which is a string with its quotes; no text when the object does not have it, or is none. */
clo_span clo_json_member(clo_span object, clo_span key);

#endif
