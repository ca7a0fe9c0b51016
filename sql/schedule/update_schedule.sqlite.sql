-- @function update_schedule(name text, cron text = null, timezone text = null, workflow text = null, task text = null, queue text = null, payload jsonb = null, priority integer = null, catch_up text = null, max_catch_up integer = null, starts_at timestamptz = null, ends_at timestamptz = null) -> next_at timestamptz
--
-- The row is written first, and then checked.

-- @raise invalid_argument
select 'The name must not be null.' as detail where :name is null;

-- @raise unknown_schedule
select 'Schedule "' || :name || '" does not exist.' as detail
where not exists (select 1 from main.cloaca_schedule where name = :name);

update main.cloaca_schedule set cron = coalesce(:cron, cron), timezone = coalesce(:timezone, timezone),
    workflow = case when :task is null then coalesce(:workflow, workflow) else :workflow end,
    task = case when :workflow is null then coalesce(:task, task) else :task end,
    queue = coalesce(:queue, queue), payload = coalesce(:payload, payload), priority = coalesce(:priority, priority),
    catch_up = coalesce(:catch_up, catch_up), max_catch_up = coalesce(:max_catch_up, max_catch_up),
    starts_at = coalesce(:starts_at, starts_at), ends_at = coalesce(:ends_at, ends_at)
where name = :name;

-- @include schedule/check_schedule

update main.cloaca_schedule set next_at = (
    select case when at <= coalesce(ends_at, at) then at end
    from (select cloaca_cron_after(cron, timezone, max(:now, coalesce(last_scheduled_at, :now), coalesce(starts_at - 1, :now))) as at))
where name = :name and enabled and coalesce(:cron, :timezone, :starts_at, :ends_at) is not null;

select next_at from main.cloaca_schedule where name = :name;
