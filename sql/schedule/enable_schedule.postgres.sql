-- @function enable_schedule(name text) -> next_at timestamptz
--
-- Has a disabled schedule fire again, from its next time on: what it would have fired meanwhile is not late. An enabled one stays
-- as it is.
--
-- name: of the schedule
-- Returns: when it is due next; null when never again
-- Errors: unknown_schedule, invalid_argument, not_supported (SQLite: other zones than UTC need the library GLib)
-- Writes: cloaca_schedule
create function cloaca.enable_schedule(name text) returns table (next_at timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    row record;
begin
    execute format($query$
        select s.id, s.enabled, s.next_at, s.cron, s.timezone, s.starts_at, s.ends_at, s.last_scheduled_at
        from %I.cloaca_schedule s where s.name = $1 for update
        $query$, tenant) into row using enable_schedule.name;
    if row.id is null then
        perform cloaca.refuse_schedule(enable_schedule.name);
    end if;
    next_at := row.next_at;
    if not row.enabled then
        next_at := cloaca.schedule_next(row.cron, row.timezone, greatest(cloaca.now(), row.last_scheduled_at), row.starts_at, row.ends_at);
        execute format('update %I.cloaca_schedule set enabled = true, next_at = $2 where id = $1', tenant) using row.id, next_at;
        perform cloaca.note_due(tenant, next_at);
    end if;
    return next;
end
$$;
