-- @helper check_payloads
--
-- Refuses what is no plain array, and a payload in it that is null or larger than 64 MiB.
create function cloaca.check_payloads(payloads jsonb[]) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if payloads is null or array_ndims(payloads) > 1 then
        perform cloaca.raise_condition('invalid_argument', 'The payloads must be an array.');
    elsif array_position(payloads, null) is not null then
        perform cloaca.check_payload(null);
    elsif pg_column_size(payloads) > 5000 then
        perform cloaca.check_payload(p.payload) from unnest(payloads) as p (payload);
    end if;
end
$$;
