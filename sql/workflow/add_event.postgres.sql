-- @helper add_event
--
-- Writes down one thing that happened in an execution, or to a task of it.
create function cloaca.add_event(tenant text, execution bigint, task bigint, state text, attempt integer, worker text, detail text,
    at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    execute format($query$
        insert into %I.cloaca_execution_event (execution, task, at, attempt, state, worker, detail) values ($1, $2, $3, $4, $5, $6, $7)
        $query$, tenant) using add_event.execution, add_event.task, add_event.at, add_event.attempt, add_event.state,
            add_event.worker, add_event.detail;
end
$$;
