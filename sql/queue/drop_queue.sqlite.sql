-- @function drop_queue(queue text, force boolean = false) -> dropped bigint
--
-- The scratch row carries the count from before the deletes to the answer.

-- @raise invalid_name
select 'The queue name must have 1 to 200 bytes and no control characters.' as detail
where :queue is null or length(cast(:queue as blob)) not between 1 and 200 or :queue glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise unknown_queue
select 'Queue "' || :queue || '" does not exist.' as detail
where not exists (select 1 from main.cloaca_queue where queue = :queue)
    and not exists (select 1 from main.cloaca_task where queue = :queue)
    and not exists (select 1 from main.cloaca_dead_letter where queue = :queue)
    and not exists (select 1 from main.cloaca_task_history where queue = :queue);

-- @raise queue_not_empty
select 'Queue "' || :queue || '" still has tasks.' as detail, 'Drop it with force => true to delete them.' as hint
where not coalesce(:force, 0)
    and (exists (select 1 from main.cloaca_task where queue = :queue)
        or exists (select 1 from main.cloaca_dead_letter where queue = :queue and status = 'failed'));

delete from main.cloaca_scratch;

insert into main.cloaca_scratch (task)
select (select count(*) from main.cloaca_task where queue = :queue) + (select count(*) from main.cloaca_dead_letter where queue = :queue);

delete from main.cloaca_queue where queue = :queue;

delete from main.cloaca_queue_estimate where queue = :queue;

insert into main.cloaca_ended (task, state, attempt, worker, claimed_at, steps)
select id, 'cancelled', attempt, worker, claimed_at, steps from main.cloaca_task where queue = :queue and execution is not null;

delete from main.cloaca_task where queue = :queue;

delete from main.cloaca_dead_letter where queue = :queue;

delete from main.cloaca_task_history where queue = :queue;

delete from main.cloaca_finished_key where queue = :queue;

-- @include workflow/end_tasks

select task as dropped from main.cloaca_scratch;
