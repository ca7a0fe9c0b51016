#!/usr/bin/perl
# What a session that waits for a task holds while it sleeps, and what becomes of a wake whose sleeper does not use it. What hints have
# lost is looked for once an hour here, so that it cannot hide anything.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use sessions;
use Test::More;
use Time::HiRes qw(time);

recovery::under_cluster('--preload', map { ('--conf', $_) } 'cloaca.repair_interval = 1h', 'cloaca.poll_interval = 60s');
recovery::build();
my $url = recovery::postgres_url();
my $wait = 'call cloaca.wait_for_task()';
my $soon = 50_000;    # below the intervals
my $still = 300;
my $thousand = join ',', map { "q$_" } 1 .. 1000;

recovery::must($url, 'create extension cloaca');
recovery::must($url, 'select cloaca.current_tenant()');

sub empty {
    recovery::must($url, 'delete from cloaca_default.cloaca_task');
}

# Two sleepers, the first of which is stopped; so it does not find out yet that it was woken.
sub woken_but_stopped {
    my ($first, @psql) = @_ ? @_ : sleeping_and_stopped($wait);
    push @psql, sessions::begin($wait);
    sessions::until_asleep($url, 2);
    recovery::must($url, "select cloaca.enqueue('x')");
    is(sessions::end($psql[1], $still), undef, 'a task wakes one sleeper, who waits longest');
    return ($first, @psql);
}

# Its backend and its client.
sub sleeping_and_stopped {
    my $psql = sessions::begin(@_);
    my ($pid) = sessions::until_asleep($url, 1);
    kill 'STOP', $pid;
    recovery::comes(sub { recovery::read_file("/proc/$pid/stat") =~ /\) T/ }) or die "process $pid does not stop\n";
    return ($pid, $psql);
}

# One that was stopped before its time was over, and whose time is over: its backend and its client. The longer the machine takes, the
# more time it is given.
sub out_of_time {
    for (my $seconds = 1; $seconds < 300; $seconds *= 2) {
        my $psql = sessions::begin("call cloaca.wait_for_task(timeout => '$seconds seconds')");
        my $pid = '';
        recovery::comes(sub { ($pid) = sessions::sleepers($url); $pid || defined sessions::end($psql, 0) });
        next if !$pid;
        kill 'STOP', $pid;
        recovery::comes(sub { recovery::read_file("/proc/$pid/stat") !~ /\) [^T]/ });
        my $over = "clock_timestamp() > query_start + interval '$seconds seconds' from pg_stat_activity where pid = $pid";
        if ((recovery::ask($url, "select $over and wait_event_type = 'Extension'") // '') eq 'f') {
            sessions::until_true($url, "select $over");
            return ($pid, $psql);
        }
        kill 'CONT', $pid;
        sessions::end($psql);
    }
    die "no sleeper is stopped in time\n";
}

subtest 'asleep' => sub {
    my $psql = sessions::begin($wait);
    my ($pid) = sessions::until_asleep($url, 1);
    is(recovery::must($url, "select backend_xmin is null and backend_xid is null from pg_stat_activity where pid = $pid"), 't',
        'it holds no snapshot');
    is(recovery::must($url, "select string_agg(locktype, ',') from pg_locks where pid = $pid"), 'virtualxid', 'and no lock');
    is(recovery::must($url, "set lock_timeout = '60s'; alter table cloaca_default.cloaca_task set (fillfactor = 50); select 'done'"), 'done',
        'and is in nobody\'s way');
    my $begun = time;
    recovery::must($url, "select cloaca.enqueue('x')");
    is(sessions::end($psql, $soon), 't', 'it wakes up');
    note(sprintf '%.1f ms after psql began to enqueue', (time - $begun) * 1000);
    empty();
};

subtest 'a sleeper who was woken is cancelled' => sub {
    my ($first, @psql) = woken_but_stopped();
    recovery::must($url, "select pg_cancel_backend($first)");
    kill 'CONT', $first;
    like(sessions::end($psql[0], $soon), qr/canceling statement/, 'it is cancelled');
    is(sessions::end($psql[1], $soon), 't', 'and the other is woken');
    empty();
};

subtest 'a sleeper who was woken is terminated' => sub {
    my ($first, @psql) = woken_but_stopped();
    recovery::must($url, "select pg_terminate_backend($first)");
    kill 'CONT', $first;
    like(sessions::end($psql[0], $soon), qr/terminating connection/, 'it is terminated');
    is(sessions::end($psql[1], $soon), 't', 'and the other is woken');
    empty();
};

subtest 'a sleeper who was woken has run out of time' => sub {
    my ($first, @psql) = woken_but_stopped(out_of_time());
    kill 'CONT', $first;
    is(sessions::end($psql[0], $soon), 'f', 'its time is over');
    is(sessions::end($psql[1], $soon), 't', 'and the other is woken');
    empty();
};

subtest 'the client of a sleeper who was woken is gone' => sub {
    my ($first, @psql) = woken_but_stopped();
    sessions::hang_up($psql[0]);
    kill 'CONT', $first;
    is(sessions::end($psql[1], $soon), 't', 'the other is woken');
    sessions::until_true($url, "select not exists (select from pg_stat_activity where pid = $first)");
    pass('and its backend is gone');
    empty();
};

subtest 'a sleeper who was woken may no longer look' => sub {
    recovery::must($url, "create role loser login password 'x' noinherit; select cloaca.grant_tenant('cloaca_default', 'loser')");
    my $loser = sessions::begin('set role loser', $wait);
    my ($first) = sessions::until_asleep($url, 1);
    my $other = sessions::begin($wait);
    sessions::until_asleep($url, 2);
    recovery::must($url, 'revoke all on all tables in schema cloaca_default from loser');
    recovery::must($url, "select cloaca.enqueue('x')");
    like(sessions::end($loser, $soon), qr/permission denied/, 'it raises what the look raised');
    is(sessions::end($other, $soon), 't', 'and the other is woken');
    empty();
};

subtest 'keeping time' => sub {
    my @psql = (sessions::begin($wait));
    my ($keeper) = sessions::until_asleep($url, 1);
    push @psql, sessions::begin($wait);
    sessions::until_asleep($url, 2);
    recovery::must($url, "select cloaca.enqueue('x', delay => '2 seconds')");
    sessions::hang_up(shift @psql);
    like(sessions::end($psql[0], $soon), qr/^t/, 'another sleeper keeps the time when the first one leaves');
    is(recovery::must($url, 'select run_at <= clock_timestamp() from cloaca_default.cloaca_task'), 't', 'and sleeps until then');
    empty();

    # Each takes the task, as workers do.
    @psql = map { sessions::begin($wait, "select run_at from cloaca.claim(lease => '1 day')",
        'select clock_timestamp()') } 1 .. 3;
    sessions::until_asleep($url, 3);
    recovery::must($url, "select cloaca.enqueue('x', delay => delay) from unnest(array[interval '1 hour', '0.8 second', '0.4 second']) delay");
    my @said;
    recovery::comes(sub {
        @psql = grep { my $said = sessions::end($_, 0); push @said, $said if defined $said; !defined $said } @psql;
        return @said == 2;
    });
    is(@said, 2, 'each task that is due wakes one');
    for my $n (1, 2) {
        my ($ready, $due, $returned) = split /\n/, $said[$n - 1] // '';
        is($ready, 't', "who is woken $n. is told so");
        is(recovery::must($url, "select '$returned'::timestamptz >= '$due'"), 't', "when the $n. one is due");
    }
    is(@psql && sessions::end($psql[0], $still), undef, 'the last one sleeps on');
    sessions::hang_up($_) for @psql;
    empty();
};

subtest 'a prepared transaction' => sub {
    my $psql = sessions::begin($wait);
    sessions::until_asleep($url, 1);
    recovery::must($url, "begin; select cloaca.enqueue('x'); prepare transaction 'wait'");
    is(sessions::end($psql, $still), undef, 'wakes nobody');
    recovery::must($url, "commit prepared 'wait'");
    is(sessions::end($psql, $soon), 't', 'but when it is committed');
    empty();
};

subtest 'many queues' => sub {
    my $psql = sessions::begin("call cloaca.wait_for_task('{$thousand}')");
    sessions::until_asleep($url, 1);
    recovery::must($url, "select cloaca.enqueue('x', queue => 'q777')");
    is(sessions::end($psql, $soon), 't', 'a sleeper waits for a thousand');
    empty();
    like(sessions::end(sessions::begin("call cloaca.wait_for_task('{$thousand,more}')"), $soon), qr/1 to 1000 names/,
        'but for no more');
};

subtest 'more queues than there is room for' => sub {
    my $options = { PGOPTIONS => '-c cloaca.poll_interval=50ms' };
    my @psql = map { sessions::begin($options, "call cloaca.wait_for_task('{$thousand}')") } 1 .. 4;
    sessions::until_true($url, "select count(*) = 4 from pg_stat_activity where state = 'active' and query like 'call cloaca.wait_for_task%'");
    recovery::wait_ms($still);
    recovery::must($url, "select cloaca.enqueue('x', queue => 'q777') from generate_series(1, 4)");
    is(sessions::end($_, $soon), 't', 'they return all the same') for @psql;
    empty();
};

subtest 'the tenant is dropped' => sub {
    my $options = { PGOPTIONS => '-c cloaca.repair_interval=200ms -c cloaca.tenant=shop' };
    recovery::must($url, "select from cloaca.create_tenant('shop', 'shop')");
    my @psql = map { sessions::begin($options, $wait) } 1 .. 3;
    sessions::until_asleep($url, 3);
    recovery::must($url, "call cloaca.drop_tenant_all('shop')");
    like(sessions::end($_, $soon), qr/"shop"/, 'every sleeper finds out') for @psql;
};

# They find out by looking, every few seconds; a wake shows only if it comes before the next look does. So it is tried again where the machine
# is too slow for that.
subtest 'the tenant is dropped and made again' => sub {
    my $interval = 4;
    my $options = { PGOPTIONS => "-c cloaca.repair_interval=${interval}s -c cloaca.tenant=shop" };
    my $in_time = 0;
    for (1 .. 20) {
        recovery::must($url, "select from cloaca.create_tenant('shop', 'shop')");
        my @psql = map { sessions::begin($options, $wait, 'select clock_timestamp()') } 1 .. 3;
        my $pids = join ', ', sessions::until_asleep($url, 3);
        kill 'STOP', split /, /, $pids;
        recovery::must($url, $_) for "call cloaca.drop_tenant_all('shop')", "select from cloaca.create_tenant('shop', 'shop')";
        my $again = recovery::must($url, 'select clock_timestamp()');
        kill 'CONT', split /, /, $pids;
        # Each look is a transaction.
        sessions::until_true($url, "select count(*) = 3 from pg_stat_activity where pid in ($pids) and xact_start > '$again' and wait_event_type = 'Extension'");
        my $looked = recovery::must($url, "select min(xact_start) from pg_stat_activity where pid in ($pids)");
        recovery::must($url, "set cloaca.tenant = 'shop'; select cloaca.enqueue_many('x', array_fill(jsonb '1', array[3]))");
        my @said = map { [split /\n/, sessions::end($_, $soon) // 'nothing'] } @psql;
        recovery::must($url, "call cloaca.drop_tenant_all('shop')");
        my $ready = join ' ', map { $_->[0] } @said;
        is($ready, 't t t', 'they sleep on, and return with tasks of the new one');
        last if $ready ne 't t t';
        my $latest = 'greatest(' . join(', ', map { "'$_->[1]'::timestamptz" } @said) . ')';
        note('after the looks: ' . recovery::must($url, "select $latest - '$looked'"));
        $in_time = recovery::must($url, "select $latest < '$looked'::timestamptz + interval '@{[$interval - 0.5]} seconds'") eq 't';
        last if $in_time;
    }
    ok($in_time, 'by which they are woken');
};

done_testing();
