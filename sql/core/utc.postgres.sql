-- @helper utc
--
-- A time as ISO 8601 text in UTC with microseconds, the spelling of times inside documents on every backend.
create function cloaca.utc(at timestamptz) returns text
language sql stable
return pg_catalog.to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
