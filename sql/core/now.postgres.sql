-- @helper now
--
-- The one clock: the database's. Tests set it with cloaca.clock, for their own session alone.
create function cloaca.now() returns timestamptz
language sql volatile
return coalesce(nullif(pg_catalog.current_setting('cloaca.clock', true), '')::timestamptz, pg_catalog.clock_timestamp());
