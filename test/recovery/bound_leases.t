#!/usr/bin/perl
# Leases that end with the session (cloaca.bind_leases): however it ends, what it had claimed is another's within milliseconds. On the
# direct path and by SQL.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use dialogue;
use recovery;
use sessions;
use Test::More;

recovery::under_cluster('--preload', '--conf', 'cloaca.repair_interval = 1h');
recovery::build();
my $url = recovery::postgres_url();
my $claim = "select count(*) from cloaca.claim(max => 3, lease => '1 day')";
my $nap = 'select pg_sleep(10000)';
my $leased = 'select count(*) from cloaca_default.cloaca_task where lease_until > clock_timestamp()';
my $log = $ENV{CLOACA_PGLOG};
my %bound;    # settings of the sessions that claim
my $given_up = 0;    # before a scenario: sessions that could not end their leases

recovery::must($url, 'create extension cloaca');
recovery::must($url, 'select cloaca.current_tenant()');

for my $direct ('on', 'off') {
    %bound = ('cloaca.direct' => $direct, 'cloaca.bind_leases' => 'on');

    subtest "direct $direct: the client is killed" => sub {
        # The backend is idle, or busy until it writes to its client: a client that is gone shows when it reads.
        wakes(sub { my $backend = naps($_[0]); $_[0]->kill; terminate($backend) });
        wakes(sub { $_[0]->kill });
    };

    subtest "direct $direct: the session is terminated" => sub {
        wakes(sub { terminate(naps($_[0])) });
    };

    subtest "direct $direct: it ends in a failed transaction" => sub {
        wakes(sub {
            my ($worker) = @_;
            $worker->ask('begin');
            like($worker->ask('select 1 / 0'), qr/division by zero/, 'a transaction failed');
            $worker->close;
        });
    };

    subtest "direct $direct: the client says goodbye" => sub {
        wakes(sub { $_[0]->close }, sub {
            is(recovery::must($url, 'select count(*) from cloaca.claim(max => 10)'), 3, 'the tasks are to be had');
            is(recovery::must($url, 'select min(attempt) from cloaca_default.cloaca_task'), 2, 'and the attempt counted');
        });
    };

    subtest "direct $direct: all sleepers have a task" => sub {
        my @waiters;
        played(sub {
            my $worker = worker();
            sessions::hang_up($_) for @waiters;
            sessions::until_asleep($url, 0);
            @waiters = map { waiter($_) } 1 .. 4;
            terminate(naps($worker));
            woken(\@waiters, 3);
        });
        is(@waiters, 1, 'three tasks wake three of four sleepers');
        is(sessions::end($waiters[0], 300), undef, 'and no other');
        sessions::hang_up($_) for @waiters;
        empty();
    };

    subtest "direct $direct: without the setting" => sub {
        enqueue();
        my $worker = dialogue->new($url, 'cloaca.direct' => $direct);
        is($worker->ask($claim), 3, 'a session claims and ends');
        ends($worker);
        is(recovery::must($url, $leased), 3, 'its leases stay');
        empty();
    };

    subtest "direct $direct: what has ended before" => sub {
        enqueue();
        my $worker = dialogue->new($url, %bound);
        is($worker->ask('do $$ declare t record; begin
            for t in select * from cloaca.claim(max => 3, lease => \'1 day\') loop
                if t.task % 3 = 0 then
                    perform cloaca.complete(t.task, t.lease_id);
                elsif t.task % 3 = 1 then
                    perform cloaca.release(t.task, t.lease_id);
                else
                    perform cloaca.fail(t.task, t.lease_id, \'x\', retry_in => \'1 hour\');
                end if;
            end loop; end $$'), '', 'a session ends what it claimed');
        ends($worker);
        is(recovery::must($url, 'select count(*), count(lease_id), count(lease_until) from cloaca_default.cloaca_task'), '2|0|0',
            'which is left alone');
        empty();

        enqueue();
        $worker = dialogue->new($url, %bound);
        is($worker->ask("begin; $claim; rollback"), 3, 'it claims and rolls back');
        ends($worker);
        is(recovery::must($url, 'select count(*) from cloaca_default.cloaca_task where attempt = 0 and lease_until is null'), 3,
            'which is left alone, too');

        $worker = dialogue->new($url, %bound);
        is($worker->ask("select count(*) from cloaca.claim(max => 3, lease => '1 ms')"), 3, 'its leases expire');
        recovery::wait_ms(10);
        is(recovery::must($url, "select count(*) from cloaca.claim(max => 3, lease => '1 day')"), 3, 'another takes over');
        ends($worker);
        is(recovery::must($url, $leased), 3, 'and keeps its own');
        empty();
    };

    subtest "direct $direct: something is in the way" => sub {
        my $before = given_up();
        my $worker = worker();
        my $locker = dialogue->new($url);
        $locker->ask('begin; lock table cloaca_default.cloaca_task');
        ends($worker);
        pass('the backend does not wait for a lock');
        $locker->ask('rollback');
        is(recovery::must($url, $leased), 3, 'the leases stay, and run out');
        cmp_ok(given_up(), '>', $before, 'which the log says');
        empty();

        recovery::must($url, q{create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(10000); return new; end';
            create trigger slow before update on cloaca_default.cloaca_task for each row
                when (new.lease_id is not distinct from old.lease_id) execute function slow()});
        ends(worker());
        pass('a slow trigger does not keep the backend');
        recovery::must($url, 'drop function slow() cascade');
        empty();

        recovery::must($url, "select from cloaca.create_tenant('shop', 'shop')");
        $worker = dialogue->new($url, %bound, 'cloaca.tenant' => 'shop');
        is($worker->ask("select count(*) from cloaca.enqueue('x')") . $worker->ask("select count(*) from cloaca.claim(lease => '1 day')"), '11',
            'a session claims of a tenant');
        recovery::must($url, "call cloaca.drop_tenant_all('shop')");
        ends($worker);
        is(recovery::must($url, 'select 1'), 1, 'which is dropped: the server lives');
    };

    subtest "direct $direct: the server shuts down" => sub {
        played(sub {
            my $worker = worker();
            naps($worker);
            my ($pid) = split /\n/, recovery::read_file("$ENV{CLOACA_PGDATA}/postmaster.pid");
            kill 'INT', $pid;
            recovery::until_gone($pid);
            $worker->close;
            recovery::start_postmaster();
        });
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

# A session that holds three leases.
sub worker {
    enqueue();
    my $worker = dialogue->new($url, %bound);
    my $count = $worker->ask($claim);
    die "claimed: $count\n" if $count ne '3';
    return $worker;
}

# One that sleeps, beside others.
sub waiter {
    my ($count) = @_;
    my $waiter = sessions::begin('call cloaca.wait_for_task()');
    sessions::until_asleep($url, $count);
    return $waiter;
}

# Makes a session busy, and gives its backend.
sub naps {
    my ($worker) = @_;
    my $backend = $worker->backend;
    $worker->tell($nap);
    sessions::until_true($url, "select wait_event = 'PgSleep' from pg_stat_activity where pid = $backend");
    return $backend;
}

sub terminate {
    my ($backend) = @_;
    recovery::must($url, "select pg_terminate_backend($backend)");
}

# The client says goodbye, and the backend ends.
sub ends {
    my ($worker) = @_;
    my $backend = $worker->backend;
    $worker->close;
    sessions::until_true($url, "select not exists (select from pg_stat_activity where pid = $backend)");
}

# How often a session could not end its leases.
sub given_up {
    return scalar grep { /LOG:  leases of tenant "\w+" do not end with the session/ } split /\n/, recovery::read_file($log);
}

# Plays a scenario until it takes its course. A session's end takes a second at most for its leases; where the machine stands still for
# so long it gives up, and says so in the log.
sub played {
    my ($scenario) = @_;
    for (1 .. 20) {
        $given_up = given_up();
        $scenario->();
        return if given_up() == $given_up;
        note('a session had no time for its leases');
        empty();
    }
    die "no session has time for its leases\n";
}

# Waits until so many of the sleepers have returned with a task, or a session has given up, and removes them.
sub woken {
    my ($waiters, $count) = @_;
    recovery::comes(sub {
        @$waiters = grep { my $said = sessions::end($_, 0); $count -= ($said // '') eq 't'; !defined $said } @$waiters;
        return $count <= 0 || given_up() > $given_up;
    });
}

# When a session with leases ends so, a sleeper is woken: all leases have ended.
sub wakes {
    my ($end, $then) = @_;
    my @waiters;
    played(sub {
        my $worker = worker();
        sessions::hang_up($_) for @waiters;
        sessions::until_asleep($url, 0);
        @waiters = (waiter(1));
        $end->($worker);
        woken(\@waiters, 1);
    });
    is(@waiters, 0, 'the waiter is woken');
    is(recovery::must($url, $leased), 0, 'all leases have ended');
    $then->() if $then;
    sessions::hang_up($_) for @waiters;
    empty();
}
