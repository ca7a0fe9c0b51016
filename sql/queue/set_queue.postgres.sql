-- @function set_queue(queue text, paused boolean = null, lease interval = null, max_attempts integer = null, retry jsonb = null, retention interval = null, key_retention interval = null) -> queue text, paused boolean, lease interval, max_attempts integer, retry jsonb, retention interval, key_retention interval
--
-- Sets what a queue does, and answers with all of its settings. Whatever is null stays as it is, or gets its default when the
-- queue has no settings yet. A queue needs no settings to be used.
--
-- queue: its name, 1 to 200 bytes
-- paused: nothing of a paused queue is claimed (false)
-- lease: how long a claimed task is its worker's before another may take it (30 s; more than 0, at most 10 years)
-- max_attempts: how often a task is tried before it becomes a dead letter (3; 1 to 1,000,000); a task takes it when it is enqueued
-- retry: the retry policy, an object with strategy (fixed, linear or exponential), initial and max (seconds) and jitter (a share
--     from 0 to 1); keys that are left out are exponential, 1, 60 and 0.25
-- retention: how long finished tasks are kept in history (0: deleted at once)
-- key_retention: how long a key stays taken after its task was completed (0: it is free at once)
-- Returns: the settings after the change
-- Errors: invalid_name, invalid_argument
-- Writes: cloaca_queue
create function cloaca.set_queue(queue text, paused boolean default null, lease interval default null,
    max_attempts integer default null, retry jsonb default null, retention interval default null,
    key_retention interval default null) returns setof cloaca.queue_info
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    unit constant interval := interval '1 microsecond';
begin
    perform cloaca.check_name(set_queue.queue, 'queue name');
    lease := cloaca.microseconds(set_queue.lease, 'lease', true) * unit;
    perform cloaca.check_attempts(set_queue.max_attempts);
    perform cloaca.check_retry(set_queue.retry);
    retention := cloaca.microseconds(set_queue.retention, 'retention') * unit;
    key_retention := cloaca.microseconds(set_queue.key_retention, 'key_retention') * unit;

    return query execute format($query$
        insert into %1$I.cloaca_queue as q (queue, paused, lease, max_attempts, retry, retention, key_retention, created_at)
        select d.queue, coalesce($2, d.paused), coalesce($3, d.lease), coalesce($4, d.max_attempts), coalesce($5, d.retry),
            coalesce($6, d.retention), coalesce($7, d.key_retention), $8
        from cloaca.queue_settings(%1$L, $1) d
        on conflict (queue) do update set paused = coalesce($2, q.paused), lease = coalesce($3, q.lease),
            max_attempts = coalesce($4, q.max_attempts), retry = coalesce($5, q.retry),
            retention = coalesce($6, q.retention), key_retention = coalesce($7, q.key_retention)
        returning q.queue, q.paused, q.lease, q.max_attempts, q.retry, q.retention, q.key_retention
        $query$, tenant)
        using set_queue.queue, set_queue.paused, set_queue.lease, set_queue.max_attempts, set_queue.retry,
            set_queue.retention, set_queue.key_retention, cloaca.now();
    if not set_queue.paused then
        perform cloaca.note_resumed(tenant, set_queue.queue);
    end if;
end
$$;
