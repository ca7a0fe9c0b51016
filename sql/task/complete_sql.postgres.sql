-- @helper complete_sql
--
-- The SQL path of complete, see there: it serves whatever the direct path, which is in C, does not. On a server without the
-- library it is complete itself.
create function cloaca.complete_sql(task bigint, lease_id bigint, result jsonb default null) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    is_repeated boolean;
begin
    perform cloaca.check_result(complete_sql.result);
    perform from cloaca.finish(tenant, 'completed', array[complete_sql.task], array[complete_sql.lease_id],
        array[complete_sql.result], cloaca.now());
    if not found then
        execute format($query$
            select exists (select from %I.cloaca_task_history h where h.task = $1 and h.lease_id = $2 and h.state = 'completed')
            $query$, tenant) into is_repeated using complete_sql.task, complete_sql.lease_id;
        if not is_repeated then
            perform cloaca.refuse_lease(tenant, complete_sql.task, complete_sql.lease_id);
        end if;
    end if;
end
$$;
