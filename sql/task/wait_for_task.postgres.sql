-- @function wait_for_task(queues text[] = '{default}', timeout interval = null) -> ready boolean
--
-- Waits until one of the queues has a task that a claim would get. It takes no task: claim does, and another worker may be faster.
-- While it waits it holds no snapshot and no lock. With cloaca in shared_preload_libraries it sleeps until a commit, or the time,
-- makes a task claimable, and a commit wakes no more sessions than there are tasks for; otherwise it looks every
-- cloaca.poll_interval. A queue that is paused, or that nobody knows, has nothing to claim. On PostgreSQL it is a procedure:
-- call cloaca.wait_for_task('{mail,fax}', '1 minute'). It commits while it waits, so it cannot run inside a transaction block.
--
-- queues: the queues, 1 to 1,000
-- timeout: how long to wait at most, 0 to 10 years; null for no end
-- Returns: true as soon as there is a task, false when the timeout is over
-- Errors: invalid_argument, invalid_name, in_transaction
-- Writes: nothing
create procedure cloaca.wait_for_task(queues text[] default '{default}', timeout interval default null,
    inout ready boolean default null)
language c
as 'MODULE_PATHNAME', 'cloaca_wait_for_task';
