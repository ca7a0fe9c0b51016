-- @function retry_execution(execution bigint) -> state text, tasks bigint
--
-- The scratch table has the tasks that run, or are skipped, again, with how many of those they wait for. The steps of a cancelled one that
-- its worker has not let go of yet are still with the live task.

-- @include workflow/refuse_execution

-- @raise execution_finished
select 'Execution ' || id || ' is ' || state || '.' as detail
from main.cloaca_execution where id = :execution and finished_at is not null and state = 'completed';

-- @raise invalid_argument
select 'Execution ' || :execution || ' has not ended.' as detail
from main.cloaca_execution where id = :execution and finished_at is null;

delete from main.cloaca_scratch;

insert into main.cloaca_scratch (n, task)
with recursive again (n) as (
    select n from main.cloaca_execution_task where execution = :execution and state in ('failed', 'cancelled')
    union
    select x.value from again a
        cross join main.cloaca_execution e on e.id = :execution
        cross join main.cloaca_workflow_task w on w.workflow = e.workflow and w.n = a.n
        cross join json_each(w.dependents) x
)
select a.n, t.task from again a cross join main.cloaca_execution_task t on t.execution = :execution and t.n = a.n;

update main.cloaca_execution_task set state = 'waiting', attempt = 0, worker = null, started_at = null, finished_at = null,
    held_run_at = null, awaits = null, error = null, output = null, changes = null,
    steps = case when state in ('failed', 'cancelled') then (
        select '{' || group_concat(json_quote(s.key) || ': ' || s.value, ', ') || '}'
        from json_each(coalesce((select t.steps from main.cloaca_task t where t.id = cloaca_execution_task.task), cloaca_execution_task.steps)) s
        where s.key not glob 'signal:*' or s.value ->> '$.outcome' = 'received') end,
    remaining = (
        select count(*) from main.cloaca_execution e
            cross join main.cloaca_workflow_task w on w.workflow = e.workflow and w.n = cloaca_execution_task.n
            cross join json_each(w.dependencies) x
        where e.id = :execution and exists (select 1 from main.cloaca_scratch s where s.n = x.value))
where task in (select task from main.cloaca_scratch);

-- Workers that still hold one of them lose it.
delete from main.cloaca_task where id in (select task from main.cloaca_scratch);

delete from main.cloaca_dead_letter where task in (select task from main.cloaca_scratch);

delete from main.cloaca_task_history where task in (select task from main.cloaca_scratch);

update main.cloaca_execution set state = 'running', started_at = coalesce(started_at, :now), finished_at = null, expires_at = null,
    error = null, context = null, result = null, deadline = :now + timeout,
    remaining = (
        select count(*) from main.cloaca_scratch s
            cross join main.cloaca_workflow_task w on w.workflow = cloaca_execution.workflow and w.n = s.n
        where w.dependents = '[]')
where id = :execution;

insert into main.cloaca_execution_event (execution, at, state) values (:execution, :now, 'retried');

insert into main.cloaca_settling (task, execution, workflow, n, phase)
select n.task, n.execution, e.workflow, n.n, 'free'
from main.cloaca_scratch s
    cross join main.cloaca_execution_task n on n.task = s.task
    cross join main.cloaca_execution e on e.id = n.execution
where n.remaining = 0;

-- @include workflow/advance

select 'running' as state, count(*) as tasks from main.cloaca_scratch;
