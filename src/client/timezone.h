/*
 * timezone.h - time zones of the IANA database, for SQLite, which has none. Private.
 *
 * They come from GLib, which is loaded when a zone other than UTC is first used. An object belongs to one connection; GLib
 * itself allows threads.
 */
#ifndef CLO_TIMEZONE_H
#define CLO_TIMEZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct clo_zones clo_zones;

typedef enum clo_zone_state { CLO_ZONE_FOUND, CLO_ZONE_UNKNOWN, CLO_ZONE_NO_LIBRARY } clo_zone_state;

/* NULL when memory ran out. */
clo_zones *clo_zones_new(void);
void clo_zones_free(clo_zones *zones);

/* Makes a zone the one that clo_zone_offset is about. */
clo_zone_state clo_zones_use(clo_zones *zones, const char *name, size_t length);

/* How far its clocks are ahead of UTC at a time (seconds since 1970-01-01), in seconds. A clo_offset of common/cron.h. */
int32_t clo_zone_offset(void *zones, int64_t at);

#endif
