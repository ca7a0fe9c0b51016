-- @helper lock_execution
--
-- lock_executions for one whose id is known.
create function cloaca.lock_execution(tenant text, execution bigint) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform from cloaca.query('select e.id from %1$I.cloaca_execution e where e.id = $1[1]::bigint for key share', tenant,
        execution::text) as q (execution bigint);
end
$$;
