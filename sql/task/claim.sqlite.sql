-- @function claim(queue text = 'default', worker text = null, max integer = 1, lease interval = null) -> task bigint, lease_id bigint, attempt integer, name text, payload jsonb, priority smallint, run_at timestamptz, lease_until timestamptz, max_attempts integer, execution bigint, timeout interval
--
-- Priorities are visited one after the other by seeks, so that tasks scheduled for later are never walked over. Tasks are
-- picked in the order of the index, priority by priority: an order by would sort the whole backlog. The lease, random and
-- never repeated, is the base plus the id, by which the last statement knows what the one before it claimed. Tasks of executions,
-- whose leases may be shorter, are found by an index of their own.

-- @raise invalid_name
select 'The ' || what || ' must have 1 to 200 bytes and no control characters.' as detail
from (select 'queue name' as what, :queue as name union all select 'worker name', coalesce(:worker, '-'))
where name is null or length(cast(name as blob)) not between 1 and 200 or name glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*'
limit 1;

-- @raise invalid_argument
select detail from (select case
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    when :lease not between 1 and 315576000000000 then 'The lease must be more than 0 and at most 10 years.'
    end as detail)
where detail is not null;

with recursive level (priority) as (
    select min(priority) from main.cloaca_task where queue = :queue
    union all
    select (select min(t.priority) from main.cloaca_task t where t.queue = :queue and t.priority > level.priority)
    from level where priority is not null
    order by 1
)
update main.cloaca_task set lease_id = :lease_base + id,
    lease_until = min(:now + coalesce(:lease, (select lease from main.cloaca_queue where queue = :queue), 30000000),
        coalesce(:now + timeout, 9223372036854775807), coalesce(deadline, 9223372036854775807)),
    claimed_at = :now, attempt = attempt + 1, worker = :worker,
    errors = case when lease_id is null then errors else json_insert(
        case when json_array_length(errors) >= 100 then json_remove(errors, '$[0]') else coalesce(errors, '[]') end,
        '$[#]', json_object('attempt', attempt, 'worker', worker, 'error',
            case when lease_until >= claimed_at + timeout or lease_until >= deadline then 'timed out' else 'lease expired' end, 'at',
            strftime('%Y-%m-%dT%H:%M:%S', :now / 1000000, 'unixepoch') || printf('.%06dZ', :now % 1000000))) end
where id in (
    select t.id from level cross join main.cloaca_task t indexed by cloaca_task_claim
    where t.queue = :queue and t.priority = level.priority and t.run_at <= :now and not t.cancelled
        and (t.lease_id is null or (t.lease_until <= :now and t.attempt < t.max_attempts))
        and (t.deadline is null or t.deadline > :now)
        and not exists (select 1 from main.cloaca_queue where queue = :queue and paused)
    limit :max);

-- The first claim of an execution has it run.
-- @if
select 1 from main.cloaca_task where execution is not null and claimed_at = :now and lease_id = :lease_base + id limit 1;

insert into main.cloaca_execution_event (execution, task, at, attempt, state, worker)
with claimed (execution, task, attempt) as materialized (
    select execution, id, attempt from main.cloaca_task
    where execution is not null and claimed_at = :now and lease_id = :lease_base + id
)
select execution, task, :now, attempt, 'running', case when task is not null then :worker end
from (
    select distinct e.id as execution, null as task, null as attempt
    from claimed c cross join main.cloaca_execution e on e.id = c.execution where e.state = 'pending'
    union all
    select execution, task, attempt from claimed)
order by execution, task;

update main.cloaca_execution set state = 'running', started_at = :now
where state = 'pending' and id in (
    select execution from main.cloaca_task where execution is not null and claimed_at = :now and lease_id = :lease_base + id);
-- @end

select id as task, lease_id, attempt, name, payload, priority, run_at, lease_until, max_attempts, execution, timeout
from main.cloaca_task indexed by cloaca_task_lease
where queue = :queue and lease_until = :now + coalesce(:lease, (select lease from main.cloaca_queue where queue = :queue), 30000000)
    and lease_id = :lease_base + id and execution is null
union all
select id, lease_id, attempt, name, payload, priority, run_at, lease_until, max_attempts, execution, timeout
from main.cloaca_task indexed by cloaca_task_claimed
where execution is not null and claimed_at = :now and lease_id = :lease_base + id
order by priority, run_at, task;
