-- @helper refuse_transaction
--
-- Raises in_transaction inside a transaction block, for a procedure that is to commit.
create function cloaca.refuse_transaction() returns void
language c volatile
as 'MODULE_PATHNAME', 'cloaca_refuse_transaction';
