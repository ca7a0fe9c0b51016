-- @helper new_lease_id
--
-- 62 strongly random bits: the second half of a random uuid without its variant. Never issued twice, not even when the claim's
-- commit is lost in a crash, as a counter's value would be.
create function cloaca.new_lease_id() returns bigint
language sql volatile
return ('x' || pg_catalog.encode(substr(pg_catalog.uuid_send(pg_catalog.gen_random_uuid()), 9), 'hex'))::bit(64)::bigint
    & 4611686018427387903;
