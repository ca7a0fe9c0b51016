-- @helper table_shape
--
-- All that makes the tables of a schema what they are, as lines of text that can be compared: kind, columns, constraints, indexes,
-- and whatever would run code when they are used (triggers, rules, policies, statistics on expressions). Names of constraints and
-- indexes and the order of columns do not matter.
create function cloaca.table_shape(schema_name text, tables text[] default null) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with relation as (
        select c.*, a.amname from pg_class c
        join pg_namespace n on n.oid = c.relnamespace and n.nspname = table_shape.schema_name
        left join pg_am a on a.oid = c.relam
        where c.relkind in ('r', 'p', 'f', 'v', 'm') and (tables is null or c.relname = any (tables))
    ), line (oid, line) as (
        select oid, concat_ws(' ', 'is', relkind, relpersistence, amname,
            case when relrowsecurity or relforcerowsecurity then 'with row security' end, case when reloftype <> 0 then 'of a type' end)
        from relation
        union all
        select r.oid, concat_ws(' ', 'has column', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
            case when a.attnotnull then 'not null' end, nullif(a.attcollation, 0)::regcollation::text,
            nullif(a.attidentity, ''), nullif(a.attgenerated, ''), 'default ' || pg_get_expr(d.adbin, d.adrelid))
        from relation r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
        left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
        union all
        select r.oid, 'has constraint ' || replace(pg_get_constraintdef(k.oid), quote_ident(table_shape.schema_name) || '.', '')
        from relation r join pg_constraint k on k.conrelid = r.oid
        union all
        select r.oid, concat_ws(' ', 'has index', case when i.indisunique then 'unique' end,
            case when i.indisprimary then 'primary' end, case when not (i.indisvalid and i.indisready) then 'invalid' end, (select amname from pg_am where oid = c.relam),
            array(select pg_get_indexdef(i.indexrelid, p, false) from generate_series(1, i.indnatts::integer) p),
            i.indclass, i.indcollation, i.indoption, pg_get_expr(i.indexprs, i.indrelid),
            'where ' || pg_get_expr(i.indpred, i.indrelid))
        from relation r join pg_index i on i.indrelid = r.oid join pg_class c on c.oid = i.indexrelid
        union all
        select r.oid, concat_ws(' ', 'has trigger', t.tgfoid::regprocedure::text,
            replace(pg_get_constraintdef(nullif(t.tgconstraint, 0)), quote_ident(table_shape.schema_name) || '.', ''))
        from relation r join pg_trigger t on t.tgrelid = r.oid
        union all
        select r.oid, 'has rule ' || quote_ident(w.rulename) from relation r join pg_rewrite w on w.ev_class = r.oid
        union all
        select r.oid, 'has policy ' || quote_ident(p.polname) from relation r join pg_policy p on p.polrelid = r.oid
        union all
        select r.oid, 'has statistics ' || quote_ident(s.stxname) from relation r join pg_statistic_ext s on s.stxrelid = r.oid
        union all
        select r.oid, 'has inheritance' from relation r
        where exists (select from pg_inherits h where r.oid in (h.inhrelid, h.inhparent))
    )
    select format('%I %s', r.relname, l.line) from line l join relation r on r.oid = l.oid
$$;
