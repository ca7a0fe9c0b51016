-- @function enable_schedule(name text) -> next_at timestamptz
--
-- An enabled one stays as it is.

-- @raise invalid_argument
select 'The name must not be null.' as detail where :name is null;

-- @raise unknown_schedule
select 'Schedule "' || :name || '" does not exist.' as detail
where not exists (select 1 from main.cloaca_schedule where name = :name);

-- @raise not_supported
select 'Time zones other than UTC need the library libglib-2.0.so.0, which cannot be loaded.' as detail,
    'Install GLib (libglib2.0-0 on Debian), or use UTC.' as hint
from main.cloaca_schedule where name = :name and not enabled and cloaca_zone_problem(timezone) = 'no library';

update main.cloaca_schedule set enabled = 1, next_at = (
    select case when at <= coalesce(ends_at, at) then at end
    from (select cloaca_cron_after(cron, timezone, max(:now, coalesce(last_scheduled_at, :now), coalesce(starts_at - 1, :now))) as at))
where name = :name and not enabled;

select next_at from main.cloaca_schedule where name = :name;
