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
my $soon = 5000;    # far below the intervals
my $still = 300;
my $thousand = join ',', map { "q$_" } 1 .. 1000;

recovery::must($url, 'create extension cloaca');
recovery::must($url, 'select cloaca.current_tenant()');

sub empty {
    recovery::must($url, 'delete from cloaca_default.cloaca_task');
}

# Two sleepers, the first of which is stopped; so it does not find out yet that it was woken.
sub woken_but_stopped {
    my @psql = (sessions::begin(@_));
    my ($first) = sessions::until_asleep($url, 1);
    push @psql, sessions::begin($wait);
    sessions::until_asleep($url, 2);
    kill 'STOP', $first;
    recovery::must($url, "select cloaca.enqueue('x')");
    is(sessions::end($psql[1], $still), undef, 'a task wakes one sleeper, who waits longest');
    return ($first, @psql);
}

subtest 'asleep' => sub {
    my $psql = sessions::begin($wait);
    my ($pid) = sessions::until_asleep($url, 1);
    is(recovery::must($url, "select backend_xmin is null and backend_xid is null from pg_stat_activity where pid = $pid"), 't',
        'it holds no snapshot');
    is(recovery::must($url, "select string_agg(locktype, ',') from pg_locks where pid = $pid"), 'virtualxid', 'and no lock');
    is(recovery::must($url, "set lock_timeout = '1s'; alter table cloaca_default.cloaca_task set (fillfactor = 50); select 'done'"), 'done',
        'and is in nobody\'s way');
    my $begun = time;
    recovery::must($url, "select cloaca.enqueue('x')");
    is(sessions::end($psql, $soon), 't', 'it wakes up');
    note(sprintf '%.1f ms after psql began to enqueue', (time - $begun) * 1000);
    empty();
};

subtest 'a sleeper who was woken is cancelled' => sub {
    my ($first, @psql) = woken_but_stopped($wait);
    recovery::must($url, "select pg_cancel_backend($first)");
    kill 'CONT', $first;
    like(sessions::end($psql[0], $soon), qr/canceling statement/, 'it is cancelled');
    is(sessions::end($psql[1], $soon), 't', 'and the other is woken');
    empty();
};

subtest 'a sleeper who was woken is terminated' => sub {
    my ($first, @psql) = woken_but_stopped($wait);
    recovery::must($url, "select pg_terminate_backend($first)");
    kill 'CONT', $first;
    like(sessions::end($psql[0], $soon), qr/terminating connection/, 'it is terminated');
    is(sessions::end($psql[1], $soon), 't', 'and the other is woken');
    empty();
};

subtest 'a sleeper who was woken has run out of time' => sub {
    my ($first, @psql) = woken_but_stopped("call cloaca.wait_for_task(timeout => '1 second')");
    recovery::wait_ms(1000);
    kill 'CONT', $first;
    is(sessions::end($psql[0], $soon), 'f', 'its time is over');
    is(sessions::end($psql[1], $soon), 't', 'and the other is woken');
    empty();
};

subtest 'the client of a sleeper who was woken is gone' => sub {
    my ($first, @psql) = woken_but_stopped($wait);
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
    recovery::must($url, "select cloaca.enqueue('x', delay => '1 second')");
    sessions::hang_up(shift @psql);
    is(sessions::end($psql[0], $still), undef, 'nothing is due yet');
    is(sessions::end($psql[0], $soon), 't', 'another sleeper keeps the time when the first one leaves');
    empty();

    @psql = map { sessions::begin($wait) } 1 .. 3;
    sessions::until_asleep($url, 3);
    recovery::must($url, "select cloaca.enqueue('x', delay => delay) from unnest(array[interval '1 hour', '0.8 second', '0.4 second']) delay");
    my $begun = time;
    my %left = map { $_ => 1 } @psql;
    my @times;
    while (%left && time < $begun + 2) {
        for (keys %left) {
            next unless defined sessions::end($_, 0);
            delete $left{$_};
            push @times, time - $begun;
            # It takes the task, as workers do.
            recovery::must($url, 'select count(*) from cloaca.claim()');
        }
        recovery::wait_ms(5);
    }
    is(@times, 2, 'each task that is due wakes one');
    cmp_ok($times[0], '<', 0.7, 'when the first one is due') if @times;
    cmp_ok($times[1], '>', 0.7, 'and when the second one is') if @times > 1;
    sessions::hang_up($_) for keys %left;
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
    recovery::wait_ms(1000);
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

subtest 'the tenant is dropped and made again' => sub {
    my $options = { PGOPTIONS => '-c cloaca.repair_interval=2s -c cloaca.tenant=shop' };
    recovery::must($url, "select from cloaca.create_tenant('shop', 'shop')");
    my @psql = map { sessions::begin($options, $wait) } 1 .. 3;
    sessions::until_asleep($url, 3);
    recovery::must($url, $_) for "call cloaca.drop_tenant_all('shop')", "select from cloaca.create_tenant('shop', 'shop')";
    recovery::wait_ms(2500);
    is(sessions::sleepers($url), 3, 'they sleep on');
    recovery::must($url, "set cloaca.tenant = 'shop'; select cloaca.enqueue_many('x', array_fill(jsonb '1', array[3]))");
    my $begun = time;
    is(sessions::end($_, $soon), 't', 'and are woken by tasks of the new one') for @psql;
    cmp_ok(time - $begun, '<', 1, 'at once');
};

done_testing();
