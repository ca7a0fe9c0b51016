-- @helper note_claimed
--
-- Tells the library that this session claimed a task: should the transaction roll back, whoever waits is woken, and the lease may be
-- one that ends with the session (cloaca.bind_leases).
create function cloaca.note_claimed(tenant text, queue text, priority smallint, run_at timestamptz, task bigint, lease_id bigint,
    lease_until timestamptz)
returns void
language c volatile
as 'MODULE_PATHNAME', 'cloaca_note_claimed_call';
