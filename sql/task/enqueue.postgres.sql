-- @function enqueue(name text, payload jsonb = '{}', queue text = 'default', priority integer = 0, run_at timestamptz = null, delay interval = null, key text = null, max_attempts integer = null, retry jsonb = null) -> task bigint, created boolean
--
-- Puts one task into a queue, in the caller's transaction: it becomes claimable when that commits.
--
-- name: what is to be done, 1 to 200 bytes; workers choose by it what to run
-- payload: the task's input, a JSON document of at most 64 MiB
-- queue: the queue, 1 to 200 bytes; it need not exist
-- priority: smaller runs first; -32,768 to 32,767
-- run_at: not before this time; null for at once
-- delay: not before this long from now, 0 to 10 years; instead of run_at
-- key: at most one live task of the queue has it, 1 to 500 bytes; where the queue has a key_retention it stays taken for as long
--     after the task was completed
-- max_attempts: how often it is tried, 1 to 1,000,000; null for the queue's
-- retry: its own retry policy, whose keys come before the queue's (see set_queue)
-- Returns: the task's id, and whether it was created; with a key that is taken, the id of the task that has it, and false
-- Errors: invalid_name, invalid_argument
-- Writes: cloaca_task
create function cloaca.enqueue(name text, payload jsonb default '{}', queue text default 'default', priority integer default 0,
    run_at timestamptz default null, delay interval default null, key text default null, max_attempts integer default null,
    retry jsonb default null) returns table (task bigint, created boolean)
language c volatile
as 'MODULE_PATHNAME', 'cloaca_enqueue';
