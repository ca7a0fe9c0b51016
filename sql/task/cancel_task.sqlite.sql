-- @function cancel_task(task bigint) -> state text
--
-- A task without a running lease leaves at once.

-- @raise unknown_task
select 'Task ' || coalesce(:task, 'null') || ' is not live.' as detail
where not exists (select 1 from main.cloaca_task where id = :task);

insert into main.cloaca_task_history (task, queue, finished_at, state, priority, run_at, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, name, worker, key, payload, errors)
select t.id, t.queue, :now, 'cancelled', t.priority, t.run_at, t.attempt, t.max_attempts, t.lease_id, t.claimed_at,
    t.enqueued_at, t.execution, t.name, t.worker, t.key, t.payload, t.errors
from main.cloaca_task t join main.cloaca_queue q on q.queue = t.queue and q.retention > 0
where t.id = :task and coalesce(t.lease_until, :now) <= :now;

insert into main.cloaca_ended (task, state, attempt, worker, claimed_at, steps)
select id, 'cancelled', attempt, worker, claimed_at, steps from main.cloaca_task where id = :task and coalesce(lease_until, :now) <= :now and execution is not null;

delete from main.cloaca_task where id = :task and coalesce(lease_until, :now) <= :now;

-- @include workflow/end_tasks

update main.cloaca_task set cancelled = 1 where id = :task;

select case when exists (select 1 from main.cloaca_task where id = :task) then 'cancelling' else 'cancelled' end as state;
