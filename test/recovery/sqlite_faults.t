#!/usr/bin/perl
# A SQLite file that is locked, full or read-only, and writers that are killed (SIGKILL) in the middle: a clear error, and nothing that
# was acknowledged is lost.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use Test::More;

recovery::build();
recovery::make('programs');
my $folder = $recovery::folder;

locked();
full('limited', "$folder/full.db");
no_space();
read_only();
killed();
done_testing();

# The answer and status of the command.
sub cloaca {
    my ($url, @arguments) = @_;
    my $answer = `build/cloaca --json --url '$url' @arguments 2>&1 </dev/null`;
    return ($answer, $? >> 8);
}

sub locked {
    my $url = "sqlite:///$folder/locked.db";
    cloaca($url, 'enqueue first');
    open my $holder, '|-', 'sqlite3', "$folder/locked.db" or die "sqlite3: $!\n";
    print $holder "begin immediate;\n.shell touch $folder/held\n";
    $holder->flush;
    recovery::comes(sub { -e "$folder/held" }) or die "no lock\n";
    my ($answer, $status) = cloaca("$url?_busy_timeout=100", 'enqueue second');
    like($answer, qr/"condition": "busy", "sqlstate": "55P03"/, 'locked: busy');
    isnt($status, 0, 'locked: the command fails');
    ($answer, $status) = cloaca("$url?_busy_timeout=100", 'tasks');
    is($status, 0, 'locked: readers are not in the way');

    my $writer = recovery::start('writer', 'enqueue', "$url?_busy_timeout=100", 1, 1, 1, "$folder/writer.log");
    is(recovery::reap($writer), 0, 'locked: a writer gives up without harm');
    is(recovery::ask($url, "select count(*) from cloaca_task"), 1, 'locked: what was refused is not there');

    # A worker goes on as soon as the lock is gone.
    my $claimer = recovery::start('claimer', 'work', "$url?_busy_timeout=100", 'claimer', 1, 60_000, "$folder/claimer.log");
    recovery::comes(sub { grep { (readlink $_ // '') eq "$folder/locked.db" } glob "/proc/$claimer/fd/*" }) or die "the file is not opened\n";
    recovery::wait_ms(300);
    print $holder "rollback;\n";
    close $holder;
    cloaca($url, 'enqueue third --queue storm');
    my $left = sub { recovery::ask($url, "select count(*) from cloaca_task where queue = 'storm'") };
    ok(recovery::reaches($left, 0), 'locked: a claimer that waited works on');
    is_deeply([recovery::failures()], [], 'locked: no worker failed');
    recovery::stop_all();
}

# What writers were told of, by their logs.
sub acknowledged {
    my ($logs) = @_;
    my @mine = map { /^task (\d+) (\d+)$/ ? [$1, $2] : () } map { split /\n/, recovery::read_file($_) } glob "$folder/$logs.log" =~ s/ /?/gr;
    return @mine;
}

# A file that may not grow any further.
sub full {
    my ($what, $file) = @_;
    my $url = "sqlite:///$file";
    is(recovery::reap(recovery::start('fill', 'fill', $url, $what eq 'limited' ? 200 : 1_000_000, "$folder/$what.log")), 0,
        "$what: the writer goes on after the error");
    my %there = map { split /\|/ } split /\n/, recovery::must($url, 'select id, payload from cloaca_task');
    my @mine = acknowledged($what);
    cmp_ok(scalar @mine, '>', 100, "$what: tasks were acknowledged");
    is_deeply([grep { ($there{ $_->[1] } // 'lost') ne $_->[0] } @mine], [], "$what: and are there");
    is(scalar(keys %there), scalar(@mine), "$what: what was refused is not");
    is(recovery::must($url, 'pragma integrity_check'), 'ok', "$what: the file is in order");
}

# A file system without space, where we may make one.
sub no_space {
    my $mount = "$folder/small";
    mkdir $mount;
  SKIP: {
        skip 'a small file system takes root', 6 if $> != 0 || system("mount -t tmpfs -o size=2m cloaca-test $mount 2>/dev/null") != 0;
        full('no space', "$mount/small.db");
        my ($answer, $status) = cloaca("sqlite:///$mount/small.db", 'enqueue more', "'" . '"' . 'x' x 100_000 . '"' . "'");
        like($answer, qr/"condition": "storage_full", "sqlstate": "53100"/, 'no space: a clear error');
        system('umount', $mount);
    }
}

sub read_only {
    my $url = "sqlite:///$folder/read_only.db";
    cloaca($url, 'enqueue first');
    my ($answer, $status) = cloaca("$url?mode=ro", 'enqueue second');
    like($answer, qr/"condition": "read_only", "sqlstate": "25006"/, 'read-only: a clear error');
    isnt($status, 0, 'read-only: the command fails');
    ($answer, $status) = cloaca("$url?mode=ro", 'tasks');
    like($answer, qr/"name": "first"/, 'read-only: reading works');
    unlike($answer, qr/"name": "second"/, 'read-only: nothing changed');
}

sub killed {
    my $url = "sqlite:///$folder/killed.db";
    my $next = 0;
    my $begin = sub {
        $next++;
        return recovery::start("writer$next", 'enqueue', $url, $next * 1_000_000, $next * 1_000_000 + 999_999, (1, 10, 100)[$next % 3],
            "$folder/killed$next.log");
    };
    my @running = map { $begin->() } 1 .. 4;
    for my $round (1 .. 30) {
        recovery::wait_ms(20 + rand 100);
        # Some of them have time to do something, however slow they are.
        recovery::comes(sub { acknowledged('killed*') > 10 * $round }) or die "nothing is enqueued\n" if $round % 3 == 0;
        recovery::kill_one(shift @running);
        push @running, $begin->();
    }
    is_deeply([recovery::failures()], [], 'killed: no writer met an error that no fault explains');
    recovery::stop_all();
    my %there = map { split /\|/ } split /\n/, recovery::must($url, 'select id, payload from cloaca_task');
    my @mine = acknowledged('killed*');
    cmp_ok(scalar @mine, '>', 100, 'killed: tasks were acknowledged');
    is_deeply([grep { ($there{ $_->[1] } // 'lost') ne $_->[0] } @mine], [], 'killed: and are there');
    is(recovery::must($url, 'pragma integrity_check'), 'ok', 'killed: the file is in order');
}
