-- @function delete_schedule(name text) -> void
--
-- Deletes a schedule and its history. What it has started goes on.
--
-- name: of the schedule
-- Errors: unknown_schedule, invalid_argument
-- Writes: cloaca_schedule, cloaca_firing
create function cloaca.delete_schedule(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    schedule bigint;
begin
    execute format('delete from %I.cloaca_schedule where name = $1 returning id', tenant) into schedule using delete_schedule.name;
    if schedule is null then
        perform cloaca.refuse_schedule(delete_schedule.name);
    end if;
    execute format('delete from %I.cloaca_firing where schedule = $1', tenant) using schedule;
end
$$;
