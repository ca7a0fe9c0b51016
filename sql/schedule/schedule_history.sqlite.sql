-- @function schedule_history(name text, before timestamptz = null, max integer = 100) -> scheduled_at timestamptz, fired_at timestamptz, task bigint, execution bigint, outcome text, count bigint, error text
--
-- In the order of the unique index on schedule and time, backwards.

-- @raise invalid_argument
select detail from (select case
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

-- @raise invalid_argument
select 'The name must not be null.' as detail where :name is null;

-- @raise unknown_schedule
select 'Schedule "' || :name || '" does not exist.' as detail
where not exists (select 1 from main.cloaca_schedule where name = :name);

select f.scheduled_at, f.fired_at, f.task, f.execution, f.outcome, f.count, f.error
from main.cloaca_firing f
where f.schedule = (select id from main.cloaca_schedule where name = :name) and (:before is null or f.scheduled_at < :before)
order by f.scheduled_at desc limit :max;
