-- @function delete_schedule(name text) -> void
--
-- The history goes first, by the id.

-- @raise invalid_argument
select 'The name must not be null.' as detail where :name is null;

-- @raise unknown_schedule
select 'Schedule "' || :name || '" does not exist.' as detail
where not exists (select 1 from main.cloaca_schedule where name = :name);

delete from main.cloaca_firing where schedule = (select id from main.cloaca_schedule where name = :name);

delete from main.cloaca_schedule where name = :name;
