-- @part end_tasks
--
-- Live tasks of executions have ended, those in cloaca_ended: their states, outputs and errors go to the execution's own rows, and what
-- waits for them goes on. Tasks that a closed execution has ended already are left as they are. The steps of those that did not complete
-- are kept.

-- @if
select 1 from main.cloaca_ended limit 1;

update main.cloaca_execution_task set steps = (select d.steps from main.cloaca_ended d where d.task = cloaca_execution_task.task)
where task in (select task from main.cloaca_ended where steps is not null);

delete from main.cloaca_ended
where coalesce((select n.state from main.cloaca_execution_task n where n.task = cloaca_ended.task), '') <> 'ready';

update main.cloaca_execution_task set (state, output, error, attempt, worker, started_at) = (
        select d.state, d.output, d.error, d.attempt, d.worker, d.claimed_at from main.cloaca_ended d
        where d.task = cloaca_execution_task.task),
    finished_at = :now, awaits = null, held_run_at = null
where task in (select task from main.cloaca_ended);

-- An output that is no object goes under the name of the task.
update main.cloaca_execution_task set changes = cloaca_merge(changes, case
    when output glob '{*' then output
    else '{' || json_quote((
        select w.name from main.cloaca_execution e cross join main.cloaca_workflow_task w on w.workflow = e.workflow
        where e.id = cloaca_execution_task.execution and w.n = cloaca_execution_task.n)) || ': ' || output || '}' end)
where task in (select task from main.cloaca_ended where output is not null);

insert into main.cloaca_execution_event (execution, task, at, attempt, state, worker, detail)
select n.execution, d.task, :now, d.attempt, d.state, d.worker, d.error
from main.cloaca_ended d cross join main.cloaca_execution_task n on n.task = d.task
order by d.task;

insert into main.cloaca_settling (task, execution, workflow, n, phase)
select n.task, n.execution, e.workflow, n.n, 'ended'
from main.cloaca_ended d
    cross join main.cloaca_execution_task n on n.task = d.task
    cross join main.cloaca_execution e on e.id = n.execution;

delete from main.cloaca_ended;

-- @include workflow/advance
-- @end
