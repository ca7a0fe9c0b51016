-- @helper refuse_transaction
--
-- Without the library nothing can tell beforehand: inside a transaction block the first commit raises
-- invalid_transaction_termination, and nothing is changed.
create function cloaca.refuse_transaction() returns void
language sql volatile
return null;
