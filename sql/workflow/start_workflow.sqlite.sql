-- @function start_workflow(name text, context jsonb = '{}', key text = null, timeout interval = null) -> execution bigint, created boolean
--
-- The ids of the tasks are taken from those of live tasks, all at once. The scratch table has the execution.

-- @raise invalid_argument
select detail from (select case
    when :context is null or json_type(:context) <> 'object' then 'The context must be a JSON object.'
    when length(cast(:context as blob)) > 67108864 then 'The context must have at most 64 MiB.'
    end as detail)
where detail is not null;

-- @raise invalid_name
select 'The key must have 1 to 500 bytes and no control characters.' as detail
where length(cast(:key as blob)) not between 1 and 500 or :key glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise invalid_argument
select detail from (select case
    when :timeout not between 1 and 315576000000000 then 'The timeout must be more than 0 and at most 10 years.'
    end as detail)
where detail is not null;

-- @raise invalid_argument
select 'The name must not be null.' as detail where :name is null;

-- @raise unknown_workflow
select 'There is no workflow "' || :name || '".' as detail
where not exists (select 1 from main.cloaca_workflow where name = :name and is_current);

delete from main.cloaca_scratch;

insert into main.cloaca_scratch (task) select id from main.cloaca_execution where name = :name and key = :key;

-- @if
select 1 where not exists (select 1 from main.cloaca_scratch);

insert into main.cloaca_execution (workflow, created_at, deadline, timeout, remaining, state, name, key, input)
select w.id, :now, :now + coalesce(:timeout, w.timeout), coalesce(:timeout, w.timeout),
    (select count(*) from main.cloaca_workflow_task t where t.workflow = w.id and t.dependents = '[]'), 'pending', :name, :key, :context
from main.cloaca_workflow w where w.name = :name and w.is_current;

insert into main.cloaca_scratch (task, outcome) values (last_insert_rowid(), 'created');

insert into main.sqlite_sequence (name, seq)
select 'cloaca_task', 0 where not exists (select 1 from main.sqlite_sequence where name = 'cloaca_task');

insert into main.cloaca_execution_task (task, execution, n, remaining, state)
select (select seq from main.sqlite_sequence where name = 'cloaca_task') + w.n, e.id, w.n, json_array_length(w.dependencies), 'waiting'
from main.cloaca_scratch s cross join main.cloaca_execution e on e.id = s.task
    cross join main.cloaca_workflow_task w on w.workflow = e.workflow;

update main.sqlite_sequence set seq = seq + changes() where name = 'cloaca_task';

insert into main.cloaca_execution_event (execution, at, state) select task, :now, 'pending' from main.cloaca_scratch;

insert into main.cloaca_settling (task, execution, workflow, n, phase)
select n.task, n.execution, e.workflow, n.n, 'free'
from main.cloaca_scratch s cross join main.cloaca_execution e on e.id = s.task
    cross join main.cloaca_execution_task n on n.execution = e.id
where n.remaining = 0;

-- @include workflow/advance
-- @end

select task as execution, outcome is not null as created from main.cloaca_scratch;
