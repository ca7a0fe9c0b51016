/*
 * shared_memory.c - the library's shared memory: one area, the cursors first, the sleepers behind them, then when maintenance
 * is due
 *
 * It exists only with shared_preload_libraries = 'cloaca': asked for in the postmaster, mapped once a process, made anew after
 * a crash of the server. Its size is fixed. There are two lightweight locks, that of the sleepers and that of the times of
 * maintenance; cursors have spinlocks of their own.
 */
#include "extension.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "worker.h"

static shmem_startup_hook_type next_startup_hook;
#if PG_VERSION_NUM >= 150000
static shmem_request_hook_type next_request_hook;
#endif

static void request(void);
static void find(void);
static Size area_size(void);

void cloaca_request_shared_memory(void)
{
    if (!process_shared_preload_libraries_in_progress)
        return;
#if PG_VERSION_NUM >= 150000
    next_request_hook = shmem_request_hook;
    shmem_request_hook = request;
#else
    request();
#endif
    next_startup_hook = shmem_startup_hook;
    shmem_startup_hook = find;
}

static void request(void)
{
#if PG_VERSION_NUM >= 150000
    if (next_request_hook)
        next_request_hook();
#endif
    RequestAddinShmemSpace(area_size());
    RequestNamedLWLockTranche("cloaca", 2);
}

static void find(void)
{
    char *area;
    bool found;

    if (next_startup_hook)
        next_startup_hook();
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    area = ShmemInitStruct("cloaca", area_size(), &found);
    cloaca_cursor_attach(area, found);
    area += MAXALIGN(cloaca_cursor_size());
    cloaca_wait_attach(area, found);
    area += MAXALIGN(cloaca_wait_size());
    cloaca_due_attach(area, found);
    LWLockRelease(AddinShmemInitLock);
}

static Size area_size(void)
{
    return MAXALIGN(cloaca_cursor_size()) + MAXALIGN(cloaca_wait_size()) + MAXALIGN(cloaca_due_size());
}
