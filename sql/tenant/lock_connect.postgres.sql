-- @helper lock_connect
--
-- Waits until nobody else is about to change who may connect to this database, and keeps others waiting until the transaction ends.
-- All those grants are in one row of the catalogue, and of two who change it at once the server lets one fail. The lock, on the
-- registry, keeps no one from reading or writing that.
create function cloaca.lock_connect() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    lock table cloaca.tenant in share update exclusive mode;
end
$$;
