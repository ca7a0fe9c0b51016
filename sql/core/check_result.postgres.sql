-- @helper check_result
--
-- Refuses a result larger than 64 MiB. Null is no result, and allowed.
create function cloaca.check_result(result jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform cloaca.check_size(result, 'result');
end
$$;
