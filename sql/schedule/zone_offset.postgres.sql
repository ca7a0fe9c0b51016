-- @helper zone_offset
--
-- How far the clocks of the session's time zone are ahead of UTC at a time (seconds since 1970-01-01), in seconds.
create function cloaca.zone_offset(at bigint) returns bigint
language sql stable
return extract(epoch from pg_catalog.to_timestamp(at)::timestamp)::bigint - at;
