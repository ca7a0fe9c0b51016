-- @helper count_due
--
-- How many claimable tasks of a queue there are for sleepers that nobody has woken for them: those that were enqueued for later and
-- came due after `since`, up to `at`; with -infinity all that are claimable. Counts no further than max. And when the next is due.
create function cloaca.count_due(tenant text, queue text, since timestamptz, at timestamptz, max integer)
returns table (ready bigint, due timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query execute format($query$
        with recursive level (priority) as (
            (select t.priority from %1$I.cloaca_task t where t.queue = $1 order by t.priority limit 1)
            union all
            select (select t.priority from %1$I.cloaca_task t
                    where t.queue = $1 and t.priority > level.priority order by t.priority limit 1)
            from level where level.priority is not null
        ), ready as (
            select from level cross join lateral (
                select from %1$I.cloaca_task t
                where t.queue = $1 and t.priority = level.priority and t.run_at > $2 and t.run_at <= $3 and not t.cancelled
                    and (t.deadline is null or t.deadline > $3)
                    and (t.lease_id is null or (t.lease_until <= $3 and t.attempt < t.max_attempts))
                    and (t.run_at > t.enqueued_at or $2 = '-infinity')
                limit $4) due
            where level.priority is not null
                and not exists (select from %1$I.cloaca_queue q where q.queue = $1 and q.paused)
            limit $4
        )
        select (select count(*) from ready),
            (select min((select t.run_at from %1$I.cloaca_task t
                where t.queue = $1 and t.priority = level.priority and t.run_at > $3 order by t.run_at limit 1))
            from level where level.priority is not null)
        $query$, tenant) using count_due.queue, since, at, count_due.max;
end
$$;
