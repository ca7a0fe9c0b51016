#!/usr/bin/perl
# cloaca enqueue --bulk: records, keys, batches, wrong records, all or nothing.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use Test::More;

on_backends(sub {
    my $lines = join '', map { "{\"id\": $_}\n" } 1 .. 2500;
    is_deeply(row(\$lines, 'enqueue', '--bulk', '--keys-from', 'id', 'n'), { records => 2500, created => 2500, existing => 0 }, '2500 lines');
    is_deeply(row(\$lines, 'enqueue', '--bulk', '--keys-from', 'id', 'n', '--batch', 100), { records => 2500, created => 0, existing => 2500 },
        'again: by key they are there');
    my $tasks = rows('tasks', '--all', '--max', 1000);
    is_deeply([map { $_->{payload}{id} } @$tasks], [1 .. 2500], 'all are there, in order');
    is($tasks->[41]{key}, '42', 'with their keys');

    is_deeply(row(\"1\n\n \"two\"\r\n[3]", 'enqueue', '-b', '-q', 'b', 'n', '-p', 3), { records => 3, created => 3, existing => 0 },
        'any JSON, empty lines, no newline at the end');
    is_deeply([map { $_->{payload} } @{ rows('tasks', '-q', 'b') }], [1, 'two', [3]], 'payloads');
    is(rows('tasks', '-q', 'b')->[2]{priority}, 3, 'options apply to all');
    is(row(\"a\n'b\" c\0", 'enqueue', '--bulk', '--raw', '--null', '-q', 'raw', 'n')->{created}, 1, 'NUL-terminated text');
    is(rows('tasks', '-q', 'raw')->[0]{payload}, "a\n'b\" c", 'kept as it is');
    is_deeply(row(\"{\"k\": \"x\"}\n{}\n{\"k\": null}\n{\"k\": \"x\"}\n", 'enqueue', '--bulk', '--keys-from', 'k', '-q', 'keys', 'n'),
        { records => 4, created => 3, existing => 1 }, 'a missing key is none');
    is_deeply(row('enqueue', '--bulk', 'n'), { records => 0, created => 0, existing => 0 }, 'no input');

    fails_with(1, qr/record 4 of stdin is not JSON.*\n.*\n.*2 tasks were enqueued before that/s, \"1\n2\n\n{\n5\n", 'enqueue', '--bulk', '--batch', 2, '-q',
        'wrong', 'n');
    is(scalar @{ rows('tasks', '-q', 'wrong') }, 2, 'earlier batches stay');
    fails_with(1, qr/record 3.*nothing was enqueued/s, \"1\n2\n{\n", 'enqueue', '--bulk', '--batch', 1, '--atomic', '-q', 'atomic', 'n');
    is(scalar @{ rows('tasks', '-q', 'atomic') }, 0, 'with --atomic nothing does');
    is(row(\"1\n2\n3\n", 'enqueue', '--bulk', '--batch', 1, '--atomic', '-q', 'atomic', 'n')->{created}, 3, '--atomic');
    fails_with(1, qr/the key "k" is neither/, \"{\"k\": [1]}\n", 'enqueue', '--bulk', '--keys-from', 'k', 'n');
    fails_with(1, qr/record 1 .*not UTF-8/, \"\xff\n", 'enqueue', '--bulk', '--raw', 'n');
    fails_with(1, qr/invalid name/, \"1\n", 'enqueue', '--bulk', '');
    fails_with(2, qr/reads the payloads from stdin/, 'enqueue', '--bulk', 'n', '1');
    fails_with(2, qr/need --bulk/, 'enqueue', '--atomic', 'n');

    spew("$folder/lines", $lines);
    my $shown = qx{script -qec "cloaca enqueue --bulk -q bar --batch 500 n <$folder/lines" /dev/null </dev/null};
    like($shown, qr/\[#+ *\] +\d+ %.*\[#{40}\] 100 %  2500 tasks/s, 'a progress bar on a terminal');
});

done_testing;
