-- @helper advance
--
-- Goes on from tasks of executions that have ended: counts down what depends on them, and whatever has nothing left to wait for is
-- ready or skipped, and then what depends on the skipped ones. Executions whose last task has ended end. Costs what the dependents
-- are, however many tasks there are besides: `offset 0`, and `= any (array[...])` for rows that are changed, have them found one by one,
-- where a planner that knows tables to be small would rather read all of them and compare each with each.
--
-- Dependents are locked in the order of their ranks and ids, then executions, by everybody: so nobody waits in a circle. What depends on a
-- skipped task has a greater rank than that; so those of the lowest rank come first, and the others wait for their turn in `later`.
create function cloaca.advance(tenant text, tasks bigint[], at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    wave record;
    later record;
    finals bigint[] := '{}';
    over bigint[];
begin
    select null::bigint[] as tasks, null::integer[] as ranks, null::integer[] as counts into later;
    while tasks is not null or later.tasks is not null loop
        select q.* into wave from cloaca.query($query$
            with ended as materialized (
                select n.execution, e.workflow, w.dependents from (select distinct t.task from unnest($1[1]::bigint[]) as t (task)) f
                cross join lateral (select n.execution, n.n from %1$I.cloaca_execution_task n where n.task = f.task offset 0) n
                cross join lateral (select e.workflow from %1$I.cloaca_execution e where e.id = n.execution offset 0) e
                cross join lateral (
                    select w.dependents from %1$I.cloaca_workflow_task w where w.workflow = e.workflow and w.n = n.n offset 0) w
            ), waiting as materialized (
                select w.task, w.rank, sum(w.ended)::integer as ended from (
                    select d.task, v.rank, 1 as ended from ended f cross join lateral unnest(f.dependents) as x (n)
                    cross join lateral (
                        select d.task from %1$I.cloaca_execution_task d where d.execution = f.execution and d.n = x.n offset 0) d
                    cross join lateral (
                        select v.rank from %1$I.cloaca_workflow_task v where v.workflow = f.workflow and v.n = x.n offset 0) v
                    union all
                    select l.task, l.rank, l.ended 
                    from unnest($1[2]::bigint[], $1[3]::integer[], $1[4]::integer[]) as l (task, rank, ended)
                ) w
                group by w.task, w.rank
            ), turn as materialized (
                select w.task, w.ended from waiting w where w.rank = (select min(v.rank) from waiting v)
            ), locked as materialized (
                select d.task from %1$I.cloaca_execution_task d
                where d.task = any (array(select t.task from turn t)) order by d.task for update
            ), counted as (
                update %1$I.cloaca_execution_task d set remaining = d.remaining - t.ended from turn t
                where (select count(*) from locked) > 0 and d.task = any (array[t.task]) and d.state = 'waiting'
                returning d.task, d.remaining
            )
            select (select array_agg(c.task order by c.task) from counted c where c.remaining = 0) as free,
                (select array_agg(f.execution) from ended f where f.dependents = '{}') as finals,
                array_agg(w.task) as tasks, array_agg(w.rank) as ranks, array_agg(w.ended) as counts
            from waiting w where w.rank > (select min(v.rank) from waiting v)
            $query$, tenant, tasks::text, later.tasks::text, later.ranks::text, later.counts::text)
            as q (free bigint[], finals bigint[], tasks bigint[], ranks integer[], counts integer[]);
        finals := finals || wave.finals;
        later.tasks := wave.tasks;
        later.ranks := wave.ranks;
        later.counts := wave.counts;
        tasks := case when wave.free is not null then cloaca.activate(tenant, wave.free, at) end;
    end loop;

    if finals <> '{}' then
        select q.executions into over from cloaca.query($query$
            with ended as materialized (
                select f.execution, count(*)::integer as tasks from unnest($1[1]::bigint[]) as f (execution) group by f.execution
            ), locked as materialized (
                select e.id from %1$I.cloaca_execution e where e.id = any ($1[1]::bigint[]) order by e.id for no key update
            ), counted as (
                update %1$I.cloaca_execution e set remaining = e.remaining - f.tasks from ended f
                where (select count(*) from locked) > 0 and e.id = any (array[f.execution]) and e.finished_at is null
                returning e.id, e.remaining
            )
            select array_agg(c.id order by c.id) from counted c where c.remaining = 0
            $query$, tenant, finals::text) as q (executions bigint[]);
        if over is not null then
            perform cloaca.end_executions(tenant, over, at);
        end if;
    end if;
end
$$;
