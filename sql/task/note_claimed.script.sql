-- @helper note_claimed
--
-- Without the library nobody sleeps, and leases run out.
create function cloaca.note_claimed(tenant text, queue text, priority smallint, run_at timestamptz, task bigint, lease_id bigint,
    lease_until timestamptz)
returns void
language sql volatile
return null;
