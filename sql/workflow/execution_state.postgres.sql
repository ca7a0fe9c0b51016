-- @helper execution_state
--
-- Locks an execution against completions and everybody else, and tells its state. Raises when there is none of that id.
create function cloaca.execution_state(tenant text, execution bigint) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    state text;
begin
    execute format('select e.state from %I.cloaca_execution e where e.id = $1 for update', tenant)
        into state using execution_state.execution;
    if state is null then
        perform cloaca.raise_condition('unknown_execution',
            format('There is no execution %s.', coalesce(execution_state.execution::text, 'null')));
    end if;
    return state;
end
$$;
