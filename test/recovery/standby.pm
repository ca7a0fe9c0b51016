# A streaming standby of the server that test/cluster started: a copy made by pg_basebackup, in a folder of its own beside that one's. It is
# a child of the test and ends with it, even by kill -9.
package standby;
use strict;
use warnings;
use POSIX ();
use recovery;    # First: whose END waits for every child.

my @children;
my $owner = $$;

END {
    if ($$ == $owner) {
        local $?;
        stop($_) for @children;
    }
}

# Makes and starts one, waits until it answers, and gives its URL.
sub start {
    my $data = "$ENV{CLOACA_PGROOT}/standby";
    my $user = $> == 0 ? '--reuid=postgres --regid=postgres --init-groups' : '';
    system("cd / && setpriv $user -- $ENV{CLOACA_PGBIN}/pg_basebackup -D $data -R -c fast -h $ENV{PGHOST} -U postgres 2>&1") == 0
        or die "pg_basebackup failed\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        chdir '/';
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$ENV{CLOACA_PGROOT}/standby.log" or die;
        open STDERR, '>&', \*STDOUT or die;
        exec 'setpriv', (split ' ', $user), '--pdeathsig', 'INT', '--', "$ENV{CLOACA_PGBIN}/postgres", '-D', $data, '-p', 5433
            or POSIX::_exit(127);
    }
    push @children, $pid;
    my $url = "postgresql:///postgres?host=$ENV{PGHOST}&port=5433&user=postgres";
    return $url if recovery::comes(sub { defined recovery::ask($url, 'select 1') });
    die "the standby does not answer:\n" . log_text();
}

sub log_text {
    return recovery::read_file("$ENV{CLOACA_PGROOT}/standby.log");
}

# Everything that the primary has written by now has been replayed.
sub wait_for {
    my ($primary, $standby) = @_;
    my $end = recovery::must($primary, 'select pg_current_wal_insert_lsn()');
    my $asked = 0;
    return recovery::comes(sub {
        recovery::must($primary, 'select pg_switch_wal()') if ++$asked % 50 == 0;
        return recovery::must($standby, "select pg_last_wal_replay_lsn() >= '$end'") eq 't';
    });
}

sub stop {
    my ($pid) = @_;
    kill 'INT', $pid;
    waitpid $pid, 0;
}

1;
