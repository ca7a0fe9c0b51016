-- @function list_tasks(queue text = null, state text = null, name text = null, after bigint = null, max integer = 100) -> task bigint, queue text, name text, state text, payload jsonb, priority smallint, run_at timestamptz, attempt integer, max_attempts integer, key text, worker text, lease_until timestamptz, execution bigint, result jsonb, error text, errors jsonb, enqueued_at timestamptz, claimed_at timestamptz, finished_at timestamptz
--
-- Each of the three places of tasks is walked in the order of ids, up to max rows. A state that a place cannot have skips it.

-- @raise invalid_argument
select detail from (select case
    when :state not in ('scheduled', 'ready', 'running', 'cancelling', 'completed', 'cancelled', 'dead')
        then 'The state must be one of scheduled, ready, running, cancelling, completed, cancelled, dead.'
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

with live as (
    select id as task, queue, name, case
        when cancelled then 'cancelling'
        when lease_until > :now or (lease_id is not null and attempt >= max_attempts) then 'running'
        when run_at > :now then 'scheduled'
        else 'ready' end as state,
        payload, priority, run_at, attempt, max_attempts, key, worker, lease_until, execution, null as result,
        errors ->> '$[#-1].error' as error, errors, enqueued_at, claimed_at, null as finished_at
    from main.cloaca_task
), finished as (
    select task, queue, name, state, payload, priority, run_at, attempt, max_attempts, key, worker,
        null as lease_until, execution, result, errors ->> '$[#-1].error' as error, errors, enqueued_at, claimed_at, finished_at
    from main.cloaca_task_history
), dead as (
    select task, queue, name, 'dead' as state, payload, priority, null as run_at, attempt, max_attempts, key, worker,
        null as lease_until, execution, null as result, error, errors, enqueued_at, claimed_at, failed_at as finished_at
    from main.cloaca_dead_letter
)
select task, queue, name, state, payload, priority, run_at, attempt, max_attempts, key, worker, lease_until, execution, result,
    error, errors, enqueued_at, claimed_at, finished_at
from (
    select * from (
        select * from live
        where task > coalesce(:after, 0) and (:queue is null or queue = :queue) and (:name is null or name = :name)
            and (:state is null or state = :state) and coalesce(:state not in ('completed', 'cancelled', 'dead'), 1)
        order by task limit :max)
    union all
    select * from (
        select * from finished
        where task > coalesce(:after, 0) and (:queue is null or queue = :queue) and (:name is null or name = :name)
            and (:state is null or state = :state) and coalesce(:state in ('completed', 'cancelled'), 1)
        order by task limit :max)
    union all
    select * from (
        select * from dead
        where task > coalesce(:after, 0) and (:queue is null or queue = :queue) and (:name is null or name = :name)
            and coalesce(:state = 'dead', 1)
        order by task limit :max)
)
order by task limit :max;
