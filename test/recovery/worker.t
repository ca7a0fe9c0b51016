#!/usr/bin/perl
# The background worker: it does maintenance when it is due, though nobody calls it, and survives what may happen to tenants, databases
# and servers. It looks by itself once an hour here, so that what it does in time is what it was told of.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use dialogue;
use recovery;
use sessions;
use standby;
use Test::More;
use Time::HiRes qw(time);

recovery::under_cluster('--preload', map { ('--conf', $_) } 'cloaca.background_worker = on', 'cloaca.maintenance_interval = 1h',
    'max_worker_processes = 12');
recovery::build();
my $url = recovery::postgres_url();
my $log = $ENV{CLOACA_PGLOG};
my $worker = "select pid from pg_stat_activity where backend_type = 'cloaca worker' and datname = current_database()";

# Whether something comes true.
sub comes {
    my ($query, $name, $where) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $answer = '';
    recovery::comes(sub { ($answer = recovery::ask($where // $url, $query) // '') eq 't' });
    return is($answer, 't', $name);
}

# Whether a statement that others may be in the way of succeeds, again and again where they have too little time to go.
sub succeeds {
    my ($statement, $name, $role) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    local $ENV{PGOPTIONS} = "-c role=$role" if $role;
    return ok(recovery::comes(sub { defined recovery::ask($url, $statement) }), $name // $statement);
}

sub database {
    my ($name) = @_;
    return $url =~ s{///\w+}{///$name}r;
}

# How many lines of the log match.
sub lines {
    my ($pattern) = @_;
    return scalar grep { /$pattern/ } split /\n/, recovery::read_file($log);
}

sub is_asleep {
    return comes("select count(*) = 1 from pg_stat_activity where backend_type = 'cloaca worker' and datname = current_database()
        and wait_event = 'Extension' and state = 'idle'", $_[0] // 'the worker sleeps', $_[1]);
}

# A task whose only attempt ends with its lease, in so many milliseconds. No crash may take the claim with it.
sub doomed_task {
    my ($milliseconds, $where, $tenant) = @_;
    my $set = 'set cloaca.asynchronous_claims = off;' . ($tenant ? "set cloaca.tenant = '$tenant';" : '');
    recovery::must($where // $url, "$set select cloaca.enqueue('doomed', max_attempts => 1)");
    recovery::must($where // $url, "$set select count(*) from cloaca.claim(lease => interval '$milliseconds milliseconds')");
}

# One whose lease is long to everybody who was told of it, but ends in a few seconds.
sub secretly_doomed_task {
    doomed_task(3600_000);
    recovery::must($url, "update cloaca_default.cloaca_task set lease_until = clock_timestamp() + interval '3 seconds' where name = 'doomed'");
}

sub dead {
    my ($count, $schema) = @_;
    $schema //= 'cloaca_default';
    return "select count(*) = $count from $schema.cloaca_dead_letter";
}

recovery::must($url, 'create extension cloaca');
recovery::must($url, 'select cloaca.current_tenant()');

subtest 'a worker comes with the extension' => sub {
    is_asleep();
    is(recovery::must($url, 'select cloaca.has_worker()'), 't', 'has_worker says so');
    is(recovery::must($url, "select string_agg(backend_type || ', ' || application_name, '; ' order by backend_type)
        from pg_stat_activity where backend_type like 'cloaca%'"), 'cloaca launcher, cloaca launcher; cloaca worker, cloaca worker',
        'it and its launcher have names');
};

subtest 'a lease ends, and nobody calls' => sub {
    doomed_task(400);
    comes(dead(1), 'its task is a dead letter then');
    cmp_ok(recovery::must($url, 'select extract(epoch from failed_at - claimed_at) from cloaca_default.cloaca_dead_letter'), '>=', 0.4,
        'not before its time');
    comes("select cloaca.noted_lease('cloaca_default') = 'infinity'", 'and nothing is due any longer');

    recovery::must($url, "select cloaca.enqueue('long', max_attempts => 1)");
    recovery::must($url, "select count(*) from cloaca.claim(lease => '1 hour')");
    doomed_task(300);
    comes(dead(2), 'an earlier end wakes the worker from a longer sleep');
    recovery::must($url, "select cloaca.extend(id, lease_id, '200 milliseconds') from cloaca_default.cloaca_task");
    comes(dead(3), 'so does one that was made earlier');
};

subtest 'by SQL alone' => sub {
    recovery::must($url, "set cloaca.direct = off; select cloaca.enqueue('sql', max_attempts => 1)");
    recovery::must($url, "set cloaca.direct = off; select count(*) from cloaca.claim(lease => '200 milliseconds')");
    comes(dead(4), 'it is noted, too');
};

subtest 'what was rolled back is not due, what was prepared is when it is committed' => sub {
    recovery::must($url, "begin; select cloaca.note_due('cloaca_default', clock_timestamp() + interval '1 day'); rollback");
    recovery::must($url, "select cloaca.enqueue('prepared', max_attempts => 1)");
    recovery::must($url, "begin; select count(*) from cloaca.claim(lease => '1 millisecond'); prepare transaction 'claim'");
    recovery::must($url, "commit prepared 'claim'");
    comes(dead(5), 'a claim of a prepared transaction');
};

subtest 'history goes when its time is over' => sub {
    recovery::must($url, "select cloaca.set_queue('kept', retention => '300 milliseconds')");
    recovery::must($url, "select cloaca.enqueue('x', queue => 'kept')");
    recovery::must($url, "select count(cloaca.complete(task, lease_id)) from cloaca.claim('kept', lease => '1 hour')");
    # The worker looks, and sees when the time is over.
    recovery::must($url, "select cloaca.note_due('cloaca_default', clock_timestamp())");
    comes('select count(*) = 0 from cloaca_default.cloaca_task_history', 'without a call');
};

subtest 'the time of an execution is over' => sub {
    recovery::must($url, q{select cloaca.define_workflow('flow', '{"tasks": [{"name": "t"}]}')});
    recovery::must($url, "select cloaca.start_workflow('flow', timeout => '300 milliseconds')");
    comes("select state = 'failed' and error = 'timed out' from cloaca_default.cloaca_execution", 'it fails without a call');
};

subtest 'a schedule' => sub {
    recovery::must($url, "select cloaca.create_schedule('tick', cron => '* * * * * *', task => 'tick', queue => 'ticks')");
    comes("select count(*) >= 2 from cloaca_default.cloaca_task where name = 'tick'", 'fires, second by second, without a call');
    is(recovery::must($url, "select count(*) - count(distinct scheduled_at) from cloaca_default.cloaca_firing"), 0, 'each once');
    recovery::must($url, "select cloaca.delete_schedule('tick')");
    recovery::must($url, "select cloaca.drop_queue('ticks', force => true)");
};

subtest 'asleep' => sub {
    is_asleep();
    my ($pid) = recovery::must($url, $worker);
    # A turn that the tests before left to it may still come.
    comes("select backend_xmin is null and backend_xid is null and xact_start is null and not exists (select from pg_locks where pid = $pid)
        from pg_stat_activity where pid = $pid", 'it holds no snapshot, no transaction and no lock');
    # One that looks every second would never be quiet for two.
    my ($time, $writes) = (1, 1);
    for (1 .. 10) {
        my $before = cpu($pid);
        my $xid = recovery::must($url, 'select txid_snapshot_xmax(txid_current_snapshot())');
        recovery::must($url, 'select pg_sleep(2)');
        $time = cpu($pid) - $before;
        $writes = recovery::must($url, 'select txid_snapshot_xmax(txid_current_snapshot())') - $xid;
        last if !$time && !$writes;
    }
    is($time, 0, 'it takes no time of the processor');
    is($writes, 0, 'and writes nothing');
};

# User and system time of a process, in ticks.
sub cpu {
    my ($pid) = @_;
    my @fields = split ' ', recovery::read_file("/proc/$pid/stat") =~ s/.*\) //r;
    return $fields[11] + $fields[12];
}

subtest 'with nothing to do it writes nothing' => sub {
    configure('cloaca.maintenance_interval', '1s');
    is_asleep();
    # Autovacuum may write in between; so one quiet time of several is enough.
    my $is_quiet = 0;
    my $change = "select state_change from pg_stat_activity where pid = ($worker)";
    for (1 .. 10) {
        my $before = recovery::must($url, 'select txid_snapshot_xmax(txid_current_snapshot())');
        my $looked = recovery::must($url, $change);
        sessions::until_true($url, "select ($change) > '$looked'");
        $is_quiet = $before == recovery::must($url, 'select txid_snapshot_xmax(txid_current_snapshot())');
        last if $is_quiet;
    }
    ok($is_quiet, 'its own looks take no transaction id');
    configure('cloaca.maintenance_interval', '1h');
};

sub configure {
    my ($name, $value) = @_;
    recovery::must($url, "alter system set $name = '$value'");
    recovery::must($url, 'select pg_reload_conf()');
}

subtest 'tenants' => sub {
    recovery::must($url, "select cloaca.create_tenant(name, name) from unnest(array['anna', 'bert', 'carl']) name");
    doomed_task(300, $url, $_) for qw(anna bert carl);
    comes(dead(1, $_), "$_ has a dead letter") for qw(anna bert carl);

    # Maintenance of one fails: its table has not what it needs.
    recovery::must($url, 'alter table bert.cloaca_dead_letter rename column error to mistake');
    doomed_task(300, $url, $_) for qw(anna bert carl);
    comes(dead(2, $_), "$_ is served while another's maintenance fails") for qw(anna carl);
    is(recovery::must($url, dead(1, 'bert')), 't', 'that of the other does fail');
    ok(recovery::comes(sub { lines('maintenance of tenant "bert" failed: column "error"') }), 'which is in the log');
    cmp_ok(lines('maintenance of tenant "bert" failed'), '<=', 3, 'but not often');
    recovery::must($url, 'alter table bert.cloaca_dead_letter rename column mistake to error');
    recovery::must($url, "select cloaca.note_due('bert', clock_timestamp())");
    comes(dead(2, 'bert'), 'once it is mended, it is served again');

    # One holds a lock on its own tables for long.
    my $holder = dialogue->new($url);
    $holder->ask('begin; lock table anna.cloaca_task in exclusive mode');
    doomed_task(200, $url, 'carl');
    recovery::must($url, "select cloaca.note_due('anna', clock_timestamp())");
    comes(dead(3, 'carl'), 'who locks his tables keeps nobody else waiting');
    $holder->ask('rollback');
    $holder->close;

    # One is dropped, with work at hand.
    recovery::must($url, "set cloaca.tenant = 'anna'; select count(*) from cloaca.enqueue_many('x', array_fill('1'::jsonb, array[2000]), max_attempts => 1)");
    recovery::must($url, "set cloaca.tenant = 'anna'; select count(*) from cloaca.claim(max => 2000, lease => '1 millisecond')");
    succeeds("call cloaca.drop_tenant_all('anna')");
    doomed_task(200, $url, 'carl');
    comes(dead(4, 'carl'), 'a tenant that is dropped under work is no harm');
};

subtest 'as whom' => sub {
    # A trigger that only a superuser or the owner can plant; it may see whose rights the worker has.
    recovery::must($url, 'create table public.witness (who name, definer text); grant insert on public.witness to public');
    recovery::must($url, <<'END');
create function public.testify() returns trigger language plpgsql as $$
begin
    insert into public.witness values (current_user, current_setting('is_superuser'));
    begin
        execute 'create temp table planted ()';
        insert into public.witness values ('restricted operation', 'no');
    exception when insufficient_privilege then
        insert into public.witness values ('restricted operation', 'yes');
    end;
    return null;
end $$;
create trigger testify after insert on carl.cloaca_dead_letter for each row execute function public.testify();
END
    doomed_task(200, $url, 'carl');
    comes(dead(5, 'carl'), 'maintenance of a table with a trigger');
    is(recovery::must($url, "select count(*) from public.witness where who = (select owner from cloaca.tenant where schema_name = 'carl')"), 1,
        'runs as the owner of the tenant');
    is(recovery::must($url, "select definer from public.witness where who = 'restricted operation'"), 'yes', 'in a restricted context');
    recovery::must($url, 'drop trigger testify on carl.cloaca_dead_letter');
};

subtest 'databases' => sub {
    recovery::must($url, 'create database other');
    my $other = database('other');
    recovery::must($other, 'create extension cloaca');
    recovery::must($other, 'select cloaca.current_tenant()');
    is_asleep('a database that gets the extension later gets a worker', $other);
    doomed_task(200, $other);
    comes(dead(1), 'which works', $other);

    succeeds('create database copy template other', 'a database with a worker can be copied');
    my $copy = database('copy');
    is_asleep('the copy has one, too', $copy);
    is_asleep('and the template again', $other);

    succeeds('alter database copy rename to renamed', 'it can be renamed');
    is_asleep('and has a worker then', database('renamed'));

    is(recovery::ask($url, 'begin; drop database renamed'), undef, 'what fails');
    is_asleep('brings the worker back', database('renamed'));

    for my $name ('renamed', 'other') {
        succeeds("drop database $name", "database $name is dropped");
    }
    comes("select count(*) = 1 from pg_stat_activity where backend_type = 'cloaca worker'", 'and their workers are gone');

    recovery::must($url, 'create role landlord nologin');
    recovery::must($url, 'create database forced owner landlord');
    recovery::must(database('forced'), 'create extension cloaca');
    is_asleep('a database of another owner', database('forced'));
    succeeds('drop database forced with (force)', 'who drops it, by force', 'landlord');
    is(recovery::must($url, "select count(*) from pg_database where datname = 'forced'"), 0, 'which works');

    recovery::must(database('template1'), 'create extension cloaca');
    is(recovery::must($url, "select count(*) from pg_stat_activity where backend_type = 'cloaca worker' and datname = 'template1'"), 0,
        'a template that has the extension has no worker');
    succeeds('create database descendant', 'and can be copied');
    is_asleep('what is made from it has one', database('descendant'));
    recovery::must(database('template1'), 'drop extension cloaca');
    succeeds('drop database descendant');

    recovery::must($url, 'create database plain');
    comes("select count(*) = 1 from pg_stat_activity where backend_type = 'cloaca worker'", 'none stays without the extension');
    recovery::must(database('plain'), 'create extension cloaca');
    is_asleep('it comes with it', database('plain'));
    recovery::must(database('plain'), 'drop extension cloaca');
    comes("select count(*) = 1 from pg_stat_activity where backend_type = 'cloaca worker'", 'and goes with it');
    succeeds('drop database plain');
};

subtest 'settings of the database, and functions that change' => sub {
    local $ENV{PGOPTIONS} = join ' ', map { "-c $_" } 'default_transaction_read_only=off', 'default_transaction_isolation=read\\ committed',
        'cloaca.clock=', 'role=none';
    recovery::must($url, "alter database postgres set $_") for "default_transaction_isolation = 'serializable'", 'search_path = bert',
        'default_transaction_read_only = on', "cloaca.clock = '2020-01-01'", 'cloaca.tenant = bert', 'role = landlord';
    my $function = recovery::must($url, "select pg_get_functiondef('cloaca.trim_history'::regproc)");
    recovery::must($url, $function =~ s/^begin$/begin insert into public.witness values (tenant, 'trims');/mr);
    doomed_task(200, $url, 'carl');
    comes(dead(6, 'carl'), 'the worker that runs has no use for the new settings');
    comes("select count(*) > 0 from public.witness where definer = 'trims'", 'but calls the new function');
    recovery::must($url, "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'cloaca worker'");
    doomed_task(200, $url, 'carl');
    comes(dead(7, 'carl'), 'nor has one that starts with them');
    recovery::must($url, $function);
    recovery::must($url, 'alter database postgres reset all');
};

subtest 'the extension is updated' => sub {
    my $version = recovery::must($url, "select extversion from pg_extension where extname = 'cloaca'");
    my $next = "$version.next";
    recovery::must($url, 'create table public.firing (version text, at timestamptz); grant insert on public.firing to public');
    my $fires = recovery::must($url, "select pg_get_functiondef('cloaca.fire_due'::regproc)");
    my $tells = sub { $fires =~ s/^begin$/begin insert into public.firing values ('$_[0]', clock_timestamp());/mr };
    recovery::must($url, $tells->($version));
    # As one that changes the registry would.
    install("cloaca--$version--$next.sql", "lock table cloaca.tenant in access exclusive mode;\n" . $tells->($next) . ";\n");
    recovery::must($url, "select cloaca.create_schedule('tick', cron => '* * * * * *', task => 'tick', queue => 'ticks', catch_up => 'run_all')");
    my $fired = "select fired from cloaca_default.cloaca_schedule where name = 'tick'";
    comes("select ($fired) >= 1", 'a schedule fires');
    my @workers = recovery::must($url, $worker);
    my $look = sub {
        push @workers, recovery::must($url, $worker);
        return recovery::must($url, $fired);
    };

    my $session = dialogue->new($url);
    is($session->ask("begin; alter extension cloaca update to '$next'"), '', 'an update begins');
    sessions::until_true($url, "select count(*) = 1 from pg_stat_activity where pid = ($worker) and (state = 'idle' or wait_event_type = 'Lock')");
    my $before = $look->();
    my $end = time + 2.5;
    while (time < $end) {
        last if $look->() != $before;
        recovery::wait_ms(50);
    }
    is($look->(), $before, 'while it lasts nothing is fired');
    my $committing = $session->ask('select clock_timestamp()');
    $session->ask('commit');
    my $committed = $session->ask('select clock_timestamp()');
    comes("select ($fired) >= $before + 4", 'then the worker fires what is due, and what comes');
    $look->();
    is_deeply([grep { $_ ne $workers[0] } @workers], [], 'it is the same one, and never were there two');
    is(recovery::must($url, "select count(*) filter (where version = '$version' and at > '$committed'),
        count(*) filter (where version <> '$version' and at < '$committing'), count(*) filter (where version = '$next') > 0 from public.firing"), '0|0|t',
        'by the old functions before, and by the new ones after');
    is(recovery::must($url, "select count(*) from (select scheduled_at - lag(scheduled_at) over (order by scheduled_at) as step
        from cloaca.schedule_history('tick', max => 1000)) h where step <> '1 second'"), 0, 'every second once');
    is_asleep();
    recovery::must($url, "select cloaca.delete_schedule('tick')");
    recovery::must($url, "select cloaca.drop_queue('ticks', force => true)");
    recovery::must($url, $fires);
    recovery::must($url, 'drop table public.firing');
};

# An upgrade script, in the private copy of the installation.
sub install {
    my ($name, $script) = @_;
    my $program = $ENV{PG_CONFIG} || 'pg_config';
    chomp(my $folder = `$program --sharedir`);
    my $path = "$ENV{CLOACA_PGROOT}$folder/extension/$name";
    open my $file, '>', $path or die "$path: $!\n";
    print $file $script;
    close $file;
}

subtest 'the extension is made anew' => sub {
    recovery::must($url, 'drop extension cloaca; create extension cloaca');
    recovery::must($url, "select cloaca.adopt_tenant('cloaca_default', null)");
    is_asleep();
    doomed_task(200);
    comes(dead(6), 'and its worker works');
};

subtest 'more databases than workers' => sub {
    configure('cloaca.max_workers', 1);
    recovery::must($url, "create database $_") for qw(d1 d2);
    for my $name (qw(d1 d2)) {
        recovery::must(database($name), 'create extension cloaca');
        recovery::must(database($name), 'select cloaca.current_tenant()');
        doomed_task(100, database($name));
    }
    comes(dead(1), "the tasks of $_ end in time", database($_)) for qw(d1 d2);
    cmp_ok(recovery::must($url, "select count(*) from pg_stat_activity where backend_type = 'cloaca worker'"), '<=', 1, 'one at a time');
    doomed_task(100);
    comes(dead(7), 'and those of the first database');
    configure('cloaca.max_workers', 4);
    succeeds("drop database $_") for qw(d1 d2);
    is_asleep();
};

subtest 'off and on' => sub {
    configure('cloaca.background_worker', 'off');
    comes("select count(*) = 0 from pg_stat_activity where backend_type = 'cloaca worker'", 'switched off, it leaves');
    is(recovery::must($url, 'select cloaca.has_worker()'), 'f', 'and has_worker knows');
    doomed_task(1);
    recovery::wait_ms(300);
    is(recovery::must($url, dead(7)), 't', 'nobody does maintenance');
    configure('cloaca.background_worker', 'on');
    comes(dead(8), 'switched on, it does what is due');
};

subtest 'it is terminated' => sub {
    is_asleep();
    my $pid = recovery::must($url, $worker);
    recovery::must($url, "select pg_terminate_backend($pid)");
    doomed_task(200);
    comes(dead(9), 'another one takes over');
    recovery::must($url, "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'cloaca launcher'");
    comes("select count(*) = 1 from pg_stat_activity where backend_type = 'cloaca launcher'", 'the launcher comes back as well');
    recovery::must($url, "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'cloaca worker'");
    doomed_task(200);
    comes(dead(10), 'and starts workers');
};

subtest 'it is killed' => sub {
    is_asleep();
    my $pid = recovery::must($url, $worker);
    secretly_doomed_task();
    ok(recovery::crash($pid), 'SIGKILL');
    comes(dead(11), 'after the restart of all processes the lease that was claimed before ends');
};

subtest 'the server restarts' => sub {
    secretly_doomed_task();
    recovery::kill_postmaster();
    recovery::start_postmaster();
    comes(dead(12), 'a lease from before a crash of the server ends');
    is_asleep();
    secretly_doomed_task();
    my ($pid) = split /\n/, recovery::read_file("$ENV{CLOACA_PGDATA}/postmaster.pid");
    kill 'INT', $pid;
    ok(recovery::comes(sub { !kill 0, $pid }), 'the server stops though workers sleep');
    recovery::start_postmaster();
    comes(dead(13), 'and one from before a restart');
};

subtest 'a standby' => sub {
    my $standby = standby::start();
    doomed_task(1000);
    ok(standby::wait_for($url, $standby), 'follows');
    is(recovery::must($standby, "select count(*) from pg_stat_activity where backend_type like 'cloaca%'"), 0, 'it has neither launcher nor worker');
    configure('cloaca.background_worker', 'off');
    comes("select count(*) = 0 from pg_stat_activity where backend_type = 'cloaca worker'", 'the worker of the primary is off');
    doomed_task(1);
    ok(standby::wait_for($url, $standby), 'a task for the standby');
    my $count = recovery::must($standby, 'select count(*) from cloaca_default.cloaca_dead_letter');
    recovery::must($standby, 'select pg_promote(true, 300)');
    comes('select count(*) > ' . $count . ' from cloaca_default.cloaca_dead_letter', 'once it is promoted it does maintenance', $standby);
    configure('cloaca.background_worker', 'on');
};

subtest 'no free slot' => sub {
    recovery::must($url, 'alter system set max_worker_processes = 2');
    recovery::kill_postmaster();
    recovery::start_postmaster();
    sessions::until_true($url, "select count(*) = 1 from pg_stat_activity where backend_type = 'cloaca launcher'");
    recovery::comes(sub { lines('cloaca cannot start a worker') });
    is(lines('cloaca cannot start a worker'), 1, 'is one line in the log');
    doomed_task(1);
    is(recovery::must($url, 'select cloaca.has_worker()'), 'f', 'there is no worker');
    cmp_ok(recovery::must($url, 'select sum(dead) from cloaca.run_maintenance()'), '>=', 1, 'run_maintenance can be called');
};

done_testing();
