-- @function disable_schedule(name text) -> void
--
-- Without a next time it is never due.

-- @raise invalid_argument
select 'The name must not be null.' as detail where :name is null;

-- @raise unknown_schedule
select 'Schedule "' || :name || '" does not exist.' as detail
where not exists (select 1 from main.cloaca_schedule where name = :name);

update main.cloaca_schedule set enabled = 0, next_at = null where name = :name;
