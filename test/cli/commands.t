#!/usr/bin/perl
# Every command that is one call: its answer as JSON and as a table, its exit statuses and errors.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use Encode;
use JSON::PP;
use Test::More;

fails_with(2, qr/unknown command "nonsense"/, 'nonsense');
fails_with(2, qr/unknown command "queue nonsense"/, 'queue', 'nonsense');
fails_with(2, qr/unknown option --nonsense/, 'tasks', '--nonsense');
fails_with(2, qr/--max must be a whole number/, 'tasks', '--max', '1.5');
fails_with(2, qr/--max needs a value/, 'tasks', '--max');
fails_with(2, qr/--json takes no value/, 'tasks', '--json=yes');
fails_with(2, qr/NAME is missing/, 'enqueue');
fails_with(2, qr/unexpected argument "two"/, 'task', '1', 'two');
fails_with(2, qr/not UTF-8/, 'enqueue', "\xff");
is(cloaca(), 2, 'without a command: usage');
for my $noun (qw(queue tenant)) {
    is(cloaca($noun), 2, "$noun alone: usage");
    like($stdout, qr/^  $noun list /m, 'lists its commands');
    succeeds($noun, '--help');
    like($stdout, qr/^  $noun list /m, 'so does its help');
}
for (['enqueue', '--json'], ['--json', 'nonsense'], ['work', '--json', '-c', 0, '--', 'true']) {
    is(cloaca(@$_), 2, "cloaca @$_: usage");
    is(eval { decode_json($stderr)->{error}{condition} }, 'invalid_argument', 'as JSON');
}
succeeds('--version');
like($stdout, qr/^cloaca \d+\.\d+/, 'the version');
succeeds('--help');
succeeds('help', 'queue', 'set');
like($stdout, qr/--key-retention/, 'help of one command');
{
    local $ENV{DATABASE_URL};
    delete $ENV{DATABASE_URL};
    fails_with(2, qr/DATABASE_URL/, 'tasks');
    fails_with(4, qr/^cloaca: connection refused/, 'tasks', '--url', 'postgresql://u:secret@/x?host=/nonexistent');
    unlike($stderr, qr/secret/, 'no password in an error');
    fails_with(1, qr/^cloaca: not a cloaca database/, '--url', "sqlite:///$FindBin::Bin/commands.t", 'tasks');
}

on_backends(sub {
    is_deeply(rows('tasks'), [], 'no tasks');
    my $first = row('enqueue', 'mail', '{"to": "ann", "n": 12345678901234567890, "x": 0.1}', '--key', 'k');
    is_deeply($first, { task => 1, created => JSON::PP::true }, 'enqueue');
    is_deeply(row('enqueue', 'mail', '-k', 'k'), { task => 1, created => JSON::PP::false }, 'the same key again');
    is(row('enqueue', '-q', 'other', '-p', '-5', 'mail', '--delay', '1 hour', '--max-attempts=7')->{task}, 2, 'enqueue with options');
    is(row(\"[1,\n2]\n", 'enqueue', 'mail', '-')->{task}, 3, 'payload from stdin');
    is(row('enqueue', 'mail', '--raw', "a \"b\"\n\\")->{task}, 4, 'plain text as payload');
    cloaca('task', 1);
    like($stdout, qr/12345678901234567890.*0\.1\b|0\.1\b.*12345678901234567890/, 'numbers keep their digits');
    is(row('task', 4)->{payload}, "a \"b\"\n\\", 'the text comes back');
    my $task = row('task', 2);
    is_deeply([@$task{qw(queue state priority max_attempts)}], ['other', 'scheduled', -5, 7], 'task');
    is_deeply([map { $_->{task} } @{ rows('tasks', '-q', 'default') }], [1, 3, 4], 'tasks of a queue');
    is_deeply([map { $_->{task} } @{ rows('tasks', '--after', 1, '-m', 2) }], [2, 3], 'a page');
    is_deeply([map { $_->{task} } @{ rows('tasks', '--all', '--max', 2) }], [1, 2, 3, 4], 'all pages');
    is_deeply([map { $_->{task} } @{ rows('tasks', '--all', '--max', 2, '--state', 'ready') }], [1, 3, 4], 'all pages of a state');

    fails_with(1, qr/^cloaca: the payload is not JSON/, 'enqueue', 'mail', '{');
    fails_with(1, qr/^cloaca: invalid name: The task name must have 1 to 200 bytes/, 'enqueue', '');
    fails_with(1, qr/^cloaca: invalid argument: .*state/, 'tasks', '--state', 'nonsense');
    fails_with(2, qr/--retry is not JSON/, 'enqueue', 'mail', '--retry', 'often');
    fails_with(3, qr/^cloaca: unknown task: Task 99 does not exist\./, 'task', 99);
    is($stdout, '', 'nothing on stdout');
    is(cloaca('task', 99, '--json'), 3, 'an error as JSON');
    is(decode_json($stderr)->{error}{condition}, 'unknown_task', 'its condition');
    for (['enqueue', '--json', 'mail', '{'], ['work', '--json', '--queue=', '--once', '--', 'true']) {
        is(cloaca(@$_), 1, "cloaca @$_: an error");
        is(scalar(grep { eval { decode_json($_)->{error} } } split /\n/, $stderr), 1, 'as JSON') or diag($stderr);
    }
    fails_with(3, qr/^cloaca: unknown queue/, 'stats', 'nonsense');
    fails_with(3, qr/^cloaca: unknown function/, 'call', 'nonsense');

    my $stats = rows('stats', 'default')->[0];
    is_deeply([@$stats{qw(ready scheduled running dead)}], [3, 0, 0, 0], 'stats of a queue');
    is(scalar @{ rows('stats') }, 2, 'stats of all');
    is(row('cancel', 2)->{state}, 'cancelled', 'cancel');
    fails_with(3, qr/is not live/, 'cancel', 2);

    is(row('queue', 'set', 'default', '--lease', '90 s', '--retention', '1 day', '--retry', '{"initial": 0}')->{lease}, '00:01:30', 'queue set');
    is(row('queue', 'pause', 'default')->{paused}, JSON::PP::true, 'queue pause');
    is_deeply(rows('call', 'claim', '{"max": 2}'), [], 'nothing is claimed from a paused queue');
    is(row('queue', 'resume', 'default')->{paused}, JSON::PP::false, 'queue resume');
    is_deeply([map { $_->{queue} } @{ rows('queue', 'list') }], ['default'], 'queue list');

    my $claimed = rows('call', 'claim', '{"max": 1, "worker": "t"}')->[0];
    is($claimed->{task}, 1, 'call claim');
    like($claimed->{lease_id}, qr/^\d+$/, 'a lease');
    is(row('cancel', 1)->{state}, 'cancelling', 'cancel a running task');
    fails_with(1, qr/^cloaca: lease lost: Task 1 is not held under this lease\.\nhint: /, 'call', 'complete', '{"task": 1, "lease_id": 1}');
    fails_with(1, qr/^cloaca: task is cancelled/, 'call', 'complete', "{\"task\": 1, \"lease_id\": $claimed->{lease_id}}");
    is(cloaca('call', 'release', "{\"task\": 1, \"lease_id\": $claimed->{lease_id}}"), 0, 'a void function');
    is($stdout, "null\n", 'prints null');
    is(task_state(1), 'cancelled', 'and the task is gone');

    for my $id (3, 4) {
        my $lease = rows('call', 'claim')->[0]{lease_id};
        is(rows('call', 'fail', "{\"task\": $id, \"lease_id\": $lease, \"error\": \"broken\", \"final\": true}")->[0]{state}, 'dead', 'fail');
    }
    is_deeply([map { $_->{error} } @{ rows('dead-letters') }], ['broken', 'broken'], 'dead-letters');
    is(rows('failures')->[0]{failed}, 2, 'failures');
    my $letters = rows('dead-letters', '--all', '--max', 1, '-q', 'default');
    is(scalar @$letters, 2, 'all pages of dead letters');
    is(row('retry', 3)->{retried}, 1, 'retry a task');
    fails_with(3, qr/is no dead letter/, 'retry', 3);
    fails_with(1, qr/Give either task or queue/, 'retry');
    is(cloaca('resolve', $letters->[1]{dead_letter}, '--resolution', 'known'), 0, 'resolve');
    is($stdout, "null\n", 'prints null');
    fails_with(3, qr/^cloaca: unknown dead letter/, 'resolve', 99);
    is(rows('dead-letters', '--status', 'resolved')->[0]{resolution}, 'known', 'resolved dead letters');
    is(row('delete-resolved')->{deleted}, 1, 'delete-resolved');
    is(row('retry', '-q', 'default')->{retried}, 0, 'retry a queue');
    is(row('maintain')->{expired}, 0, 'maintain');
    fails_with(1, qr/^cloaca: queue is not empty.*\nhint: /, 'queue', 'drop', 'default');
    is(row('queue', 'drop', 'default', '--force')->{dropped}, 1, 'queue drop');

    cloaca('functions');
    my %functions = map { $_->{function} => $_->{signature} } @{ decode_json($stdout) };
    like($functions{claim}, qr/claim\(queue text = 'default'/, 'functions');

    # Stdin is the payload when it is asked for, and what a loop reads from is left alone.
    my $id = row(\'{"from": "file"}', 'enqueue', '-q', 'file', 'mail', '-')->{task};
    is_deeply(row('task', $id)->{payload}, { from => 'file' }, 'payload from a file');
    is_deeply(row('task', row('enqueue', '-q', 'file', 'mail')->{task})->{payload}, {}, 'no payload');
    fails_with(2, qr/stdin is a file, which is read only when the payload is -/, \'{"from": "file"}', 'enqueue', '-q', 'file', 'mail');
    spew("$folder/names", "1\n2\n\n{}");
    is(system('sh', '-c', "while read -r name; do cloaca enqueue -q loop \"name \$name\" >/dev/null || exit; done <$folder/names"), 0, 'a loop over a file');
    is_deeply([map { "$_->{name} " . %{ $_->{payload} } } @{ rows('tasks', '-q', 'loop') }], ['name 1 0', 'name 2 0', 'name  0'], 'a task for each line');
    is(cloaca('maintain', '--all'), $backend eq 'sqlite' ? 1 : 0, 'maintain --all') or diag($stderr);

    # Tables, and what a payload must not do to a terminal.
    row('enqueue', 'n', '"\u001b[31m日本 \u009b"');
    cloaca('tasks', '--table');
    my ($head, $line) = split /\n/, $stdout;
    like($head, qr/^task +queue +name +state +payload/, 'a table');
    unlike($stdout, qr/\e|\x{c2}\x{9b}/, 'without control characters');
    cloaca('task', rows('tasks', '-q', 'default')->[0]{task}, '-t');
    like($stdout, qr/^task +\d+\nqueue +default\n/, 'one row as a list');
    my $terminal = qx{script -qec "stty cols 70; cloaca tasks" /dev/null </dev/null};
    like($terminal, qr/^task +queue/m, 'a table on a terminal');
    is_deeply([grep { length > 70 } split /\r?\n/, decode_utf8($terminal)], [], 'cut to its width');
});

done_testing;
