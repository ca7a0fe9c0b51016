#!/usr/bin/perl
# cloaca work: what the command gets, and what becomes of the task by how it ends.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use Encode;
use Test::More;

sub work {
    my ($script, @options) = @_;
    return row('work', '--once', @options, '--', 'sh', '-c', $script);
}

# Enqueues one task, works on it once, and returns it.
sub worked {
    my ($script, $payload, @options) = @_;
    my $id = row(\encode_utf8($payload // '{}'), 'enqueue', 'n', '-')->{task};
    work($script, '--quiet', @options);
    return row('task', $id);
}

on_backends(sub {
    row('queue', 'set', 'default', '--retention', '1 day', '--retry', '{"strategy": "fixed", "initial": 3600, "jitter": 0}');

    is_deeply(worked('cat', '{"a": [1, null, "é"]}')->{result}, { a => [1, undef, 'é'] }, 'payload on stdin, JSON on stdout: the result');
    is(worked('echo plain; echo text')->{result}, "plain\ntext", 'other text becomes a JSON string');
    is(worked('true')->{result}, undef, 'nothing becomes null');
    is(worked('printf "a\377\000b"')->{result}, "a\x{fffd}\x{fffd}b", 'bytes that are no UTF-8 are replaced');
    is(worked('cat', '"it\'s \"text\"\nof two lines"', '--raw')->{result}, "it's \"text\"\nof two lines", '--raw gives the text');
    is(length worked('head -c 3000000 /dev/zero | tr "\0" x')->{result}, 3_000_000, 'a large result');
    is(worked('true', '"' . 'x' x 100_000 . '"')->{state}, 'completed', 'a command need not read its stdin');
    is(worked('wc -c', '"' . 'x' x 1_000_000 . '"')->{result}, 1_000_003, 'a large payload');

    my $id = row('enqueue', 'the name', '-p', 4, '--max-attempts', 9)->{task};
    work('printf "{\"all\": \"%s\"}" "$CLOACA_TASK|$CLOACA_NAME|$CLOACA_QUEUE|$CLOACA_PRIORITY|$CLOACA_ATTEMPT|$CLOACA_MAX_ATTEMPTS|$CLOACA_WORKER|${CLOACA_LEASE_ID:+leased}"',
        '-w', 'me');
    is(row('task', $id)->{result}{all}, "$id|the name|default|4|1|9|me|leased", 'the environment');

    my $failed = worked('echo "it broke" >&2; exit 3');
    is_deeply([@$failed{qw(state attempt error)}], ['scheduled', 1, 'exit status 3: it broke'], 'another exit status: tried again later');
    is(worked('printf "dur\351e\000\000 \000\377" >&2; exit 1')->{error}, "exit status 1: dur\x{fffd}e\x{fffd}\x{fffd} \x{fffd}\x{fffd}",
        'what it says is kept, without bytes that are no text');
    my $killed = worked('kill -9 $$');
    is_deeply([@$killed{qw(state error)}], ['scheduled', 'killed by signal 9 (Killed)'], 'killed by a signal');
    my $final = worked('echo never >&2; exit 100');
    is_deeply([@$final{qw(state error)}], ['dead', 'exit status 100: never'], '100: a dead letter at once');
    my $later = worked('exit 75', undef, '--defer', '1 h');
    is_deeply([@$later{qw(state attempt error)}], ['scheduled', 0, undef], '75: later, and the attempt does not count');
    my $slow = worked('sleep 30', undef, '--timeout', '300ms');
    is_deeply([@$slow{qw(state error)}], ['scheduled', 'timed out'], '--timeout');
    my $stubborn = worked('trap "" TERM; sleep 30 & wait; sleep 30', undef, '--timeout', '200ms', '--kill-after', '200ms');
    is($stubborn->{error}, 'timed out', 'SIGKILL follows SIGTERM');
    my $noisy = worked('yes error | head -n 20000 >&2; echo last >&2; exit 1');
    like($noisy->{error}, qr/error\nerror\nlast$/, 'the end of stderr is kept');
    ok(length $noisy->{error} <= 10_000, 'not all of it');
    my $left = worked("sleep 6000 & echo \$! >$folder/left; echo 1");
    is($left->{result}, 1, 'a process left behind does not hold the task up');
    my ($behind) = slurp("$folder/left") =~ /^(\d+)$/;
    wait_until('and is killed', sub { slurp("/proc/$behind/stat") =~ /^$|\) Z / });

    row('queue', 'set', 'retry', '--retry', '{"initial": 0}');
    $id = row('enqueue', '-q', 'retry', 'n')->{task};
    my $counts = row('work', '--drain', '-q', 'retry', '--', 'sh', '-c', 'exit 7');
    is_deeply([@$counts{qw(claimed failed dead)}], [3, 3, 1], 'tried three times, then dead');
    is(scalar @{ row('task', $id)->{errors} }, 3, 'with the history of attempts');

    row('enqueue', '-q', 'few', 'n') for 1 .. 5;
    is(row('work', '-q', 'few', '-n', 3, '-c', 2, '--', 'true')->{completed}, 3, '--max-tasks');
    is(rows('stats', 'few')->[0]{ready}, 2, 'the others are left');
    is(row('work', '-q', 'few', '--drain', '--', 'true')->{completed}, 2, '--drain');
    is(row('work', '-q', 'never heard of', '--drain', '--', 'true')->{claimed}, 0, 'an unknown queue is empty');

    row('enqueue', '-q', 'later', '--delay', '1 h', 'n');
    is(row('work', '-q', 'later', '--once', '--', 'true')->{claimed}, 0, '--once does not wait for what is scheduled');
    row('enqueue', '-q', 'soon', '--delay', '1', 'n');
    is(row('work', '-q', 'soon', '--drain', '--', 'true')->{claimed}, 1, '--drain does');

    $id = row('enqueue', '-q', 'broken', 'n')->{task};
    fails_with(1, qr{cannot run /nonexistent/command: No such file}, 'work', '-q', 'broken', '--', '/nonexistent/command');
    is_deeply([@{ row('task', $id) }{qw(state attempt)}], ['ready', 0], 'a command that cannot be run costs no attempt');
    fails_with(2, qr/the command to run is missing/, 'work', '-q', 'x');
    fails_with(2, qr/--concurrency must be from/, 'work', '-c', 0, 'true');
    fails_with(2, qr/--lease must be a duration/, 'work', '--lease', 'long', 'true');
    fails_with(1, qr/invalid name: The queue name/, 'work', '-q', '', '--once', 'true');

    row('enqueue', '-q', 'talk', 'n');
    cloaca('work', '-q', 'talk', '--once', '-v', '-w', 'w1', '--', 'sh', '-c', 'echo told >&2');
    like($stderr, qr/^told$/m, 'stderr is passed on');
    like($stderr, qr/^cloaca work w1: task \d+: completed$/m, '--verbose');
});

done_testing;
