-- @function signal(execution bigint, name text, payload jsonb = null) -> signal bigint
--
-- The scratch rows have the tasks that wait for it: the first that asks receives it, for another may end without asking.

-- @raise invalid_name
select 'The signal name must have 1 to 200 bytes and no control characters.' as detail
where :name is null or length(cast(:name as blob)) not between 1 and 200 or :name glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise invalid_argument
select 'The payload must have at most 64 MiB.' as detail where length(cast(:payload as blob)) > 67108864;

-- @include workflow/refuse_execution

-- @include workflow/refuse_finished

insert into main.cloaca_execution_event (execution, at, state, name) values (:execution, :now, 'signalled', :name);

delete from main.cloaca_scratch;

insert into main.cloaca_scratch (task)
select n.task
from main.cloaca_execution_task n cross join main.cloaca_task t on t.id = n.task
where n.execution = :execution and n.state = 'ready' and n.awaits = :name and t.lease_id is null and t.run_at > :now;

update main.cloaca_task set run_at = case (select state from main.cloaca_execution where id = :execution) when 'paused' then 9223372036854775807 else :now end
where id in (select task from main.cloaca_scratch);

update main.cloaca_execution_task set awaits = null,
    held_run_at = case (select state from main.cloaca_execution where id = :execution) when 'paused' then :now end
where task in (select task from main.cloaca_scratch);

insert into main.cloaca_pending_signal (execution, sent_at, name, payload) values (:execution, :now, :name, :payload);

select last_insert_rowid() as signal;
