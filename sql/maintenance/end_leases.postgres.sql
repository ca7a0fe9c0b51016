-- @helper end_leases
--
-- Ends live tasks whose leases ended, and which the caller has locked, after their executions: the cancelled leave, the dead become dead
-- letters, and executions go on at once. One that cannot go on from a task of its own fails with the error, and stops no other: all are
-- tried together, and only after an error one by one. Errors that come from elsewhere are raised. Returns how many tasks are left for the
-- next time.
create function cloaca.end_leases(tenant text, cancelled bigint[], lease_ids bigint[], dead bigint[], at timestamptz) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    error text;
    detail text;
begin
    if cancelled is null and dead is null then
        return 0;
    end if;
    -- What the transaction ended before is its own affair.
    perform cloaca.advance_now();
    begin
        if cancelled is not null then
            perform from cloaca.finish(tenant, 'cancelled', cancelled, lease_ids, null, at);
        end if;
        if dead is not null then
            perform cloaca.bury(tenant, dead, null, at);
        end if;
        perform cloaca.advance_now();
        return 0;
    exception when others then
        if sqlstate ~ '^(25|40|42|53|55|57|58|XX)' then
            raise;
        end if;
        get stacked diagnostics error = message_text, detail = pg_exception_detail;
    end;
    if cardinality(cancelled || dead) = 1 then
        return cloaca.fail_execution(tenant, (cancelled || dead)[1], concat_ws(': ', error, nullif(detail, '')), at);
    end if;
    return (select coalesce(sum(cloaca.end_leases(tenant, array[c.task], array[c.lease_id], null, at)), 0)
            from unnest(cancelled, lease_ids) as c (task, lease_id))
        + (select coalesce(sum(cloaca.end_leases(tenant, null, null, array[d.task], at)), 0) from unnest(dead) as d (task));
end
$$;
