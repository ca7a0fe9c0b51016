-- @helper remove_executions
--
-- Deletes finished executions that have been kept for their workflow's retention, with all that belongs to them, at most max of them and
-- one at least of up to 10,000 tasks, and says how many.
create function cloaca.remove_executions(tenant text, max integer, at timestamptz) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    executions bigint[];
begin
    execute format($query$
        select array_agg(x.id) from (
            select e.id from %I.cloaca_execution e where e.expires_at <= $1
            order by e.expires_at limit greatest($2 / 100, 1) for update skip locked) x
        $query$, tenant) into executions using remove_executions.at, remove_executions.max;
    if executions is null then
        return 0;
    end if;
    execute format($query$
        with task as (delete from %1$I.cloaca_execution_task n where n.execution = any ($1)),
            event as (delete from %1$I.cloaca_execution_event v where v.execution = any ($1)),
            signal as (delete from %1$I.cloaca_pending_signal s where s.execution = any ($1))
        delete from %1$I.cloaca_execution e where e.id = any ($1)
        $query$, tenant) using executions;
    return cardinality(executions);
end
$$;
