-- @helper touch_execution
--
-- Changes the row of an execution, in nothing, and tells its state; null when there is none. Who sends a signal and who waits for one
-- do so before they look: the second waits for the first, and one whose snapshot is older than the first gets a serialization failure,
-- where a mere lock would let it look with that snapshot.
create function cloaca.touch_execution(tenant text, execution bigint) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    state text;
begin
    execute format('update %I.cloaca_execution e set state = e.state where e.id = $1 returning e.state', tenant)
        into state using touch_execution.execution;
    return state;
end
$$;
