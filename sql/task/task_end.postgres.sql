-- @helper task_end
--
-- When an attempt that began at claimed_at has to end; null for a task that has all the time.
create function cloaca.task_end(claimed_at timestamptz, timeout interval, deadline timestamptz) returns timestamptz
language sql immutable
return least(claimed_at + timeout, deadline);
