-- @helper check_payload
--
-- Refuses a payload that is null or larger than 64 MiB, the limit on every backend.
create function cloaca.check_payload(payload jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if payload is null then
        perform cloaca.raise_condition('invalid_argument', 'The payload must not be null.');
    end if;
    perform cloaca.check_size(payload, 'payload');
end
$$;
