-- @function fail(task bigint, lease_id bigint, error text, final boolean = false, retry_in interval = null) -> state text, run_at timestamptz
--
-- The task becomes a dead letter, or it is given back with a delay. The policy is the task's, then the queue's, then the
-- default.

-- @raise invalid_argument
select detail from (select case
    when :error is null then 'The error must not be null.'
    when :retry_in not between 0 and 315576000000000 then 'The retry_in must be from 0 to 10 years.'
    end as detail)
where detail is not null;

-- @raise cancelled
select 'Task ' || :task || ' was cancelled while it ran.' as detail, 'Release the task to acknowledge it.' as hint
from main.cloaca_task where id = :task and lease_id = :lease_id and cancelled;

-- @raise lease_lost
select 'Task ' || coalesce(:task, 'null') || ' is not held under this lease.' as detail,
    'Its lease expired, another worker holds it, or it is finished.' as hint
where not exists (select 1 from main.cloaca_task where id = :task and lease_id = :lease_id);

-- @if
select 1 from main.cloaca_task
where id = :task and (:final or attempt >= max_attempts or not cloaca_retries(:error, json_patch(
    coalesce((select q.retry from main.cloaca_queue q where q.queue = cloaca_task.queue), '{}'), coalesce(retry, '{}')) -> '$.condition'));

insert into main.cloaca_dead_letter (task, queue, failed_at, priority, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, deadline, timeout, name, worker, key, payload, retry, error, errors, steps)
select id, queue, :now, priority, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, deadline, timeout, name, worker, key, payload, retry, substr(:error, 1, 10000), json_insert(
        case when json_array_length(errors) >= 100 then json_remove(errors, '$[0]') else coalesce(errors, '[]') end,
        '$[#]', json_object('attempt', attempt, 'worker', worker, 'error', substr(:error, 1, 10000), 'at',
            strftime('%Y-%m-%dT%H:%M:%S', :now / 1000000, 'unixepoch') || printf('.%06dZ', :now % 1000000))), steps
from main.cloaca_task
where id = :task;

insert into main.cloaca_ended (task, state, error, attempt, worker, claimed_at, steps)
select id, 'failed', substr(:error, 1, 10000), attempt, worker, claimed_at, steps
from main.cloaca_task where id = :task and execution is not null;

delete from main.cloaca_task where id = :task;

-- @include workflow/end_tasks
-- @end

update main.cloaca_task set lease_id = null, lease_until = null, worker = null,
    errors = json_insert(
        case when json_array_length(errors) >= 100 then json_remove(errors, '$[0]') else coalesce(errors, '[]') end,
        '$[#]', json_object('attempt', attempt, 'worker', worker, 'error', substr(:error, 1, 10000), 'at',
            strftime('%Y-%m-%dT%H:%M:%S', :now / 1000000, 'unixepoch') || printf('.%06dZ', :now % 1000000))),
    run_at = :now + coalesce(:retry_in, (
        select cast(round(min(min(base, most) * (1 + jitter * (2 * :random - 1)), most) * 1000000) as integer)
        from (
            select case coalesce(policy ->> 'strategy', 'exponential')
                when 'fixed' then initial
                when 'linear' then initial * attempt
                else initial * (1 << min(attempt - 1, 40))
                end as base, most, jitter
            from (
                select policy, cast(coalesce(policy ->> 'initial', 1) as real) as initial,
                    cast(coalesce(policy ->> 'max', 60) as real) as most,
                    cast(coalesce(policy ->> 'jitter', 0.25) as real) as jitter
                from (
                    select json_patch(coalesce((select q.retry from main.cloaca_queue q where q.queue = cloaca_task.queue), '{}'),
                        coalesce(retry, '{}')) as policy)))))
where id = :task;

-- @if
select 1 from main.cloaca_task where id = :task and execution is not null;

insert into main.cloaca_execution_event (execution, task, at, attempt, state, worker, detail)
select execution, id, :now, attempt, 'retrying', errors ->> '$[#-1].worker', substr(:error, 1, 10000)
from main.cloaca_task where id = :task;

-- @include workflow/hold_task
-- @end

select case when t.id is null then 'dead' when t.run_at > :now then 'scheduled' else 'ready' end as state, t.run_at
from (select :task as id) asked left join main.cloaca_task t on t.id = asked.id;
