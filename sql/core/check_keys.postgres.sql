-- @helper check_keys
--
-- Refuses keys that are not as many as the payloads, or one of which is no good. Null is no keys at all.
create function cloaca.check_keys(keys text[], count integer) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if cardinality(keys) <> count or array_ndims(keys) > 1 then
        perform cloaca.raise_condition('invalid_argument', 'The keys must be as many as the payloads.');
    end if;
    perform cloaca.check_name(k.key, 'key', 500) from unnest(keys) as k (key) where k.key is not null;
end
$$;
