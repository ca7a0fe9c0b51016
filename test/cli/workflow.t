#!/usr/bin/perl
# cloaca workflow: definitions, executions that commands work on, and how they are shown.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use Encode;
use Test::More;

my $order = <<'END';
{"tasks": [{"name": "fetch"}, {"name": "sum \"of\" \\ all", "dependencies": ["fetch"]}, {"name": "count", "dependencies": ["fetch"]},
  {"name": "merge", "dependencies": ["sum \"of\" \\ all", "count"]}, {"name": "alone"}]}
END
my $failing = '{"tasks": [{"name": "bad", "max_attempts": 1}, {"name": "after", "dependencies": ["bad"]}]}';

sub lines {
    cloaca(@_);
    return split /\n/, decode_utf8($stdout);
}

on_backends(sub {
    spew("$folder/order.json", $order);
    my $defined = row('workflow', 'define', "$folder/order.json");
    ok($defined->{created}, 'a definition from a file, with its name');
    is(row('workflow', 'show', 'order')->{tasks}, 5, 'it is there');
    ok(!row(\$order, 'workflow', 'define', '-', '--name', 'order')->{created}, 'the same from stdin');
    is(row(\$failing, 'workflow', 'define', '-', '-n', 'failing')->{workflow}, 2, 'another');
    is_deeply([map { $_->{name} } @{ rows('workflow', 'definitions') }], ['failing', 'order'], 'the list of them');
    fails_with(2, qr/stdin needs --name/, \$order, 'workflow', 'define', '-');
    fails_with(1, qr/is not JSON/, \'{', 'workflow', 'define', '-', '-n', 'x');
    fails_with(1, qr/invalid definition/, \'{"tasks": []}', 'workflow', 'define', '-', '-n', 'x');
    fails_with(1, qr{cannot read /nonexistent/x.json: No such file}, 'workflow', 'define', '/nonexistent/x.json');

    trees();
    strange_names();
    my $execution = row('workflow', 'start', 'order', '--context', '{"a": 1}', '--key', 'k')->{execution};
    is_deeply(row('workflow', 'start', 'order', '-k', 'k'), { execution => $execution, created => JSON::PP::false }, 'a key starts it once');
    work_on($execution);
    watching();
    on_a_terminal();
    on_a_narrow_terminal();
    full_outputs();
    lost_while_waiting();
    managing();
    fails_with(3, qr/unknown workflow/, 'workflow', 'start', 'nobody');
    fails_with(3, qr/unknown execution/, 'workflow', 'status', 999);
    fails_with(3, qr/unknown workflow/, 'workflow', 'graph', 'nobody');
});

# The graph of a definition, in every form.
sub trees {
    local @ENV{qw(LC_ALL NO_COLOR)} = ('C.UTF-8', '');
    is_deeply([lines('workflow', 'graph', 'order', '--table')], [
        '├─ • fetch', '│  ├─ • sum "of" \ all', '│  │  └─ • merge', '│  └─ • count', '│     └─ • merge (above)', '└─ • alone',
    ], 'a tree in Unicode');
    $ENV{LC_ALL} = 'C';
    is_deeply([lines('workflow', 'graph', 'order', '--table')], [
        '|- o fetch', '|  |- o sum "of" \ all', '|  |  `- o merge', '|  `- o count', '|     `- o merge (above)', '`- o alone',
    ], 'and in ASCII');
    is_deeply(rows('workflow', 'graph', 'order')->[3],
        { name => 'merge', state => undef, dependencies => ['sum "of" \ all', 'count'] }, 'and as JSON');
    my @dot = lines('workflow', 'graph', 'order', '--dot');
    is(scalar(grep { / -> / } @dot), 4, 'dot has the edges');
    spew("$folder/order.dot", join "\n", @dot);
    my $drawn = qx{dot -Tplain $folder/order.dot};
    is($?, 0, 'dot accepts it');
    like($drawn, qr/"sum \\"of\\" \\\\ all"|sum "of" \\ all|sum \\"of\\"/, 'with the names as they are');
}

# A name that is a number, entities, and characters that turn the direction of a line.
sub strange_names {
    local @ENV{qw(LC_ALL NO_COLOR)} = ('C.UTF-8', '');
    my $turns = join '', map { chr } 0x202a .. 0x202e, 0x2066 .. 0x2069;
    my $strange = JSON::PP->new->utf8->encode({ tasks => [{ name => "b &lt; c" }, { name => "\x{202f}$turns\x{2029}" }] });
    row(\$strange, 'workflow', 'define', '-', '-n', '987654');
    is_deeply([lines('workflow', 'graph', '987654', '--table')],
        ['├─ • b &lt; c', "└─ • \x{202f}" . join('', map { "\\u$_" } qw(202a 202b 202c 202d 202e 2066 2067 2068 2069)) . "\x{2029}"],
        'a workflow whose name is a number is drawn, and no name turns the line');
    is_deeply([map { $_->{name} } @{ rows('workflow', 'graph', '987654') }], ['b &lt; c', "\x{202f}$turns\x{2029}"], 'in JSON a name stays what it is');
    cloaca('workflow', 'graph', '987654', '--dot');
    spew("$folder/strange.dot", $stdout);
    like(scalar qx{dot -Tsvg $folder/strange.dot}, qr/>b &amp;lt; c</, 'and dot reads no entities in it');
    fails_with(3, qr/unknown execution: .*987655/, 'workflow', 'graph', '987655');
    fails_with(2, qr/must not be empty/, 'workflow', 'graph', '');
}

sub work_on {
    my ($execution) = @_;
    my $command = 'echo "{\"$CLOACA_NAME\": \"$CLOACA_EXECUTION\"}" | tr -d "\\\\" | sed "s/sum.*all/sum/"';
    is(row('work', '--once', '-c', 2, '--', 'sh', '-c', $command)->{completed}, 5, 'work does the tasks of a workflow, one after the other');
    my $status = row('workflow', 'status', $execution);
    is($status->{state}, 'completed', 'then it is completed');
    is_deeply($status->{result}, { merge => { merge => "$execution" }, alone => { alone => "$execution" } }, 'with what the commands printed');
    is_deeply($status->{context}, { a => 1, map { $_ => "$execution" } qw(fetch sum count merge alone) }, 'and all of it in the context');
    is(scalar @{ rows('workflow', 'tasks', $execution, '--state', 'completed') }, 5, 'its tasks');
    my @states = map { $_->{state} } @{ rows('workflow', 'events', $execution) };
    is($states[-1], 'completed', 'its events');
    is_deeply([map { $_->{execution} } @{ rows('workflow', 'list', '--workflow', 'order', '--state', 'completed') }], [$execution], 'the list');
    like((lines('workflow', 'graph', $execution, '--dot'))[1], qr/label="order $execution"/, 'a graph of it says of what');
    is(cloaca('workflow', 'start', 'order', '-k', 'k', '--wait', '--json'), 0, 'waiting for what has ended');
    is($stderr, qq({"execution": $execution, "created": false}\n), 'says for what');
    local $ENV{LC_ALL} = 'C';
    my @shown = lines('workflow', 'status', $execution, '--table');
    like($shown[0], qr/^order $execution  completed  5 of 5$/, 'its status for people');
    is($shown[2], '|- + fetch  completed', 'with the tree');
}

sub watching {
    my $execution = row('workflow', 'start', 'order')->{execution};
    my $watch = start('workflow', 'status', $execution, '--watch');
    my $waiting = start('workflow', 'start', 'failing', '--wait');
    wait_until('the watch shows the start', sub { slurp($watch->{out}) =~ /"pending"/ });
    wait_until('the other one says that it has started', sub { slurp($waiting->{err}) =~ /^cloaca: execution \d+ has started$/m });
    is(slurp($waiting->{out}), '', 'and nothing else before it ends');
    my $worker = start('work', '--drain', '--quiet', '--', 'sh', '-c', 'test "$CLOACA_NAME" != bad');
    is(finish($watch), 0, 'a watch ends with the execution: completed');
    my @events = map { JSON::PP::decode_json($_) } split /\n/, slurp($watch->{out});
    is($events[-1]{state}, 'completed', 'the last line says so');
    is(scalar(grep { ($_->{name} // '') eq 'merge' && $_->{state} eq 'running' } @events), 1, 'each event once');
    is(finish($waiting), 1, 'a start that waits ends with it: failed');
    like(slurp($waiting->{out}), qr/"state": "failed".*"error": "exit status 1"/, 'and shows it');
    is(finish($worker), 0, 'the queue is drained');
    is(cloaca('workflow', 'status', $execution, '--watch', '--table'), 0, 'one that has ended');
    like($stdout, qr/^[-0-9]+ [0-9:.]+  merge completed/m, 'is told for people, a line each');
}

# What a watch shows as the execution goes on, and what is left on the screen.
sub on_a_terminal {
    my $execution = row('workflow', 'start', 'order')->{execution};
    my $file = "$folder/screen-$backend";
    local @ENV{qw(LC_ALL TERM NO_COLOR)} = ('C.UTF-8', 'xterm', '');
    my $watch = watch_on_screen($execution, 80, $file);
    my $shown = sub { decode_utf8(slurp($file)) };
    wait_until('the terminal shows an execution that begins', sub { $shown->() =~ /order $execution .*pending.*  ░{20}  0 of 5\r\n/ });
    is(row('work', '-n', 1, '-q', 'default', '--', 'true')->{completed}, 1, 'a task is done');
    wait_until('the bar has grown', sub { $shown->() =~ /order $execution .*running.*  █{4}░{16}  1 of 5\r\n.*alone\N*\r\n/s });
    my @first = screen($shown->());
    like($first[2], qr/^├─ ✓ fetch +completed/, 'its line has a new sign');
    is(scalar(grep { /of 5/ } @first), 1, 'in the place of the old picture');
    is(row('work', '--once', '--', 'true')->{completed}, 4, 'the others are');
    is(finish($watch), 0, 'the watch ends with the execution');
    my @last = screen($shown->());
    like($last[0], qr/^order $execution  completed  █{20}  5 of 5$/, 'it leaves the end on the screen');
    is_deeply([map { /(\S+) +(completed|\(above\))$/ } @last[2 .. $#last]],
        [qw(fetch completed all completed merge completed count completed merge (above) alone completed)], 'with every task, and nothing else');
    like($shown->(), qr/\e\[32m✓ fetch\e\[0m/, 'in colours');
}

# No line is broken in two by the terminal, which no count of lines would know of: neither the long ones nor those far to the right.
sub on_a_narrow_terminal {
    my $chain = JSON::PP->new->encode({ tasks => [
        map { { name => "step $_", max_attempts => 1, dependencies => [$_ > 1 ? 'step ' . ($_ - 1) : ()] } } 1 .. 30] });
    row(\$chain, 'workflow', 'define', '-', '-n', 'a chain of thirty steps');
    my $execution = row('workflow', 'start', 'a chain of thirty steps')->{execution};
    my $file = "$folder/narrow-$backend";
    local @ENV{qw(LC_ALL TERM NO_COLOR)} = ('C.UTF-8', 'xterm', '');
    my $watch = watch_on_screen($execution, 24, $file);
    wait_until('the narrow terminal shows it', sub { slurp($file) =~ /since.*more/s });
    is(row('work', '--once', '--', 'sh', '-c', 'echo "this is the error of the first step" >&2; exit 1')->{dead}, 1, 'a task fails');
    is(finish($watch), 1, 'the watch ends');
    my $written = decode_utf8(slurp($file)) =~ s/^Script .*\n//gmr =~ s/\e\[[\d;]*[AJm]|\r//gr;
    is_deeply([grep { length > 24 } split /\n/, $written], [], 'it never wrote more than a line has room for');
    my @last = grep { length } screen(decode_utf8(slurp($file)));
    is(scalar @last, 33, 'nothing but the last picture stays');
    like($last[2], qr/^exit status 1: this/, 'with the error');
    like($last[32], qr/– step/, 'and with the names of the last tasks');
}

# What is written where there is no room for it ends with the reason, and so does a watch that nobody can see.
sub full_outputs {
    my $execution = row('workflow', 'start', 'order')->{execution};
    for my $shape ('--json', '--table') {
        my $said = qx{timeout 60 cloaca workflow status $execution --watch $shape 2>&1 >/dev/full};
        is($? >> 8, 1, "a watch $shape into a full device ends");
        is($said, "cloaca: cannot write the output: No space left on device\n", 'with the reason');
    }
    row('workflow', 'cancel', $execution);
}

# The execution goes on without the one that waits, who has said which.
sub lost_while_waiting {
    return if $backend eq 'sqlite';
    my $waiting = start('workflow', 'start', 'order', '--wait');
    wait_until('the start is told', sub { slurp($waiting->{err}) =~ /execution \d+ has started/ });
    my ($execution) = slurp($waiting->{err}) =~ /execution (\d+)/;
    sql(q{do $$ begin perform pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'cloaca'; end $$});
    is(finish($waiting), 4, 'a wait that loses the database');
    is(row('workflow', 'status', $execution)->{state}, 'pending', 'leaves an execution that goes on');
    row('workflow', 'cancel', $execution);
}

# A watch on a terminal of so many columns, whose output goes to the file.
sub watch_on_screen {
    my ($execution, $columns, $file) = @_;
    my $pid = fork // die "cannot fork: $!";
    return { pid => $pid, err => $file } if $pid;
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', '/dev/null';
    exec 'script', '-qefc', "stty cols $columns rows 24; cloaca workflow status $execution --watch", $file or POSIX::_exit(127);
}

# The lines that stay on a terminal, without colours: a watch only moves up and clears what is below.
sub screen {
    my ($text) = @_;
    my @lines;
    while ($text =~ /\G(?:\e\[(\d+)A\e\[J|([^\n]*)\n)/gc) {
        defined $1 ? splice(@lines, -$1) : push @lines, $2 =~ s/\e\[[\d;]*m|\r//gr;
    }
    return grep { !/^Script / } @lines;
}

sub managing {
    my $execution = row('workflow', 'start', 'order')->{execution};
    is(row('workflow', 'pause', $execution)->{state}, 'paused', 'pause');
    is(row('work', '--once', '--', 'true')->{claimed}, 0, 'nothing is claimed then');
    row('workflow', 'resume', $execution);
    is(row('workflow', 'cancel', $execution, '--reason', 'enough')->{state}, 'cancelled', 'cancel');
    is(row('workflow', 'status', $execution)->{error}, 'enough', 'with the reason');
    is(cloaca('workflow', 'status', $execution, '--watch'), 1, 'a watch of it fails');
    cmp_ok(row('workflow', 'retry', $execution)->{tasks}, '>=', 1, 'retry');
    is(row('work', '--once', '--', 'true')->{completed}, 5, 'runs it again');
    fails_with(1, qr/execution is finished/, 'workflow', 'signal', $execution, 'go', '{}');
    my $another = row('workflow', 'start', 'order', '--timeout', '1 h')->{execution};
    cmp_ok(row('workflow', 'signal', $another, 'go', '[1]')->{signal}, '>', 0, 'signal');
    row('workflow', 'cancel', $another);
}

done_testing;
