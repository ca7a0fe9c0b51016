/*
 * definition.h - what is wrong with the definition of a workflow, or with a retry policy
 *
 * The same checks as PostgreSQL's cloaca.check_definition, in the same order and with the same sentences. Pure: no process, no
 * lock, no global.
 */
#ifndef CLO_DEFINITION_H
#define CLO_DEFINITION_H

#include "common/json.h"

/* Writes a sentence that names the first thing that is wrong with a definition, in canonical form; nothing when all is right.
 */
void clo_definition_problem(clo_span definition, clo_buffer *problem);

/* Writes, for each task of a definition that is right, the numbers (from 1) of those that it depends on, in its order, and of
 * those that depend on it, and how many tasks the longest way to it has, as a JSON array of objects with `dependencies`,
 * `dependents` and `rank`. */
void clo_definition_edges(clo_span definition, clo_buffer *out);

/* Whether a document in canonical form is a retry policy. */
bool clo_is_retry(clo_span retry);

#endif
