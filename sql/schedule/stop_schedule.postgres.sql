-- @helper stop_schedule
--
-- Has a schedule that cannot go on (its time zone is gone, say) fire no more until it is changed, with the reason in its history.
create function cloaca.stop_schedule(tenant text, schedule bigint, error text, at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    execute format($query$
        insert into %1$I.cloaca_firing (schedule, n, scheduled_at, fired_at, outcome, count, error)
        select s.id, s.firings + 1, s.next_at, $3, 'failed', 1, $2 from %1$I.cloaca_schedule s where s.id = $1
        on conflict do nothing
        $query$, tenant) using stop_schedule.schedule, stop_schedule.error, stop_schedule.at;
    execute format($query$
        update %I.cloaca_schedule set next_at = null, last_scheduled_at = next_at, firings = firings + 1, failed = failed + 1
        where id = $1
        $query$, tenant) using stop_schedule.schedule;
end
$$;
