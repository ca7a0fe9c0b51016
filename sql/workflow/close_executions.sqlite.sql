-- @part close_executions
--
-- Ends the executions in cloaca_closing before their tasks have: tasks that wait or are ready are cancelled, those that run are marked so
-- that their workers learn of it.

-- @if
select 1 from main.cloaca_closing limit 1;

insert into main.cloaca_execution_event (execution, task, at, state, detail)
select execution, task, :now, state, detail
from (
    select n.execution, n.task, 'cancelled' as state, null as detail
    from main.cloaca_closing c cross join main.cloaca_execution_task n on n.execution = c.execution
    where n.state in ('waiting', 'ready')
    union all
    select execution, null, state, error from main.cloaca_closing)
order by execution, task is null, task;

update main.cloaca_task set cancelled = 1
where id in (
    select n.task from main.cloaca_closing c cross join main.cloaca_execution_task n on n.execution = c.execution
    where n.state = 'ready');

insert into main.cloaca_task_history (task, queue, finished_at, state, priority, run_at, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, name, worker, key, payload, errors)
select t.id, t.queue, :now, 'cancelled', t.priority, t.run_at, t.attempt, t.max_attempts, t.lease_id, t.claimed_at,
    t.enqueued_at, t.execution, t.name, t.worker, t.key, t.payload, t.errors
from main.cloaca_closing c
    cross join main.cloaca_execution_task n on n.execution = c.execution
    cross join main.cloaca_task t on t.id = n.task
    cross join main.cloaca_queue q on q.queue = t.queue
where n.state = 'ready' and coalesce(t.lease_until, :now) <= :now and q.retention > 0;

update main.cloaca_execution_task set steps = (select t.steps from main.cloaca_task t where t.id = cloaca_execution_task.task)
where execution in (select execution from main.cloaca_closing) and state = 'ready';

delete from main.cloaca_task
where coalesce(lease_until, :now) <= :now and id in (
    select n.task from main.cloaca_closing c cross join main.cloaca_execution_task n on n.execution = c.execution
    where n.state = 'ready');

update main.cloaca_execution_task set state = 'cancelled', finished_at = :now, awaits = null, held_run_at = null
where execution in (select execution from main.cloaca_closing) and state in ('waiting', 'ready');

update main.cloaca_execution set finished_at = :now, remaining = 0,
    (state, error) = (select c.state, c.error from main.cloaca_closing c where c.execution = cloaca_execution.id),
    expires_at = :now + (select w.retention from main.cloaca_workflow w where w.id = cloaca_execution.workflow)
where id in (select execution from main.cloaca_closing);

delete from main.cloaca_closing;
-- @end
