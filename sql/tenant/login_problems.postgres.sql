-- @helper login_problems
--
-- In what a tenant's login role may do more or less than it should, a sentence each.
create function cloaca.login_problems(schema_name text, username text) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with login as (
        select r.oid, r.rolname, r.rolcanlogin from pg_roles r where r.rolname = login_problems.username
    )
    select format('Role "%s" cannot log in.', l.rolname) from login l where not l.rolcanlogin
    union all
    select format('Role "%s" is, or is a member of, the privileged role "%s".', l.rolname, r.rolname)
    from login l join pg_roles r on pg_has_role(l.oid, r.oid, 'member')
    where (r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls or r.rolname ~ '^pg_')
    union all
    select format('Role "%s" may not connect to database "%s".', l.rolname, current_database())
    from login l where not has_database_privilege(l.oid, current_database(), 'connect')
    union all
    select format('Role "%s" has no %s on schema "%s".', l.rolname, p.privilege, login_problems.schema_name)
    from login l cross join (values ('USAGE'), ('CREATE')) p (privilege)
    where not has_schema_privilege(l.oid, to_regnamespace(quote_ident(login_problems.schema_name)), p.privilege)
    union all
    select format('Role "%s" has no %s on "%s".', l.rolname, p.privilege, c.relname)
    from login l cross join (values ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) p (privilege)
    join pg_namespace n on n.nspname = login_problems.schema_name
    join pg_class c on c.relnamespace = n.oid and c.relkind = 'r' and c.relowner = n.nspowner
    where not has_table_privilege(l.oid, c.oid, p.privilege)
    union all
    select format('The search_path of role "%s" is not its schema.', l.rolname)
    from login l where not exists (select from pg_db_role_setting s cross join unnest(s.setconfig) c (item)
        where s.setrole = l.oid and s.setdatabase = 0 and c.item = 'search_path=' || quote_ident(login_problems.schema_name))
    union all
    select format('New functions of role "%s" are executable by PUBLIC.', l.rolname)
    from login l where not exists (select from pg_default_acl d
        where d.defaclrole = l.oid and d.defaclnamespace = 0 and d.defaclobjtype = 'f'
            and not exists (select from aclexplode(d.defaclacl) a where a.grantee = 0))
$$;
