-- @helper check_context
--
-- Refuses a context that is no object, or larger than 64 MiB.
create function cloaca.check_context(context jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if coalesce(jsonb_typeof(context), 'null') <> 'object' then
        perform cloaca.raise_condition('invalid_argument', 'The context must be a JSON object.');
    end if;
    perform cloaca.check_size(context, 'context');
end
$$;
