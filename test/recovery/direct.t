#!/usr/bin/perl
# The direct path among everything else that may happen to a table: a session that lives long, vacuum, DDL and TRUNCATE at any moment,
# logical decoding, standbys. It leaks nothing, its tables stay sound, and others see in the WAL what SQL would have left there.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use dialogue;
use recovery;
use standby;
use POSIX ();
use Test::More;

recovery::under_cluster(
    map { ('--conf', $_) } 'wal_level = logical', 'autovacuum = off', 'autovacuum_naptime = 1s', 'wal_sender_timeout = 0', 'wal_receiver_timeout = 0'
);
$recovery::folder = File::Temp::tempdir('cloaca-recovery-XXXXXX', DIR => '/tmp', CLEANUP => 1);
my $url = recovery::postgres_url();
my $task_table = recovery::table($url, 'task');
my %fed;    # processes that feed a psql, by their ids

END {
    kill 'TERM', keys %fed if %fed;
}

recovery::must($url, $_) for 'create extension cloaca', 'create extension amcheck', 'create table memory (calls bigint, bytes bigint)';
long_sessions();
recovery::must($url, $_) for 'alter system set autovacuum = on', 'select pg_reload_conf()';
decoding();
no_replica_identity();
subscriber();
my $standby = standby::start();
changing_tables();
same_on_standby();
quiet_log();
done_testing();

# ----------------------------------------------------------------------------------------------------------------- memory

# Calls at the top level of a session, and calls in transactions of a procedure, with errors among them. Without autovacuum, after which
# sessions read the catalogue anew: the slower they are the more often.
sub long_sessions {
    my $measure = 'insert into memory select cloaca.direct_calls(), sum(total_bytes) from pg_backend_memory_contexts';
    my $script = "$recovery::folder/calls.sql";
    open my $handle, '>', $script or die;
    print $handle <<"END";
\\set n :n + 1
select cloaca.enqueue('task', '{"a": 1}', 'calls');
select task, lease_id from cloaca.claim('calls', 'worker') \\gset
select cloaca.extend(:task, :lease_id);
select cloaca.complete(:task, :lease_id);
select cloaca.claim('nothing');
\\if :n = 300 or :n = 4000
$measure;
\\endif
END
    close $handle or die;
    is(system("$ENV{CLOACA_PGBIN}/pgbench -n -M prepared -D n=0 -c 1 -t 4000 -f $script >$recovery::folder/calls.out 2>&1"), 0,
        'memory: calls at the top level') or diag(recovery::read_file("$recovery::folder/calls.out"));
    grows_no('at the top level', 19_000);

    recovery::must($url, <<'END');
create procedure many_calls(rounds integer) language plpgsql as $$
declare
    t record;
begin
    for round in 1 .. rounds loop
        perform from cloaca.enqueue('task', queue => 'calls');
        perform from cloaca.enqueue_many('task', array['1', '2', '3']::jsonb[], queue => 'calls');
        for t in select * from cloaca.claim('calls', 'worker', 2) loop
            perform from cloaca.extend(t.task, t.lease_id, '1 minute');
            perform cloaca.complete(t.task, t.lease_id);
        end loop;
        perform from (select array_agg(c.task) tasks, array_agg(c.lease_id) leases from cloaca.claim('calls', max => 10) c) c,
            cloaca.complete_many(tasks, leases);
        begin
            perform from cloaca.claim('calls');
            perform from cloaca.enqueue('task', queue => 'calls');
            raise division_by_zero;
        exception when division_by_zero then
            null;
        end;
        if round % 50 = 0 then
            begin
                perform cloaca.complete(t.task, t.lease_id);
            exception when sqlstate 'ZC009' then
                null;
            end;
            commit;
        end if;
        -- By a tenth of them every statement has been executed often enough to have the plan that it keeps.
        if round in (rounds / 10, rounds) then
            insert into memory select cloaca.direct_calls(), sum(total_bytes) from pg_backend_memory_contexts;
        end if;
    end loop;
end $$
END
    recovery::must($url, $_) for 'truncate memory', 'call many_calls(18000)';
    grows_no('in a procedure', 180_000);
}

sub grows_no {
    my ($where, $calls) = @_;
    my ($count, $growth, $bytes) = split /\|/, recovery::must($url, 'select max(calls), max(bytes) - min(bytes), min(bytes) from memory');
    cmp_ok($count, '>', $calls, "memory: calls $where take the direct path");
    cmp_ok($growth, '<', 256 * 1024, "memory: none is left behind $where");
    note("$count calls, $bytes bytes and $growth more");
}

# -------------------------------------------------------------------------------------------------------------------- WAL

# What the WAL tells others is the same as from SQL.
sub decoding {
    my %decoded;
    recovery::must($url, "select pg_create_logical_replication_slot('looker', 'test_decoding')");
    for my $direct ('on', 'off') {
        my $session = dialogue->new($url, 'cloaca.direct' => $direct);
        work($session, "decoded_$direct");
        my $changes = recovery::must($url, "select data from pg_logical_slot_get_changes('looker', null, null, 'include-xids', '0',
            'skip-empty-xacts', '1')");
        # Values that are never the same.
        $changes =~ s/decoded_\w+/decoded/g;
        $changes =~ s/((?:id|lease_id)\[bigint\]):-?\d+/$1/g;
        $changes =~ s/((?:run_at|enqueued_at|claimed_at|lease_until)\[timestamp with time zone\]):'[^']*'/$1/g;
        # In whatever order within a transaction.
        $decoded{$direct} = join "COMMIT\n", map { join "\n", sort split /\n/ } split /^COMMIT\n?/m, $changes;
        $session->close;
    }
    my %count;
    $count{$1}++ while $decoded{on} =~ /^table cloaca_default.cloaca_task: (\w+):/mg;
    is_deeply(\%count, { INSERT => 5, UPDATE => 8, DELETE => 4 }, 'decoding: every change is there');
    is($decoded{on}, $decoded{off}, 'decoding: as if SQL had done it');
    recovery::must($url, "select pg_drop_replication_slot('looker')");
}

# Each of the functions, with a rollback among them: 5 tasks, 5 claims and 3 extensions, 4 completions.
sub work {
    my ($session, $queue) = @_;
    my $held = "select array_agg(id order by id) tasks, array_agg(lease_id order by id) leases from $task_table where queue = '$queue' and lease_id is not null";
    $session->ask($_) for "select cloaca.enqueue('task', '{\"a\": [1, 2]}', '$queue', 3)",
        "select cloaca.enqueue_many('task', array['1', '2', '3', '4']::jsonb[], '$queue')",
        "begin; select cloaca.enqueue('task', queue => '$queue'); rollback",
        "begin; savepoint s; select cloaca.claim('$queue', 'gone'); rollback to s; select cloaca.claim('$queue', 'worker'); commit",
        "select cloaca.claim('$queue', 'worker', 4)",
        "select cloaca.extend(tasks[n], leases[n]) from ($held) h, generate_series(1, 3) n",
        "select cloaca.complete(tasks[1], leases[1]) from ($held) h",
        "begin; select cloaca.complete(tasks[1], leases[1]) from ($held) h; rollback",
        "select cloaca.complete_many(tasks[1:3], leases[1:3]) from ($held) h";
}

# A table that is published, but whose rows nobody could name.
sub no_replica_identity {
    my %said;
    my $session = dialogue->new($url);
    $session->ask("select cloaca.enqueue_many('task', array['1', '2']::jsonb[], queue => 'nameless')");
    my $lease = $session->ask("select task || ', ' || lease_id from cloaca.claim('nameless')");
    $session->ask("create publication everything for table $task_table; alter table $task_table replica identity nothing");
    for my $direct ('on', 'off') {
        $session->ask("set cloaca.direct = $direct");
        $said{$direct} = join "\n", map { $session->ask("select $_") } "cloaca.claim('nameless')", "cloaca.complete($lease)",
            "cloaca.extend($lease)", "cloaca.complete_many(array[split_part('$lease', ', ', 1)::bigint], array[split_part('$lease', ', ', 2)::bigint])",
            "count(*) from cloaca.enqueue('task', queue => 'nameless')";
    }
    like($said{on}, qr/^ERROR: +cannot update table "cloaca_task" because it does not have a replica identity and publishes updates\n/,
        'no replica identity: a claim says why it cannot');
    is($said{on}, $said{off}, 'no replica identity: the same errors as from SQL');
    $session->ask("drop publication everything; alter table $task_table replica identity default; truncate $task_table");
    $session->close;
}

# Another database that applies the changes has the same rows in the end.
sub subscriber {
    my $replica = $url =~ s{///\w+}{///replica}r;
    recovery::must($url, 'create database replica');
    recovery::must($replica, $_) for 'create extension cloaca', "select cloaca.set_queue('any')";
    recovery::must($url, $_) for "create publication tasks for table $task_table",
        "select pg_create_logical_replication_slot('replica', 'pgoutput')";
    recovery::must($replica, "create subscription replica connection 'host=$ENV{PGHOST} port=$ENV{PGPORT} user=postgres dbname=postgres'
        publication tasks with (create_slot = false, slot_name = 'replica', copy_data = false)");
    for my $identity ('default', 'full') {
        recovery::must($_, "alter table $task_table replica identity $identity") for $url, $replica;
        my $session = dialogue->new($url);
        work($session, "$identity$_") for 1 .. 20;
        $session->ask("select cloaca.enqueue_many('task', array_fill(to_jsonb(repeat('x', 3000)), array[50]), '$identity')");
        $session->ask("select cloaca.claim('$identity', 'worker', 30)");
        $session->close;
        is(eventually($replica, rows()), recovery::must($url, rows()), "subscriber: replica identity $identity: the same rows");
    }
    recovery::must($replica, 'drop subscription replica');
    recovery::must($url, $_) for 'drop publication tasks', "alter table $task_table replica identity default";
}

sub rows {
    return "select count(*), md5(string_agg(t::text, ' ' order by id)) from $task_table t";
}

# The answer of a server that follows, as soon as it is that of the first one.
sub eventually {
    my ($follower, $query) = @_;
    my $answer;
    recovery::comes(sub { ($answer = recovery::must($follower, $query)) eq recovery::must($url, $query) });
    return $answer;
}

# -------------------------------------------------------------------------------------------------------------------- DDL

# Sessions that claim, complete and enqueue all the time, while others do with their tables what owners and administrators do.
sub changing_tables {
    my %expected = (
        plain => qr/unknown tenant|permission denied for (?:table|schema)|new row violates row-level security policy/,
        again => qr/unknown tenant|relation "again.cloaca_\w+" does not exist/,
    );
    recovery::must($url, $_) for 'create role plain', "select cloaca.grant_tenant('cloaca_default', 'plain')",
        "select cloaca.create_tenant('again', 'again_user')",
        q{create function nothing() returns trigger language plpgsql as 'begin return new; end'};
    my @workers = map { worker(@$_) } ['plain', 'set role plain'], ['plain', 'reset role'], (['again', "set cloaca.tenant = 'again'"]) x 2;
    my (@administrators, @idle);
    for (1 .. 20) {
        my @at_work = (administrator(plain_changes()), administrator(tenant_changes()));
        $_->{end}->() for @at_work;
        push @administrators, @at_work;
        @idle = grep { completed($_) <= 20 } @workers;
        last if !@idle;
    }
    is(@idle, 0, 'DDL: every worker completes tasks');
    $_->{end}->() for @workers;
    recovery::must($url, 'drop index if exists cloaca_default.more');
    for my $worker (@workers) {
        my @said = split /\n/, recovery::read_file($worker->{file});
        my @strange = grep { /ERROR|FATAL|WARNING|server closed/ && !/lease lost|deadlock detected|current transaction is aborted|savepoint "s" does not/ } @said;
        @strange = grep { !/$expected{ $worker->{kind} }/ } @strange;
        my %strange = map { $_ => 1 } @strange;
        is_deeply([sort keys %strange], [], 'DDL: a worker meets no error that it need not');
        note(completed($worker) . ' tasks, ' . scalar(grep { /ERROR/ } @said) . ' errors');
    }
    for my $administrator (@administrators) {
        my @strange = grep { !/deadlock detected|tenant is in use/ } split /\n/, recovery::read_file($administrator->{file});
        is_deeply(\@strange, [], 'DDL: the administrators succeed');
    }
    sound($url, 'DDL');
    my $session = dialogue->new($url);
    my $before = $session->ask('select cloaca.direct_calls()');
    $session->ask("select cloaca.claim('work')");
    is($session->ask('select cloaca.direct_calls()'), $before + 1, 'DDL: the direct path serves again');
    $session->close;
}

sub completed {
    my ($worker) = @_;
    return scalar grep { $_ eq 'completed' } split /\n/, recovery::read_file($worker->{file});
}

# Any of them may fail by a deadlock, and the next one must get over that.
sub plain_changes {
    return map { s/TABLE/$task_table/r } 'vacuum TABLE', 'vacuum full TABLE', 'create index concurrently if not exists more on TABLE (name)',
        'drop index concurrently if exists cloaca_default.more', 'reindex table concurrently TABLE', 'truncate TABLE', 'cluster TABLE using cloaca_task_claim',
        'alter table TABLE set (fillfactor = 90)', 'alter table TABLE reset (fillfactor)', 'revoke update on TABLE from plain',
        'grant update on TABLE to plain', 'revoke usage on schema cloaca_default from plain', 'grant usage on schema cloaca_default to plain',
        'create or replace trigger t before update on TABLE for each row execute function nothing()', 'drop trigger if exists t on TABLE',
        'alter table TABLE enable row level security', 'alter table TABLE disable row level security',
        "select cloaca.set_queue('work', retention => '1 day')", "select cloaca.set_queue('work', retention => '0')", 'analyze TABLE',
        'alter table TABLE set unlogged', 'alter table TABLE set logged', "select cloaca.run_maintenance()";
}

sub tenant_changes {
    return 'alter table again.cloaca_task add column if not exists more integer', 'vacuum full again.cloaca_task',
        'alter table again.cloaca_task drop column if exists more', "call cloaca.drop_tenant_all('again')",
        "select cloaca.create_tenant('again', 'again_user') where not exists (select from cloaca.tenant where schema_name = 'again')",
        'truncate again.cloaca_task restart identity', 'select pg_sleep(0.3)';
}

# A psql that is fed with calls for as long as its `end` is not called; errors do not stop it.
sub worker {
    my ($kind, $setting) = @_;
    my $calls = <<'END';
select task, lease_id from cloaca.claim('work', 'worker') \gset
select cloaca.extend(:task, :lease_id);
select 'completed' from cloaca.complete(:task, :lease_id);
select outcome from (select array_agg(task) tasks, array_agg(lease_id) leases from cloaca.claim('work', max => 5)) c, cloaca.complete_many(tasks, leases) where tasks is not null;
select from cloaca.enqueue('task', '{"a": 1}', 'work');
select from cloaca.enqueue_many('task', array['1', '2', '3']::jsonb[], 'work');
begin;
select task, lease_id from cloaca.claim('work', 'worker') \gset
savepoint s;
select cloaca.complete(:task, :lease_id);
rollback to s;
commit;
select cloaca.release(:task, :lease_id);
END
    return feed($kind, "\\set task 0\n\\set lease_id 0\n$setting;\n", sub { $calls });
}

# Makes each of the changes a few times, one after the other.
sub administrator {
    my @changes = map { "$_;\n" } @_;
    my $left = ($ENV{DDL_ROUNDS} || 3) * @changes;
    my $settings = "\\o /dev/null\nset lock_timeout = '120s';\nset client_min_messages = warning;\n";
    return feed('administrator', $settings, sub { $left-- > 0 ? $changes[-1 - $left % @changes] : undef });
}

# A process that writes to a psql what it is given, block by block, until there is no more or, with workers, `end` is called.
sub feed {
    my ($kind, $first, $next) = @_;
    my $file = "$recovery::folder/$kind" . ++our $files;
    my $flag = "$file.stop";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        $SIG{PIPE} = 'IGNORE';
        open my $psql, '|-', "exec psql -X -A -t -q -v VERBOSITY=terse '$url' >$file 2>&1" or POSIX::_exit(1);
        syswrite $psql, $first;
        while (!-e $flag) {
            my $block = $next->() // last;
            syswrite $psql, $block or last;
        }
        close $psql;
        POSIX::_exit(0);
    }
    $fed{$pid} = 1;
    my $end = sub {
        if ($kind ne 'administrator') {
            open my $handle, '>', $flag or die "$flag: $!\n";
        }
        waitpid $pid, 0;
        delete $fed{$pid};
    };
    return { kind => $kind, file => $file, end => $end };
}

# Table and indexes agree, and no page is damaged.
sub sound {
    my ($where, $what) = @_;
    my @problems = split /\n/, recovery::must($where, "select i.indexrelid::regclass || coalesce(bt_index_check(i.indexrelid, true)::text, '')
        from pg_index i where i.indrelid = '$task_table'::regclass");
    is(scalar @problems, 3, "$what: the indexes are sound");
    is(recovery::must($where, "select * from verify_heapam('$task_table')"), '', "$what: the table is sound");
    my @counts = map { recovery::must($where, "set enable_seqscan = $_->[0]; set enable_indexscan = $_->[1]; set enable_indexonlyscan = $_->[1];
        select count(*), md5(string_agg(id::text, ' ' order by id)) from $task_table where id > 0") } ['on', 'off'], ['off', 'on'];
    is($counts[0], $counts[1], "$what: through the index there are the same rows");
}

# ---------------------------------------------------------------------------------------------------------------- standby

sub same_on_standby {
    my $session = dialogue->new($url);
    work($session, "followed$_") for 1 .. 50;
    $session->close;
    ok(standby::wait_for($url, $standby), 'standby: it follows');
    is(eventually($standby, rows()), recovery::must($url, rows()), 'standby: the same rows');
    sound($standby, 'standby');
    like(recovery::must($standby, 'select count(*) from cloaca.list_tasks()'), qr/^[1-9]/, 'standby: tasks can be listed');
}

# What PostgreSQL says of resources that were not given back, and of what should not be.
sub quiet_log {
    # That autovacuum is started late says how slow the machine is.
    my @said = grep { !/worker took too long to start/ && /WARNING|PANIC|TRAP|not closed|leak|still (?:active|referenced)|cache lookup failed|unexpected|corrupt/ }
        split /\n/, recovery::read_file($ENV{CLOACA_PGLOG}) . standby::log_text();
    is_deeply(\@said, [], 'the log has nothing to complain about');
}
