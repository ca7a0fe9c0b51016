-- @helper check_droppable
--
-- Says what stops a tenant from being dropped, before anything of it is touched.
--
-- Errors: tenant_in_use, insufficient_privilege
create function cloaca.check_droppable(tenant cloaca.tenant) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    obstacles text[];
begin
    if exists (select from pg_roles where rolname = tenant.username) then
        perform cloaca.check_role(tenant.username);
        if exists (select from pg_stat_activity a where a.pid = pg_backend_pid() and a.usename = tenant.username) then
            perform cloaca.raise_condition('tenant_in_use', 'This session is the tenant''s own.');
        end if;
    end if;

    select array_agg(format('Role "%s" has objects in database "%s".', r.rolname, d.datname) order by r.rolname, d.datname)
    into obstacles
    from (select distinct s.refobjid, s.dbid from pg_shdepend s where s.refclassid = 'pg_authid'::regclass) s
    join pg_roles r on r.oid = s.refobjid and r.rolname in (tenant.username, tenant.owner)
    join pg_database d on d.oid = s.dbid and d.datname <> current_database();
    if obstacles is null then
        select array_agg(format('Role "%s" owns the %s.', r.rolname, pg_describe_object(s.classid, s.objid, 0))) into obstacles
        from pg_shdepend s join pg_roles r on r.oid = s.refobjid and r.rolname in (tenant.username, tenant.owner)
        where s.refclassid = 'pg_authid'::regclass and s.dbid = 0 and s.deptype = 'o';
    end if;
    if obstacles is null then
        select array_agg(format('Prepared transaction "%s" of role "%s" is open.', p.gid, p.owner)) into obstacles
        from pg_prepared_xacts p where p.owner = tenant.username;
    end if;
    if obstacles is null then
        select array_agg(format('The %s of another role depends on it.', f.object)) into obstacles
        from cloaca.foreign_dependents(tenant.schema_name, tenant.username) f (object);
    end if;
    if obstacles is not null then
        perform cloaca.raise_condition('tenant_in_use', array_to_string(obstacles[1:5], ' ')
            || case when cardinality(obstacles) > 5 then format(' And %s more.', cardinality(obstacles) - 5) else '' end);
    end if;
end
$$;
