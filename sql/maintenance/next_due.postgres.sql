-- @helper next_due
--
-- When maintenance of a tenant is due next: `lease` when the first lease ends, `due` for everything else; null: never. Everything else
-- has indexes. For leases a table of tasks of up to 1,024 pages (8 MB) is read; how it is with the rest of a longer one the library
-- may know, and else a minute from now is the time to look.
create type cloaca.due_times as (
    due   timestamptz,
    lease timestamptz
);

create function cloaca.next_due(tenant text, at timestamptz) returns cloaca.due_times
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    times cloaca.due_times;
begin
    execute format($query$
        with recursive name (queue) as (
            (select h.queue from %1$I.cloaca_task_history h order by h.queue limit 1)
            union all
            select (select h.queue from %1$I.cloaca_task_history h where h.queue > name.queue order by h.queue limit 1)
            from name where name.queue is not null
        )
        select
            least(
                (select min(oldest.finished_at + coalesce(q.retention, interval '0'))
                 from name left join %1$I.cloaca_queue q on q.queue = name.queue
                 cross join lateral (
                    select h.finished_at from %1$I.cloaca_task_history h where h.queue = name.queue
                    order by h.finished_at, h.task limit 1) oldest),
                (select f.until from %1$I.cloaca_finished_key f order by f.until limit 1),
                (select e.deadline from %1$I.cloaca_execution e
                 where e.deadline is not null and e.finished_at is null order by e.deadline limit 1),
                (select e.expires_at from %1$I.cloaca_execution e
                 where e.expires_at is not null order by e.expires_at limit 1),
                (select s.next_at from %1$I.cloaca_schedule s where s.next_at is not null order by s.next_at limit 1)),
            least(
                (select min(t.lease_until) from %1$I.cloaca_task t where t.ctid < '(1024,0)' and t.lease_id is not null),
                case when pg_relation_size(%2$L) > 1024 * current_setting('block_size')::bigint
                    then coalesce(cloaca.noted_lease(%1$L), $1 + interval '60 seconds') end)
        $query$, tenant, format('%I.cloaca_task', tenant)) into times using next_due.at;
    if times.lease = 'infinity' then
        times.lease := null;
    end if;
    return times;
end
$$;
