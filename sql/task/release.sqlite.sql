-- @function release(task bigint, lease_id bigint) -> void
--
-- A task that was cancelled leaves.

-- @raise lease_lost
select case when t.id is null then 'Task ' || coalesce(:task, 'null') || ' is not held under this lease.'
    else 'Task ' || :task || ' ran out of time.' end as detail,
    case when t.id is null then 'Its lease expired, another worker holds it, or it is finished.'
    else 'Its timeout, or that of its execution, is over.' end as hint
from (select :task as id) asked left join main.cloaca_task t on t.id = asked.id and t.lease_id = :lease_id
where t.id is null or (not t.cancelled and (t.claimed_at + t.timeout <= :now or t.deadline <= :now));

insert into main.cloaca_task_history (task, queue, finished_at, state, priority, run_at, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, name, worker, key, payload, errors)
select t.id, t.queue, :now, 'cancelled', t.priority, t.run_at, t.attempt, t.max_attempts, t.lease_id, t.claimed_at,
    t.enqueued_at, t.execution, t.name, t.worker, t.key, t.payload, t.errors
from main.cloaca_task t join main.cloaca_queue q on q.queue = t.queue and q.retention > 0
where t.id = :task and t.cancelled;

insert into main.cloaca_ended (task, state, attempt, worker, claimed_at, steps)
select id, 'cancelled', attempt, worker, claimed_at, steps from main.cloaca_task where id = :task and cancelled and execution is not null;

delete from main.cloaca_task where id = :task and cancelled;

-- @include workflow/end_tasks

insert into main.cloaca_execution_event (execution, task, at, attempt, state)
select execution, id, :now, attempt, 'released' from main.cloaca_task where id = :task and execution is not null;

update main.cloaca_task set lease_id = null, lease_until = null, worker = null, claimed_at = null, attempt = attempt - 1
where id = :task;
