-- @function claim(queue text = 'default', worker text = null, max integer = 1, lease interval = null) -> task bigint, lease_id bigint, attempt integer, name text, payload jsonb, priority smallint, run_at timestamptz, lease_until timestamptz, max_attempts integer, execution bigint, timeout interval
--
-- Takes up to max tasks of a queue for a worker, each under a lease that is the worker's alone. In order of priority, run_at and
-- id. Never waits for another claimer, and in READ COMMITTED never raises because of one; stricter levels may raise a
-- serialization failure. A task whose lease expired is taken over, and its history of attempts says so.
--
-- queue: the queue
-- worker: who claims, 1 to 200 bytes, for people to read; may be null
-- max: how many at most, 1 to 10,000
-- lease: how long the tasks are this worker's, more than 0, at most 10 years; null for the queue's
-- Returns: a row for each claimed task, in order; none when there is nothing to do or the queue is paused. task and lease_id
--     together are what complete, fail, extend, release and defer_until ask for; timeout is the longest time of this attempt where
--     the task has one of its own, beyond which no lease goes
-- Errors: invalid_name, invalid_argument
-- Writes: cloaca_task
create function cloaca.claim(queue text default 'default', worker text default null, max integer default 1,
    lease interval default null)
returns setof cloaca.claimed_task
language c volatile
as 'MODULE_PATHNAME', 'cloaca_claim';
