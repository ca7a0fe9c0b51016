-- @helper cron_bit
--
-- The lowest bit from `first` on, or null.
create function cloaca.cron_bit(bits bigint, first integer) returns integer
language sql immutable
return (select pg_catalog.min(n) from pg_catalog.generate_series(first, 60) n where bits & (1::bigint << n) <> 0);
