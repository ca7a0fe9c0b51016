-- @helper cron_after
--
-- The first time after a time at which a schedule is due, null when there is none before the year 10000. Refuses a cron expression
-- that is none, and a time zone that does not exist.
create function cloaca.cron_after(cron text, timezone text, after timestamptz) returns timestamptz
language c volatile
as 'MODULE_PATHNAME', 'cloaca_cron_after';
