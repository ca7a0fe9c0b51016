-- @part hold_task
--
-- A task that was given back does not run before its execution is resumed when that is paused, which then remembers when it was to run.

-- @if
select 1 from main.cloaca_task t cross join main.cloaca_execution e on e.id = t.execution where t.id = :task and e.state = 'paused';

update main.cloaca_execution_task set held_run_at = (select run_at from main.cloaca_task where id = :task) where task = :task;

update main.cloaca_task set run_at = 9223372036854775807 where id = :task;
-- @end
