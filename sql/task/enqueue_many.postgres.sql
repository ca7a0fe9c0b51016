-- @function enqueue_many(name text, payloads jsonb[], queue text = 'default', priority integer = 0, run_at timestamptz = null, delay interval = null, keys text[] = null, max_attempts integer = null, retry jsonb = null) -> task bigint, created boolean
--
-- Puts many tasks of one name into a queue, in one statement and in the caller's transaction. All share the other arguments.
--
-- name: what is to be done, 1 to 200 bytes
-- payloads: one task for each, in this order
-- queue: the queue, 1 to 200 bytes
-- priority: smaller runs first; -32,768 to 32,767
-- run_at: not before this time; null for at once
-- delay: not before this long from now, 0 to 10 years; instead of run_at
-- keys: a key for each payload, or null for none at all; elements may be null (see enqueue)
-- max_attempts: how often each is tried, 1 to 1,000,000; null for the queue's
-- retry: their own retry policy (see set_queue)
-- Returns: a row for each payload in the order of the array: the task's id, and whether it was created
-- Errors: invalid_name, invalid_argument
-- Writes: cloaca_task
create function cloaca.enqueue_many(name text, payloads jsonb[], queue text default 'default', priority integer default 0,
    run_at timestamptz default null, delay interval default null, keys text[] default null, max_attempts integer default null,
    retry jsonb default null) returns table (task bigint, created boolean)
language c volatile
as 'MODULE_PATHNAME', 'cloaca_enqueue_many';
