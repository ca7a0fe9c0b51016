-- @helper check_result
--
-- Refuses a result larger than 64 MiB. Null is no result, and allowed.
create function cloaca.check_result(result jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if pg_column_size(result) > 67108864 then
        perform cloaca.raise_condition('invalid_argument', 'The result must have at most 64 MiB.');
    end if;
end
$$;
