-- @function resume_execution(execution bigint) -> state text
--
-- Its live tasks are due when they were.

-- @include workflow/refuse_execution

-- @include workflow/refuse_finished

-- @if
select 1 from main.cloaca_execution where id = :execution and state = 'paused';

update main.cloaca_task set run_at = (select n.held_run_at from main.cloaca_execution_task n where n.task = cloaca_task.id)
where id in (
    select n.task from main.cloaca_execution_task n
    where n.execution = :execution and n.state = 'ready' and n.held_run_at is not null);

update main.cloaca_execution_task set held_run_at = null where execution = :execution and held_run_at is not null;

update main.cloaca_execution set state = case when started_at is null then 'pending' else 'running' end where id = :execution;

insert into main.cloaca_execution_event (execution, at, state) values (:execution, :now, 'resumed');
-- @end

select state from main.cloaca_execution where id = :execution;
