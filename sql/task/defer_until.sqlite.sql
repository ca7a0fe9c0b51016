-- @function defer_until(task bigint, lease_id bigint, run_at timestamptz) -> void
--
-- The attempt does not count.

-- @raise invalid_argument
select detail from (select case
    when :run_at is null or :run_at not between -62135596800000000 and 253402300799999999
        then 'The run_at must be a time between the years 1 and 9999.'
    end as detail)
where detail is not null;

-- @include task/refuse_lease

insert into main.cloaca_execution_event (execution, task, at, attempt, state, worker)
select execution, id, :now, attempt, 'deferred', worker from main.cloaca_task where id = :task and execution is not null;

update main.cloaca_task set lease_id = null, lease_until = null, worker = null, claimed_at = null, attempt = attempt - 1,
    run_at = :run_at
where id = :task;

-- @include workflow/hold_task
