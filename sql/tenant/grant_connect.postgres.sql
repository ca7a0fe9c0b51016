-- @helper grant_connect
--
-- Lets a role connect to this database, also when PUBLIC may not (harden). An owner that may not grant it, as on some managed
-- servers, leaves that to the DBA; tenant_status tells when a tenant cannot connect.
create function cloaca.grant_connect(role text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if has_database_privilege(current_database(), 'connect with grant option') then
        perform cloaca.lock_connect();
        execute format('grant connect on database %I to %I', current_database(), grant_connect.role);
    end if;
end
$$;
