#!/usr/bin/perl
# cloaca schedule: what fires, when, and what workers make of it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use Test::More;

on_backends(sub {
    my $created = row('schedule', 'create', 'often', '* * * * * *', '--task', 'tick', '-q', 'ticks', '--payload', '{"a": 1}');
    like($created->{next_at}, qr/^\d{4}-\d\d-\d\dT/, 'create');
    fails_with(1, qr/name is taken/, 'schedule', 'create', 'often', '* * * * *', '--task', 'x');
    fails_with(1, qr/invalid argument/, 'schedule', 'create', 'wrong', '61 * * * *', '--task', 'x');
    fails_with(2, qr/CRON is missing/, 'schedule', 'create', 'wrong');

    # Workers fire it when nobody else does, at its time.
    my $worked = row('work', '-q', 'ticks', '-n', 2, '--', 'sh', '-c', 'test "$(cat)" = \'{"a": 1}\'');
    is_deeply([@$worked{qw(claimed completed)}], [2, 2], 'a worker fires it, and does what it made');
    is(rows('schedule', 'history', 'often')->[0]{outcome}, 'fired', 'history');
    cmp_ok(rows('schedule', 'stats', 'often')->[0]{fired}, '>=', 2, 'stats');

    succeeds('schedule', 'disable', 'often');
    ok(!rows('schedule', 'list')->[0]{enabled}, 'disable');
    ok(defined row('schedule', 'enable', 'often')->{next_at}, 'enable');
    like(row('schedule', 'update', 'often', '--cron', '0 0 1 1 *')->{next_at}, qr/-01-01T00:00:00/, 'update');
    succeeds('schedule', 'delete', 'often');
    is_deeply(rows('schedule', 'list'), [], 'delete');
    fails_with(3, qr/unknown schedule/, 'schedule', 'delete', 'often');
    is_deeply([map { $_->{at} } @{ rows('schedule', 'next', '30 6 * * *', '--after', '2026-03-28T12:00:00Z', '-n', 2, '-z', 'Europe/Berlin') }],
        ['2026-03-29T04:30:00.000000Z', '2026-03-30T04:30:00.000000Z'], 'the next times, by the clocks of a zone');
});

done_testing;
