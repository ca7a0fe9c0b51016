-- @part check_schedule
--
-- Refuses a schedule that was just written with anything wrong in it; the call that raises is undone.

-- @raise invalid_name
select 'The time zone must have 1 to 200 bytes and no control characters.' as detail
from main.cloaca_schedule
where name = :name and (length(cast(timezone as blob)) not between 1 and 200
    or timezone glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*');

-- @raise invalid_argument
select cloaca_cron_problem(cron) as detail from main.cloaca_schedule where name = :name and cloaca_cron_problem(cron) is not null;

-- @raise invalid_argument
select 'Time zone "' || timezone || '" does not exist.' as detail,
    'Name a zone of the IANA database, such as Europe/Berlin.' as hint
from main.cloaca_schedule where name = :name and cloaca_zone_problem(timezone) = 'unknown';

-- @raise not_supported
select 'Time zones other than UTC need the library libglib-2.0.so.0, which cannot be loaded.' as detail,
    'Install GLib (libglib2.0-0 on Debian), or use UTC.' as hint
from main.cloaca_schedule where name = :name and cloaca_zone_problem(timezone) = 'no library';

-- @raise invalid_argument
select 'Give either a workflow or a task.' as detail
from main.cloaca_schedule where name = :name and (workflow is null) = (task is null);

-- @raise invalid_name
select 'The ' || what || ' must have 1 to 200 bytes and no control characters.' as detail
from (
    select 1 as n, 'task name' as what, task as checked from main.cloaca_schedule where name = :name
    union all select 2, 'queue name', queue from main.cloaca_schedule where name = :name
)
where length(cast(checked as blob)) not between 1 and 200 or checked glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*'
order by n limit 1;

-- @raise invalid_argument
select detail from (select case
    when length(cast(payload as blob)) > 67108864 then 'The payload must have at most 64 MiB.'
    when priority not between -32768 and 32767 then 'The priority must be an integer from -32768 to 32767.'
    when workflow is not null and json_type(payload) <> 'object' then 'The payload of a workflow must be a JSON object.'
    when catch_up not in ('skip', 'run_once', 'run_all') then 'The catch_up must be one of skip, run_once, run_all.'
    when max_catch_up not between 1 and 1000 then 'The max_catch_up must be from 1 to 1000.'
    when starts_at not between -62135596800000000 and 253402300799999999
        then 'The starts_at must be a time between the years 1 and 9999.'
    when ends_at not between -62135596800000000 and 253402300799999999
        then 'The ends_at must be a time between the years 1 and 9999.'
    when ends_at < starts_at then 'The ends_at must not be before starts_at.'
    end as detail from main.cloaca_schedule where name = :name)
where detail is not null;

-- @raise unknown_workflow
select 'There is no workflow "' || workflow || '".' as detail
from main.cloaca_schedule s
where name = :name and workflow is not null and not exists (select 1 from main.cloaca_workflow w where w.name = s.workflow);
