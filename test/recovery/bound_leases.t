#!/usr/bin/perl
# Leases that end with the session (cloaca.bind_leases): however it ends, what it had claimed is another's within milliseconds. On the
# direct path and by SQL.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use sessions;
use Test::More;
use Time::HiRes qw(time);

recovery::under_cluster('--preload', '--conf', 'cloaca.repair_interval = 1h');
recovery::build();
my $url = recovery::postgres_url();
my $soon = 5000;
my $claim = 'select count(*) from cloaca.claim(max => 3)';
my $nap = 'select from pg_sleep(1000)';
my $leased = 'select count(*) from cloaca_default.cloaca_task where lease_until > clock_timestamp()';
my $held = "select count(*) > 0 from cloaca_default.cloaca_task where lease_until > clock_timestamp()";
my $log = $ENV{CLOACA_PGLOG};

recovery::must($url, 'create extension cloaca');
recovery::must($url, 'select cloaca.current_tenant()');

for my $direct ('on', 'off') {
    my %bound = (PGOPTIONS => "-c cloaca.direct=$direct -c cloaca.bind_leases=on");
    my %free = (PGOPTIONS => "-c cloaca.direct=$direct");

    subtest "direct $direct: the client is killed" => sub {
        my ($worker, $waiter) = worker_and_waiter(\%bound, $claim, $nap);
        # The backend is idle, or busy until it writes to its client: a client that is gone shows when it reads.
        ends_with($waiter, sub { sessions::hang_up($worker); terminate($nap) });

        my $idle = idle_worker(\%bound);
        $waiter = waiter();
        ends_with($waiter, sub { kill 'KILL', $idle->{pid}; waitpid $idle->{pid}, 0 });
    };

    subtest "direct $direct: the session is terminated" => sub {
        my ($worker, $waiter) = worker_and_waiter(\%bound, $claim, $nap);
        ends_with($waiter, sub { terminate($nap) });
        sessions::end($worker, $soon);
    };

    subtest "direct $direct: it ends in a failed transaction" => sub {
        my ($worker, $waiter) = worker_and_waiter(\%bound, $claim, 'select from pg_sleep(0.5)', 'begin', 'select 1 / 0');
        like(sessions::end($worker, $soon), qr/division by zero/, 'a transaction failed');
        is(sessions::end($waiter, $soon), 't', 'and the waiter is woken');
        is(recovery::must($url, $leased), 0, 'all leases have ended');
        empty();
    };

    subtest "direct $direct: the client says goodbye" => sub {
        my ($worker, $waiter) = worker_and_waiter(\%bound, $claim, 'select from pg_sleep(0.5)');
        ok(defined sessions::end($worker, $soon), 'the session ends');
        is(sessions::end($waiter, $soon), 't', 'and the waiter is woken');
        is(recovery::must($url, $leased), 0, 'all leases have ended');
        is(recovery::must($url, 'select count(*) from cloaca.claim(max => 10)'), 3, 'the tasks are to be had');
        is(recovery::must($url, 'select min(attempt) from cloaca_default.cloaca_task'), 2, 'and the attempt counted');
        empty();
    };

    subtest "direct $direct: all sleepers have a task" => sub {
        my ($worker, @waiters) = worker_and_waiter(\%bound, $claim, $nap);
        push @waiters, waiter(2), waiter(3), waiter(4);
        terminate($nap);
        my $woken = 0;
        my $end = time + 2;
        while (@waiters && time < $end) {
            my @left = grep { !defined sessions::end($_, 20) } @waiters;
            $woken += @waiters - @left;
            @waiters = @left;
        }
        is($woken, 3, 'three tasks wake three of four sleepers');
        sessions::hang_up($_) for @waiters;
        sessions::end($worker, $soon);
        empty();
    };

    subtest "direct $direct: without the setting" => sub {
        enqueue();
        is(sessions::end(sessions::begin(\%free, $claim), $soon), 3, 'a session claims and ends');
        is(recovery::must($url, $leased), 3, 'its leases stay');
        empty();
    };

    subtest "direct $direct: what has ended before" => sub {
        enqueue();
        my $before = recovery::must($url, 'select max(id) from cloaca_default.cloaca_task');
        sessions::end(sessions::begin(\%bound, 'do $$ declare t record; begin
            for t in select * from cloaca.claim(max => 3) loop
                if t.task % 3 = 0 then
                    perform cloaca.complete(t.task, t.lease_id);
                elsif t.task % 3 = 1 then
                    perform cloaca.release(t.task, t.lease_id);
                else
                    perform cloaca.fail(t.task, t.lease_id, \'x\', retry_in => \'1 hour\');
                end if;
            end loop; end $$'), $soon);
        is(recovery::must($url, 'select count(*), count(lease_id), count(lease_until) from cloaca_default.cloaca_task'), '2|0|0',
            'is left alone');
        empty();

        enqueue();
        sessions::end(sessions::begin(\%bound, 'begin', $claim, 'rollback'), $soon);
        is(recovery::must($url, 'select count(*) from cloaca_default.cloaca_task where attempt = 0 and lease_until is null'), 3,
            'and so is a claim that was rolled back');
        my $worker = sessions::begin(\%bound, "select count(*) from cloaca.claim(max => 3, lease => '1 ms')", 'select from pg_sleep(0.5)');
        recovery::wait_ms(100);
        is(recovery::must($url, "select count(*) from cloaca.claim(max => 3, lease => '1 hour')"), 3, 'another takes over expired leases');
        sessions::end($worker, $soon);
        is(recovery::must($url, $leased), 3, 'and keeps its own');
        empty();
    };

    subtest "direct $direct: something is in the way" => sub {
        my $worker = sessions::begin(\%bound, $claim, 'select from pg_sleep(0.5)') if enqueue();
        sessions::until_true($url, $held);
        my $locker = sessions::begin('begin; lock table cloaca_default.cloaca_task; select from pg_sleep(1000)');
        ok(defined sessions::end($worker, $soon), 'psql ends');
        sessions::until_true($url, "select not exists (select from pg_stat_activity where query = 'select from pg_sleep(0.5)')");
        is(recovery::must($url, "select count(*) from pg_locks where relation = 'cloaca_default.cloaca_task'::regclass and not granted"), 0,
            'the backend does not wait for a lock');
        terminate('%lock table%');
        sessions::end($locker, $soon);
        is(recovery::must($url, $leased), 3, 'the leases stay, and run out');
        like(recovery::read_file($log), qr/LOG:  leases of tenant "cloaca_default" do not end with the session/, 'which the log says');
        empty();

        enqueue();
        recovery::must($url, q{create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(100); return new; end';
            create trigger slow before update on cloaca_default.cloaca_task for each row
                when (new.lease_id is not distinct from old.lease_id) execute function slow()});
        my $begun = time;
        $worker = sessions::begin(\%bound, $claim, 'select pg_backend_pid()');
        my ($pid) = sessions::end($worker, $soon) =~ /(\d+)\z/;
        sessions::until_true($url, "select not exists (select from pg_stat_activity where pid = $pid)");
        cmp_ok(time - $begun, '<', 10, 'a slow trigger does not keep the backend');
        recovery::must($url, 'drop function slow() cascade');
        empty();

        recovery::must($url, "select from cloaca.create_tenant('shop', 'shop')");
        my %shop = (PGOPTIONS => "$bound{PGOPTIONS} -c cloaca.tenant=shop");
        $worker = sessions::begin(\%shop, "select count(*) from cloaca.enqueue('x'), cloaca.claim()", 'select count(*) from cloaca.claim()',
            'select from pg_sleep(1.5)');
        recovery::wait_ms(300);
        recovery::must($url, "call cloaca.drop_tenant_all('shop')");
        ok(defined sessions::end($worker, $soon), 'a tenant that was dropped does no harm');
        is(recovery::must($url, 'select 1'), 1, 'the server lives');
    };

    subtest "direct $direct: the server shuts down" => sub {
        enqueue();
        my $worker = sessions::begin(\%bound, $claim, $nap);
        sessions::until_true($url, $held);
        my ($pid) = split /\n/, recovery::read_file("$ENV{CLOACA_PGDATA}/postmaster.pid");
        kill 'INT', $pid;
        recovery::wait_ms(20) while kill 0, $pid;
        sessions::end($worker, $soon);
        recovery::start_postmaster();
        is(recovery::must($url, $leased), 0, 'leases end with a fast shutdown, too');
        is(recovery::must($url, 'select count(*) from cloaca_default.cloaca_task'), 3, 'and the tasks are there');
        empty();
    };
}
unlike(recovery::read_file($log), qr/PANIC|was terminated by signal/, 'no process crashed');
done_testing();

sub enqueue {
    return recovery::must($url, "select count(*) from cloaca.enqueue_many('x', array_fill(jsonb '1', array[3]))");
}

sub empty {
    recovery::must($url, 'delete from cloaca_default.cloaca_task');
}

# A session that holds three leases, and one that sleeps.
sub worker_and_waiter {
    my ($env, @statements) = @_;
    enqueue();
    my $worker = sessions::begin($env, @statements);
    sessions::until_true($url, $held);
    return ($worker, waiter());
}

sub waiter {
    my ($count) = @_;
    my $waiter = sessions::begin('call cloaca.wait_for_task()');
    sessions::until_asleep($url, $count // 1);
    return $waiter;
}

# A psql that waits for its next command.
sub idle_worker {
    my ($env) = @_;
    enqueue();
    local @ENV{ keys %$env } = values %$env;
    my $pid = open my $pipe, '|-', 'psql', '-X', '-q', '-A', '-t', '-o', '/dev/null' or die "psql: $!\n";
    syswrite $pipe, "$claim;\n";
    sessions::until_true($url, $held);
    return { pid => $pid, pipe => $pipe };
}

sub terminate {
    my ($query) = @_;
    recovery::must($url, "select pg_terminate_backend(pid) from pg_stat_activity where query like '$query' and pid <> pg_backend_pid()");
}

# The session ends, and the waiter is woken.
sub ends_with {
    my ($waiter, $end) = @_;
    my $begun = time;
    $end->();
    is(sessions::end($waiter, $soon), 't', 'the waiter is woken');
    note(sprintf '%.0f ms', (time - $begun) * 1000);
    is(recovery::must($url, $leased), 0, 'all leases have ended');
    empty();
}
