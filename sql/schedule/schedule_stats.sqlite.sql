-- @function schedule_stats(name text = null) -> name text, fired bigint, skipped bigint, failed bigint, last_scheduled_at timestamptz, last_fired_at timestamptz, next_at timestamptz, average_delay interval, largest_delay interval
--
-- The counts are columns of the schedule.

-- @raise unknown_schedule
select 'Schedule "' || :name || '" does not exist.' as detail
where :name is not null and not exists (select 1 from main.cloaca_schedule where name = :name);

select name, fired, skipped, failed, last_scheduled_at, last_fired_at, next_at, delay / nullif(fired, 0) as average_delay,
    case when fired > 0 then largest_delay end as largest_delay
from main.cloaca_schedule where :name is null or name = :name order by name;
