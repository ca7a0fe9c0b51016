/*
 * timezone.c - time zones of the IANA database, for SQLite, which has none
 *
 * GLib reads the system's zone files. It is not linked but loaded, by the first use of a zone other than UTC, so that nobody
 * needs it who has no such schedule. Where it is missing UTC works, and other zones are not supported.
 */
#include "timezone.h"

#include "common/cron.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libglib-2.0.so.0"

/* The longest name, in bytes. */
#define NAME_SIZE 200

/* G_TIME_TYPE_UNIVERSAL: the time that is asked about is in UTC. */
#define UNIVERSAL 2

struct clo_zones {
    void *library;
    void *(*new_identifier)(const char *identifier);
    int (*find_interval)(void *zone, int type, int64_t time);
    int32_t (*get_offset)(void *zone, int interval);
    void (*unref)(void *zone);
    void *zone; /* NULL: UTC */
    char name[NAME_SIZE + 2];
};

static bool load(clo_zones *self);
static bool find(void *library, const char *name, void *function);

clo_zones *clo_zones_new(void)
{
    return calloc(1, sizeof(clo_zones));
}

void clo_zones_free(clo_zones *self)
{
    if (self == NULL) {
        return;
    }
    if (self->zone != NULL) {
        self->unref(self->zone);
    }
    if (self->library != NULL) {
        dlclose(self->library);
    }
    free(self);
}

clo_zone_state clo_zones_use(clo_zones *self, const char *name, size_t length)
{
    char identifier[NAME_SIZE + 2];
    void *zone = NULL;

    if (length > NAME_SIZE || !clo_zone_is_name(name, length)) {
        return CLO_ZONE_UNKNOWN;
    }
    /* With the colon it is a file's name, and nothing else. */
    snprintf(identifier, sizeof(identifier), ":%.*s", (int) length, name);
    if (strcmp(identifier, self->name) == 0) {
        return CLO_ZONE_FOUND;
    }
    if (strcmp(identifier, ":UTC") != 0 && strcmp(identifier, ":Etc/UTC") != 0) {
        if (!load(self)) {
            return CLO_ZONE_NO_LIBRARY;
        }
        zone = self->new_identifier(identifier);
        if (zone == NULL) {
            return CLO_ZONE_UNKNOWN;
        }
    }
    if (self->zone != NULL) {
        self->unref(self->zone);
    }
    self->zone = zone;
    memcpy(self->name, identifier, sizeof(identifier));
    return CLO_ZONE_FOUND;
}

int32_t clo_zone_offset(void *zones, int64_t at)
{
    const clo_zones *self = zones;
    int interval;

    if (self->zone == NULL) {
        return 0;
    }
    interval = self->find_interval(self->zone, UNIVERSAL, at);
    return interval >= 0 ? self->get_offset(self->zone, interval) : 0;
}

static bool load(clo_zones *self)
{
    void *library;

    if (self->library != NULL) {
        return true;
    }
    library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return false;
    }
    /* g_time_zone_new_identifier came with GLib 2.68. */
    if (!find(library, "g_time_zone_new_identifier", &self->new_identifier) ||
        !find(library, "g_time_zone_find_interval", &self->find_interval) ||
        !find(library, "g_time_zone_get_offset", &self->get_offset) || !find(library, "g_time_zone_unref", &self->unref)) {
        dlclose(library);
        return false;
    }
    self->library = library;
    return true;
}

/* C has no cast from a pointer to data to one to a function; POSIX promises that their bytes are the same. */
static bool find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);

    memcpy(function, &symbol, sizeof(symbol));
    return symbol != NULL;
}
