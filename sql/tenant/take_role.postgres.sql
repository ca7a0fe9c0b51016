-- @helper take_role
--
-- Makes the current user a member of a role that it has just created, so that it can own, grant and drop for it. A superuser
-- needs no membership; the owner of a library-free install does, and from version 16 on creating a role does not bring it.
create function cloaca.take_role(role text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if not pg_has_role(take_role.role, 'usage') then
        execute format('grant %I to current_user', take_role.role)
            || case when current_setting('server_version_num')::integer >= 160000 then ' with inherit true, set true' else '' end;
    end if;
end
$$;
