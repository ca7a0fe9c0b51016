-- @function list_tasks(queue text = null, state text = null, name text = null, after bigint = null, max integer = 100) -> task bigint, queue text, name text, state text, payload jsonb, priority smallint, run_at timestamptz, attempt integer, max_attempts integer, key text, worker text, lease_until timestamptz, execution bigint, result jsonb, error text, errors jsonb, enqueued_at timestamptz, claimed_at timestamptz, finished_at timestamptz
--
-- Tasks by id: live, finished (while history keeps them) and dead. For paging, pass the last id of a page as `after`.
--
-- queue: of this queue alone; null for all
-- state: in this state alone; null for all. scheduled (for later), ready (claimable), running (under a lease), cancelling
--     (cancelled while it runs), completed, cancelled, dead
-- name: of this name alone; null for all
-- after: with a larger id than this
-- max: how many at most, 1 to 10,000
-- Returns: a row for each task, ordered by id; errors is the history of failed attempts, error the last of them
-- Errors: invalid_argument
-- Writes: nothing
create function cloaca.list_tasks(queue text default null, state text default null, name text default null,
    after bigint default null, max integer default 100) returns setof cloaca.task_info
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if list_tasks.state not in ('scheduled', 'ready', 'running', 'cancelling', 'completed', 'cancelled', 'dead') then
        perform cloaca.raise_condition('invalid_argument',
            'The state must be one of scheduled, ready, running, cancelling, completed, cancelled, dead.');
    end if;
    perform cloaca.check_max(list_tasks.max);

    -- Every branch stops after max rows of its own primary key's order; a state belongs to one branch, which the planner sees.
    return query execute format($query$
        select * from (
            (select t.id as task, t.queue, t.name, t.state, t.payload, t.priority, t.run_at, t.attempt, t.max_attempts, t.key,
                t.worker, t.lease_until, t.execution, null::jsonb as result, t.errors -> -1 ->> 'error' as error, t.errors,
                t.enqueued_at, t.claimed_at, null::timestamptz as finished_at
            from (select l.*, case
                    when l.cancelled then 'cancelling'
                    when l.lease_until > $6 or (l.lease_id is not null and l.attempt >= l.max_attempts) then 'running'
                    when l.run_at > $6 then 'scheduled'
                    else 'ready' end as state
                  from %1$I.cloaca_task l) t
            where t.id > $4 and ($1 is null or t.queue = $1) and ($2 is null or t.state = $2) and ($3 is null or t.name = $3)
                and ($2 is null or $2 in ('scheduled', 'ready', 'running', 'cancelling'))
            order by t.id limit $5)
            union all
            (select h.task, h.queue, h.name, h.state, h.payload, h.priority, h.run_at, h.attempt, h.max_attempts, h.key,
                h.worker, null, h.execution, h.result, h.errors -> -1 ->> 'error', h.errors,
                h.enqueued_at, h.claimed_at, h.finished_at
            from %1$I.cloaca_task_history h
            where h.task > $4 and ($1 is null or h.queue = $1) and ($2 is null or h.state = $2) and ($3 is null or h.name = $3)
                and ($2 is null or $2 in ('completed', 'cancelled'))
            order by h.task limit $5)
            union all
            (select d.task, d.queue, d.name, 'dead', d.payload, d.priority, null, d.attempt, d.max_attempts, d.key,
                d.worker, null, d.execution, null, d.error, d.errors,
                d.enqueued_at, d.claimed_at, d.failed_at
            from %1$I.cloaca_dead_letter d
            where d.task > $4 and ($1 is null or d.queue = $1) and ($2 is null or $2 = 'dead') and ($3 is null or d.name = $3)
            order by d.task limit $5)
        ) found order by task limit $5
        $query$, cloaca.current_tenant()) using list_tasks.queue, list_tasks.state, list_tasks.name, coalesce(list_tasks.after, 0),
            list_tasks.max, cloaca.now();
end
$$;
