-- @helper advance_later
--
-- Has cloaca.advance(tenant, tasks, at) run just before the transaction commits, with the rights of the caller: so the rows that several
-- completions count down are locked for as long as a commit takes, not for the rest of a long transaction, and in one order.
create function cloaca.advance_later(tenant text, tasks bigint[], at timestamptz) returns void
language c volatile strict
as 'MODULE_PATHNAME', 'cloaca_advance_later';
