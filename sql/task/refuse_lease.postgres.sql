-- @helper refuse_lease
--
-- Raises why a task is not to be had under a lease: it was cancelled while it ran, its time is over, or it is not held under it.
create function cloaca.refuse_lease(tenant text, task bigint, lease_id bigint) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    held record;
begin
    execute format($query$
        select t.cancelled, cloaca.task_end(t.claimed_at, t.timeout, t.deadline) <= $3 as is_late
        from %I.cloaca_task t where t.id = $1 and t.lease_id = $2
        $query$, tenant) into held using refuse_lease.task, refuse_lease.lease_id, cloaca.now();
    if held.cancelled then
        perform cloaca.raise_condition('cancelled', format('Task %s was cancelled while it ran.', refuse_lease.task),
            'Release the task to acknowledge it.');
    elsif held.is_late then
        perform cloaca.raise_condition('lease_lost', format('Task %s ran out of time.', refuse_lease.task),
            'Its timeout, or that of its execution, is over.');
    end if;
    perform cloaca.raise_condition('lease_lost',
        format('Task %s is not held under this lease.', coalesce(refuse_lease.task::text, 'null')),
        'Its lease expired, another worker holds it, or it is finished.');
end
$$;
