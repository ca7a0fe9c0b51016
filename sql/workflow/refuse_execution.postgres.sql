-- @helper refuse_execution
--
-- Raises that there is no such execution.
create function cloaca.refuse_execution(execution bigint) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform cloaca.raise_condition('unknown_execution', format('There is no execution %s.', coalesce(execution::text, 'null')));
end
$$;
