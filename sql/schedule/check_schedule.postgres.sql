-- @helper check_schedule
--
-- Refuses a schedule with anything wrong in it.
create function cloaca.check_schedule(tenant text, cron text, timezone text, workflow text, task text, queue text, payload jsonb,
    priority integer, catch_up text, max_catch_up integer, starts_at timestamptz, ends_at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    is_known boolean;
begin
    perform cloaca.check_name(timezone, 'time zone'), cloaca.cron_after(cron, timezone, cloaca.now());
    if (workflow is null) = (task is null) then
        perform cloaca.raise_condition('invalid_argument', 'Give either a workflow or a task.');
    elsif task is not null then
        perform cloaca.check_name(task, 'task name');
    end if;
    perform cloaca.check_name(queue, 'queue name'), cloaca.check_payload(payload), cloaca.check_priority(priority);
    if workflow is not null and jsonb_typeof(payload) <> 'object' then
        perform cloaca.raise_condition('invalid_argument', 'The payload of a workflow must be a JSON object.');
    elsif catch_up is null or catch_up not in ('skip', 'run_once', 'run_all') then
        perform cloaca.raise_condition('invalid_argument', 'The catch_up must be one of skip, run_once, run_all.');
    elsif max_catch_up is null or max_catch_up not between 1 and 1000 then
        perform cloaca.raise_condition('invalid_argument', 'The max_catch_up must be from 1 to 1000.');
    end if;
    perform cloaca.check_time(t.at, t.name) from (values (1, starts_at, 'starts_at'), (2, ends_at, 'ends_at')) t (n, at, name)
    where t.at is not null order by t.n;
    if ends_at < starts_at then
        perform cloaca.raise_condition('invalid_argument', 'The ends_at must not be before starts_at.');
    end if;
    execute format('select exists (select from %I.cloaca_workflow w where w.name = $1)', tenant) into is_known using workflow;
    if workflow is not null and not is_known then
        perform cloaca.raise_condition('unknown_workflow', format('There is no workflow "%s".', workflow));
    end if;
end
$$;
