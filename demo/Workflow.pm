# The second act: a workflow over some of the same files.
#
#   list ─┬─► checksum-01 ─┬─► merge ─► report
#         ├─► words-01    ─┤
#         ├─► checksum-02 ─┤
#         └─► ...         ─┘
#
# demo/step does each task. While they run, this program has one of the files locked, as a program that writes to it might: who wants to
# read it finds it "temporarily unavailable", and the workflow's retry policy says that such errors pass. The lock is given up as soon as
# the database has a retry of it on record, so the next attempt succeeds.
package Workflow;
use strict;
use warnings;
use Demo;
use Fcntl qw(:flock);
use JSON::PP ();
use List::Util qw(sum0);
use Time::HiRes qw(sleep time);

my ($queue, $workers, $concurrency, $most, $patience) = ('steps', 3, 4, 24, 120);

# The roots, and all files below them: those of the first act. Ends the program when anything is wrong.
sub act {
    my ($top, $folder, $roots, $all) = @_;
    my @files = choose($most, @$all);
    print "\nThe second act: a workflow over ", scalar @files, " of the files\n\n";
    define($folder, scalar @files);
    my ($lock, $number) = lock_one(@files);
    my $started = row('workflow', 'start', 'count-files', '--context',
        encode({ roots => [map { escape($_) } @$roots], count => scalar @files }));
    my $begun = time;
    start_worker("worker-$_", "$folder/step-worker-$_", '--queue', $queue, '--concurrency', $concurrency, '--drain', '--quiet',
        '--', "$top/demo/step") for 1 .. $workers;
    my @retries = watch($started->{execution}, $lock);
    my $seconds = time - $begun;
    my $execution = row('workflow', 'status', $started->{execution});
    fail("the execution is $execution->{state}: " . ($execution->{error} // '')) if $execution->{state} ne 'completed';
    recovered($started->{execution}, $number, @retries);
    my @wrong = check($execution, $folder, @files);
    report($execution, $seconds);
    fail(map { "$_\n" } @wrong[0 .. ($#wrong < 9 ? $#wrong : 9)], @wrong . ' differences from coreutils') if @wrong;
    print "all sums and words of the workflow as coreutils gives them\n";
}

# A task for the list, two for each file, and two for what is made of them.
sub define {
    my ($folder, $files) = @_;
    my (@tasks, @counting);
    for my $number (1 .. $files) {
        for my $handler (qw(checksum words)) {
            push @counting, { name => sprintf('%s-%02d', $handler, $number), handler => $handler, dependencies => ['list'],
                input => { number => $number }, max_attempts => 5, timeout => 60,
                retry => { strategy => 'fixed', initial => 1, jitter => 0, condition => 'transient' } };
        }
    }
    @tasks = ({ name => 'list' }, @counting, { name => 'merge', dependencies => [map { $_->{name} } @counting] },
        { name => 'report', dependencies => ['merge'] });
    my $file = "$folder/count-files.json";
    open my $out, '>', $file or fail("cannot write $file: $!");
    print $out encode({ queue => $queue, timeout => $patience, tasks => \@tasks });
    close $out or fail("cannot write $file: $!");
    my $defined = row('workflow', 'define', $file);
    print scalar @tasks, " tasks, version $defined->{version}\n";
}

# Locks one of the first files, whose tasks fit on any screen; returns the lock, and the number of the file, from 1.
sub lock_one {
    my (@files) = @_;
    my $place = $#files < 2 ? $#files : 2;
    open my $lock, '<', $files[$place] or fail("cannot read $files[$place]: $!");
    flock $lock, LOCK_EX | LOCK_NB or fail("cannot lock $files[$place]: $!");
    printf "locked: %s\n\n", shown($files[$place]);
    return ($lock, $place + 1);
}

# Shows the execution until it ends, and gives up the lock when it has made a task fail. Returns the retries.
sub watch {
    my ($execution, $lock) = @_;
    start('watch', undef, 'workflow', 'status', $execution, '--watch', '--table');
    my ($begun, $last, @retries) = (time, 0);
    while (%running) {
        fail("the execution has not ended after $patience s") if time - $begun > $patience + 10;
        sleep 0.2;
        reap();
        my @events = rows('workflow', 'events', $execution, '--after', $last);
        $last = $events[-1]{event} if @events;
        push @retries, grep { $_->{state} eq 'retrying' } @events;
        flock $lock, LOCK_UN if @retries;
    }
    return @retries;
}

# The tasks that found the file locked ran again, and completed.
sub recovered {
    my ($execution, $number, @retries) = @_;
    @retries or fail('no task was ever retried');
    my %task = map { $_->{name} => $_ } rows('workflow', 'tasks', $execution, '--max', 1000);
    print "\n";
    for my $retry (@retries) {
        my $task = $task{ $retry->{name} };
        fail("$retry->{name} failed in attempt $retry->{attempt}: $retry->{detail}")
            if $retry->{name} !~ sprintf('-%02d$', $number) || $retry->{detail} !~ /temporarily unavailable/;
        fail("$retry->{name} did not recover") if $task->{state} ne 'completed' || $task->{attempt} <= $retry->{attempt};
        print "$retry->{name}: attempt $retry->{attempt} failed (", $retry->{detail} =~ s/\s+/ /gr,
            "), attempt $task->{attempt} completed\n";
    }
}

# What differs from coreutils.
sub check {
    my ($execution, $folder, @files) = @_;
    my %expected = coreutils($folder, @files);
    my @counted = @{ $execution->{context}{merged} };
    my (%seen, @wrong);
    for my $counted (@counted) {
        my $path = unescape($counted->{path});
        my $right = $expected{$path};
        push @wrong, "$path was no input" if !$right;
        push @wrong, "$path was counted twice" if $seen{$path}++;
        push @wrong, "$path: wrong $_" for grep { $right && ($counted->{$_} // '') ne $right->{$_} } qw(sha256 words bytes);
    }
    push @wrong, map {"$_ is missing"} grep { !$seen{$_} } @files;
    my $report = $execution->{result}{report};
    for my $key (qw(words bytes)) {
        push @wrong, "wrong sum of $key" if ($report->{$key} // '') ne sum0(map { $_->{$key} } values %expected);
    }
    push @wrong, 'wrong number of files' if ($report->{files} // '') ne @files;
    return @wrong;
}

sub report {
    my ($execution, $seconds) = @_;
    my $report = $execution->{result}{report};
    print "\n";
    printf "%-24s %14s\n", @$_ for map({ [$_, $report->{$_}] } qw(files words bytes)), [tasks => $execution->{tasks}{total}],
        [seconds => sprintf '%.1f', $seconds];
    print "\n";
}

sub encode {
    my ($value) = @_;
    return JSON::PP->new->canonical->encode($value);
}

1;
