-- @function pause_execution(execution bigint) -> state text
--
-- Its live tasks are never due until it is resumed.

-- @include workflow/refuse_execution

-- @include workflow/refuse_finished

-- @if
select 1 from main.cloaca_execution where id = :execution and state <> 'paused';

update main.cloaca_execution_task set held_run_at = (select t.run_at from main.cloaca_task t where t.id = cloaca_execution_task.task)
where execution = :execution and state = 'ready';

update main.cloaca_task set run_at = 9223372036854775807
where id in (select n.task from main.cloaca_execution_task n where n.execution = :execution and n.state = 'ready');

update main.cloaca_execution set state = 'paused' where id = :execution;

insert into main.cloaca_execution_event (execution, at, state) values (:execution, :now, 'paused');
-- @end

select 'paused' as state;
