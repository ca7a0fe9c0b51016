-- @function disable_schedule(name text) -> void
--
-- Has a schedule fire no more until it is enabled again. What it has started goes on.
--
-- name: of the schedule
-- Errors: unknown_schedule, invalid_argument
-- Writes: cloaca_schedule
create function cloaca.disable_schedule(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    schedule bigint;
begin
    execute format('update %I.cloaca_schedule set enabled = false, next_at = null where name = $1 returning id',
        cloaca.current_tenant()) into schedule using disable_schedule.name;
    if schedule is null then
        perform cloaca.refuse_schedule(disable_schedule.name);
    end if;
end
$$;
