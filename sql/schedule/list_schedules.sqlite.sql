-- @function list_schedules(after text = null, max integer = 100) -> schedule bigint, name text, cron text, timezone text, workflow text, task text, queue text, payload jsonb, priority smallint, catch_up text, max_catch_up integer, starts_at timestamptz, ends_at timestamptz, enabled boolean, next_at timestamptz, created_at timestamptz
--
-- In the order of the unique index on the name.

-- @raise invalid_argument
select detail from (select case
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

select id as schedule, name, cron, timezone, workflow, task, queue, payload, priority, catch_up, max_catch_up, starts_at, ends_at,
    enabled, next_at, created_at
from main.cloaca_schedule where :after is null or name > :after order by name limit :max;
