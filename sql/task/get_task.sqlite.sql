-- @function get_task(task bigint) -> task bigint, queue text, name text, state text, payload jsonb, priority smallint, run_at timestamptz, attempt integer, max_attempts integer, key text, worker text, lease_until timestamptz, execution bigint, result jsonb, error text, errors jsonb, enqueued_at timestamptz, claimed_at timestamptz, finished_at timestamptz
--
-- A task is live, in history or a dead letter.

-- @raise unknown_task
select 'Task ' || coalesce(:task, 'null') || ' does not exist.' as detail
where not exists (select 1 from main.cloaca_task where id = :task)
    and not exists (select 1 from main.cloaca_task_history where task = :task)
    and not exists (select 1 from main.cloaca_dead_letter where task = :task);

select task, queue, name, state, payload, priority, run_at, attempt, max_attempts, key, worker, lease_until, execution, result,
    error, errors, enqueued_at, claimed_at, finished_at
from (
    select id as task, queue, name, case
        when cancelled then 'cancelling'
        when lease_until > :now or (lease_id is not null and attempt >= max_attempts) then 'running'
        when run_at > :now then 'scheduled'
        else 'ready' end as state,
        payload, priority, run_at, attempt, max_attempts, key, worker, lease_until, execution, null as result,
        errors ->> '$[#-1].error' as error, errors, enqueued_at, claimed_at, null as finished_at
    from main.cloaca_task where id = :task
    union all
    select task, queue, name, state, payload, priority, run_at, attempt, max_attempts, key, worker,
        null as lease_until, execution, result, errors ->> '$[#-1].error' as error, errors, enqueued_at, claimed_at, finished_at
    from main.cloaca_task_history where task = :task
    union all
    select task, queue, name, 'dead' as state, payload, priority, null as run_at, attempt, max_attempts, key, worker,
        null as lease_until, execution, null as result, error, errors, enqueued_at, claimed_at, failed_at as finished_at
    from main.cloaca_dead_letter where task = :task
)
order by task;
