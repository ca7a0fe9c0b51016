-- @function extend_many(tasks bigint[], lease_ids bigint[], lease interval = null) -> task bigint, outcome text, lease_until timestamptz
--
-- The scratch table carries the outcomes past the statements that act on them.

-- @raise invalid_argument
select detail from (select case
    when :tasks is null or :lease_ids is null or json_array_length(:tasks) <> json_array_length(:lease_ids)
        then 'The tasks and lease_ids must be arrays of the same length.'
    when :lease not between 1 and 315576000000000 then 'The lease must be more than 0 and at most 10 years.'
    end as detail)
where detail is not null;

delete from main.cloaca_scratch;

insert into main.cloaca_scratch (n, task, lease_id, outcome)
with task as materialized (select key as n, value as id from json_each(:tasks)),
lease as materialized (select key as n, value as id from json_each(:lease_ids))
select task.n, task.id, lease.id, case
    when t.cancelled then 'cancelled'
    when t.id is null or t.claimed_at + t.timeout <= :now or t.deadline <= :now then 'lease_lost'
    else 'extended' end
from task join lease on lease.n = task.n left join main.cloaca_task t on t.id = task.id and t.lease_id = lease.id;

update main.cloaca_task set lease_until = min(:now
        + coalesce(:lease, (select q.lease from main.cloaca_queue q where q.queue = cloaca_task.queue), 30000000),
    coalesce(claimed_at + timeout, 9223372036854775807), coalesce(deadline, 9223372036854775807))
where id in (select task from main.cloaca_scratch where outcome = 'extended');

insert into main.cloaca_task_history (task, queue, finished_at, state, priority, run_at, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, name, worker, key, payload, errors)
select t.id, t.queue, :now, 'cancelled', t.priority, t.run_at, t.attempt, t.max_attempts, t.lease_id, t.claimed_at,
    t.enqueued_at, t.execution, t.name, t.worker, t.key, t.payload, t.errors
from main.cloaca_task t join main.cloaca_queue q on q.queue = t.queue and q.retention > 0
where t.id in (select task from main.cloaca_scratch where outcome = 'cancelled');

insert into main.cloaca_ended (task, state, attempt, worker, claimed_at, steps)
select t.id, 'cancelled', t.attempt, t.worker, t.claimed_at, t.steps
from main.cloaca_scratch s join main.cloaca_task t on t.id = s.task
where s.outcome = 'cancelled' and t.execution is not null
on conflict (task) do nothing;

delete from main.cloaca_task where id in (select task from main.cloaca_scratch where outcome = 'cancelled');

-- @include workflow/end_tasks

select s.task, s.outcome, t.lease_until
from main.cloaca_scratch s left join main.cloaca_task t on t.id = s.task and s.outcome = 'extended'
order by s.n;
