/*
 * merge.h - documents merged from left to right, as the context of a workflow's task is
 *
 * Objects are merged deeply; arrays one after the other, an element of a later one only if it is not there yet; of anything
 * else the later one counts. Pure: no process, no lock, no global.
 */
#ifndef CLO_MERGE_H
#define CLO_MERGE_H

#include "common/json.h"

typedef struct clo_merge clo_merge;

/* NULL when memory runs out. */
clo_merge *clo_merge_new(void);
/* Adds a canonical document, of which a copy is kept. False when memory ran out. */
bool clo_merge_add(clo_merge *merge, const char *document, size_t length);
bool clo_merge_empty(const clo_merge *merge);
/* Appends what all of them are together, in canonical form; there must be one. */
void clo_merge_write(const clo_merge *merge, clo_buffer *out);
void clo_merge_free(clo_merge *merge);

#endif
