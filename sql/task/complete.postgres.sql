-- @function complete(task bigint, lease_id bigint, result jsonb = null) -> void
--
-- Ends a task as done, in the caller's transaction. The live row goes; where the queue has a retention, history keeps it.
-- Repeating a complete whose reply was lost succeeds while history has it.
--
-- task: the task's id
-- lease_id: the lease, as claim returned it
-- result: what came of it, a JSON document of at most 64 MiB, or null
-- Returns: nothing
-- Errors: invalid_argument, lease_lost, cancelled
-- Writes: cloaca_task, cloaca_task_history, cloaca_finished_key
create function cloaca.complete(task bigint, lease_id bigint, result jsonb default null) returns void
language c volatile
as 'MODULE_PATHNAME', 'cloaca_complete';
