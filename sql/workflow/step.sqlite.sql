-- @function step(task bigint, lease_id bigint, name text) -> result jsonb
--
-- Steps are a JSON object of objects, whose keys are `step:` and the name.

-- @raise invalid_name
select 'The step name must have 1 to 200 bytes and no control characters.' as detail
where :name is null or length(cast(:name as blob)) not between 1 and 200 or :name glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise cancelled
select 'Task ' || :task || ' was cancelled while it ran.' as detail, 'Release the task to acknowledge it.' as hint
from main.cloaca_task where id = :task and lease_id = :lease_id and cancelled;

-- @raise lease_lost
select 'Task ' || coalesce(:task, 'null') || ' is not held under this lease.' as detail,
    'Its lease expired, another worker holds it, or it is finished.' as hint
where not exists (select 1 from main.cloaca_task where id = :task and lease_id = :lease_id);

select s.value -> '$.result' as result
from main.cloaca_task t cross join json_each(t.steps) s
where t.id = :task and s.key = 'step:' || :name;
