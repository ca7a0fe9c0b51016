-- @function run_maintenance(max integer = 1000) -> expired bigint, dead bigint, cancelled bigint, trimmed bigint, keys bigint, fired bigint, timed_out bigint, removed bigint
--
-- The scratch table holds what was found, for the statements that act on it and for the answer.

-- @raise invalid_argument
select detail from (select case
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

delete from main.cloaca_scratch;

with recursive name (queue) as (
    select min(queue) from main.cloaca_task where lease_until is not null
    union all
    select (select min(t.queue) from main.cloaca_task t where t.lease_until is not null and t.queue > name.queue)
    from name where queue is not null
)
insert into main.cloaca_scratch (task, outcome)
select t.id, case when t.cancelled then 'cancelled' when t.attempt >= t.max_attempts then 'dead' else 'expired' end
from name cross join main.cloaca_task t indexed by cloaca_task_lease on t.queue = name.queue and t.lease_until <= :now
order by t.id limit :max;

insert into main.cloaca_task_history (task, queue, finished_at, state, priority, run_at, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, name, worker, key, payload, errors)
select t.id, t.queue, :now, 'cancelled', t.priority, t.run_at, t.attempt, t.max_attempts, t.lease_id, t.claimed_at,
    t.enqueued_at, t.execution, t.name, t.worker, t.key, t.payload, t.errors
from main.cloaca_task t join main.cloaca_queue q on q.queue = t.queue and q.retention > 0
where t.id in (select task from main.cloaca_scratch where outcome = 'cancelled');

insert into main.cloaca_dead_letter (task, queue, failed_at, priority, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, deadline, timeout, name, worker, key, payload, retry, error, errors, steps)
select id, queue, :now, priority, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, deadline, timeout, name, worker, key, payload, retry,
    case when lease_until >= claimed_at + timeout or lease_until >= deadline then 'timed out' else 'lease expired' end, json_insert(
        case when json_array_length(errors) >= 100 then json_remove(errors, '$[0]') else coalesce(errors, '[]') end,
        '$[#]', json_object('attempt', attempt, 'worker', worker, 'error',
            case when lease_until >= claimed_at + timeout or lease_until >= deadline then 'timed out' else 'lease expired' end, 'at',
            strftime('%Y-%m-%dT%H:%M:%S', :now / 1000000, 'unixepoch') || printf('.%06dZ', :now % 1000000))), steps
from main.cloaca_task
where id in (select task from main.cloaca_scratch where outcome = 'dead')
order by id;

insert into main.cloaca_ended (task, state, error, attempt, worker, claimed_at, steps)
select t.id, case s.outcome when 'dead' then 'failed' else 'cancelled' end,
    case s.outcome when 'dead' then (select d.error from main.cloaca_dead_letter d where d.task = t.id) end,
    t.attempt, t.worker, t.claimed_at, t.steps
from main.cloaca_scratch s cross join main.cloaca_task t on t.id = s.task
where s.outcome <> 'expired' and t.execution is not null;

delete from main.cloaca_task where id in (select task from main.cloaca_scratch where outcome <> 'expired');

-- @include workflow/end_tasks

insert into main.cloaca_execution_event (execution, task, at, attempt, state, worker, detail)
select execution, id, :now, attempt, 'retrying', worker,
    case when lease_until >= claimed_at + timeout or lease_until >= deadline then 'timed out' else 'lease expired' end
from main.cloaca_task
where id in (select task from main.cloaca_scratch where outcome = 'expired') and execution is not null
order by id;

update main.cloaca_task set lease_id = null, lease_until = null, worker = null,
    errors = json_insert(
        case when json_array_length(errors) >= 100 then json_remove(errors, '$[0]') else coalesce(errors, '[]') end,
        '$[#]', json_object('attempt', attempt, 'worker', worker, 'error',
            case when lease_until >= claimed_at + timeout or lease_until >= deadline then 'timed out' else 'lease expired' end, 'at',
            strftime('%Y-%m-%dT%H:%M:%S', :now / 1000000, 'unixepoch') || printf('.%06dZ', :now % 1000000)))
where id in (select task from main.cloaca_scratch where outcome = 'expired');

with recursive name (queue) as (
    select min(queue) from main.cloaca_task_history
    union all
    select (select min(h.queue) from main.cloaca_task_history h where h.queue > name.queue) from name where queue is not null
)
insert into main.cloaca_scratch (task, outcome)
select h.task, 'trimmed'
from name left join main.cloaca_queue q on q.queue = name.queue
    cross join main.cloaca_task_history h on h.queue = name.queue and h.finished_at <= :now - coalesce(q.retention, 0)
limit :max;

delete from main.cloaca_task_history where task in (select task from main.cloaca_scratch where outcome = 'trimmed');

delete from main.cloaca_finished_key where (queue, key) in (
    select queue, key from main.cloaca_finished_key where until <= :now order by until limit :max);

insert into main.cloaca_scratch (task, outcome) values (changes(), 'keys');

-- @include schedule/fire_due

insert into main.cloaca_closing (execution, state, error)
select id, 'failed', 'timed out' from main.cloaca_execution
where deadline <= :now and finished_at is null
order by deadline limit :max;

insert into main.cloaca_scratch (task, outcome) select execution, 'late' from main.cloaca_closing;

-- @include workflow/close_executions

insert into main.cloaca_scratch (task, outcome)
select id, 'removed' from main.cloaca_execution where expires_at <= :now order by expires_at limit max(:max / 100, 1);

-- @if
select 1 from main.cloaca_scratch where outcome = 'removed' limit 1;

delete from main.cloaca_execution_task where execution in (select task from main.cloaca_scratch where outcome = 'removed');

delete from main.cloaca_execution_event where execution in (select task from main.cloaca_scratch where outcome = 'removed');

delete from main.cloaca_pending_signal where execution in (select task from main.cloaca_scratch where outcome = 'removed');

delete from main.cloaca_execution where id in (select task from main.cloaca_scratch where outcome = 'removed');
-- @end

with recursive level (queue, priority) as (
    select queue, priority from main.cloaca_task
    where id = (select id from main.cloaca_task order by queue, priority, run_at, id limit 1)
    union all
    select t.queue, t.priority from level cross join main.cloaca_task t
    where t.id = coalesce(
        (select n.id from main.cloaca_task n where n.queue = level.queue and n.priority > level.priority
         order by n.priority, n.run_at, n.id limit 1),
        (select n.id from main.cloaca_task n where n.queue > level.queue order by n.queue, n.priority, n.run_at, n.id limit 1))
), dead (queue) as (
    select min(queue) from main.cloaca_dead_letter
    union all
    select (select min(d.queue) from main.cloaca_dead_letter d where d.queue > dead.queue) from dead where queue is not null
), name (queue) as (
    select queue from level union select queue from dead where queue is not null
)
insert into main.cloaca_scratch (queue)
select queue from name
where (select count(*) from (
        select 1 from level l cross join main.cloaca_task d
        where l.queue = name.queue and d.queue = l.queue and d.priority = l.priority and d.run_at <= :now limit 10001)) > 10000
    or (select count(*) from (
        select 1 from level l cross join main.cloaca_task d
        where l.queue = name.queue and d.queue = l.queue and d.priority = l.priority and d.run_at > :now limit 10001)) > 10000
    or (select count(*) from (
        select 1 from main.cloaca_dead_letter d where d.queue = name.queue and d.status = 'failed' limit 10001)) > 10000;

delete from main.cloaca_queue_estimate where queue not in (select queue from main.cloaca_scratch where queue is not null);

insert into main.cloaca_queue_estimate (queue, ready, scheduled, running, dead, counted_at)
select queue, live - scheduled - running, scheduled, running, dead, :now
from (
    select s.queue, (select count(*) from main.cloaca_task t where t.queue = s.queue) as live,
        (select count(*) from main.cloaca_task t where t.queue = s.queue and t.run_at > :now) as scheduled,
        (select count(*) from main.cloaca_task t indexed by cloaca_task_lease
         where t.queue = s.queue and t.lease_until is not null and t.run_at <= :now
            and (t.cancelled or t.lease_until > :now or t.attempt >= t.max_attempts)) as running,
        (select count(*) from main.cloaca_dead_letter d where d.queue = s.queue and d.status = 'failed') as dead
    from main.cloaca_scratch s
    where s.queue is not null
        and not exists (select 1 from main.cloaca_queue_estimate e where e.queue = s.queue and e.counted_at > :now - 60000000))
where true
on conflict (queue) do update set ready = excluded.ready, scheduled = excluded.scheduled, running = excluded.running,
    dead = excluded.dead, counted_at = excluded.counted_at;

select count(*) filter (where outcome = 'expired') as expired, count(*) filter (where outcome = 'dead') as dead,
    count(*) filter (where outcome = 'cancelled') as cancelled, count(*) filter (where outcome = 'trimmed') as trimmed,
    sum(task) filter (where outcome = 'keys') as keys, coalesce(sum(task) filter (where outcome = 'fired'), 0) as fired,
    count(*) filter (where outcome = 'late') as timed_out, count(*) filter (where outcome = 'removed') as removed
from main.cloaca_scratch;
