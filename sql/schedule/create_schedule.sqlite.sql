-- @function create_schedule(name text, cron text, timezone text = 'UTC', workflow text = null, task text = null, queue text = 'default', payload jsonb = '{}', priority integer = 0, catch_up text = 'skip', max_catch_up integer = 100, starts_at timestamptz = null, ends_at timestamptz = null, enabled boolean = true) -> schedule bigint, next_at timestamptz
--
-- The row is written first, and then checked.

-- @raise invalid_name
select 'The schedule name must have 1 to 200 bytes and no control characters.' as detail
where :name is null or length(cast(:name as blob)) not between 1 and 200 or :name glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise name_taken
select 'Schedule "' || :name || '" exists.' as detail where exists (select 1 from main.cloaca_schedule where name = :name);

-- @raise invalid_argument
select detail from (select case
    when :payload is null then 'The payload must not be null.'
    when :priority is null then 'The priority must not be null.'
    end as detail)
where detail is not null;

insert into main.cloaca_schedule (name, cron, timezone, workflow, task, queue, priority, payload, catch_up, max_catch_up, enabled,
    starts_at, ends_at, created_at)
values (:name, coalesce(:cron, ''), coalesce(:timezone, ''), :workflow, :task, coalesce(:queue, ''), :priority, :payload,
    coalesce(:catch_up, ''), coalesce(:max_catch_up, 0), coalesce(:enabled, 1), :starts_at, :ends_at, :now);

-- @include schedule/check_schedule

update main.cloaca_schedule set next_at = (
    select case when at <= coalesce(ends_at, at) then at end
    from (select cloaca_cron_after(cron, timezone, max(:now, coalesce(starts_at - 1, :now))) as at))
where name = :name and enabled;

select id as schedule, next_at from main.cloaca_schedule where name = :name;
