-- @function record_step(task bigint, lease_id bigint, name text, result jsonb = null) -> result jsonb, created boolean
--
-- The scratch row has what was recorded before.

-- @raise invalid_name
select 'The step name must have 1 to 200 bytes and no control characters.' as detail
where :name is null or length(cast(:name as blob)) not between 1 and 200 or :name glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise invalid_argument
select 'The result must have at most 64 MiB.' as detail where length(cast(:result as blob)) > 67108864;

-- @include task/refuse_lease

delete from main.cloaca_scratch;

insert into main.cloaca_scratch (outcome)
select s.value from main.cloaca_task t cross join json_each(t.steps) s where t.id = :task and s.key = 'step:' || :name;

update main.cloaca_task set steps = (
    select '{' || group_concat(json_quote(key) || ': ' || value, ', ') || '}' from (
        select key, value from json_each(coalesce(cloaca_task.steps, '{}')) where key <> 'step:' || :name
        union all select 'step:' || :name, case when :result is null then '{}' else '{"result": ' || :result || '}' end))
where id = :task and not exists (select 1 from main.cloaca_scratch);

select case when known.outcome is null then :result else known.outcome -> '$.result' end as result, known.outcome is null as created
from (select 1) left join main.cloaca_scratch known;
