-- @helper lease_error
--
-- What the history of attempts says of a lease that ended: that it was the task's time that was over, or the lease alone.
create function cloaca.lease_error(lease_until timestamptz, task_end timestamptz) returns text
language sql immutable
return case when lease_until >= task_end then 'timed out' else 'lease expired' end;
