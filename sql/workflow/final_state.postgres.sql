-- @helper final_state
--
-- The state that an execution of the session's tenant ended in, null while it has not. Raises when there is none of that id.
create function cloaca.final_state(execution bigint) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    state text;
begin
    execute format('select e.state from %I.cloaca_execution e where e.id = $1', cloaca.current_tenant())
        into state using final_state.execution;
    if state is null then
        perform cloaca.refuse_execution(final_state.execution);
    end if;
    return case when state in ('completed', 'failed', 'cancelled') then state end;
end
$$;
