-- @helper refuse_lease
--
-- Raises why a task is not to be had under a lease: it was cancelled while it ran, or it is not held under it.
create function cloaca.refuse_lease(tenant text, task bigint, lease_id bigint) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    is_cancelled boolean;
begin
    execute format('select cancelled from %I.cloaca_task where id = $1 and lease_id = $2', tenant)
        into is_cancelled using refuse_lease.task, refuse_lease.lease_id;
    if is_cancelled then
        perform cloaca.raise_condition('cancelled', format('Task %s was cancelled while it ran.', refuse_lease.task),
            'Release the task to acknowledge it.');
    end if;
    perform cloaca.raise_condition('lease_lost',
        format('Task %s is not held under this lease.', coalesce(refuse_lease.task::text, 'null')),
        'Its lease expired, another worker holds it, or it is finished.');
end
$$;
