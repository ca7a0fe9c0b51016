# Sessions of psql in the background, for tests of what one session does while others sleep or end.
package sessions;
use strict;
use warnings;
use POSIX ();
use recovery;

my %running;    # what a session prints goes to a file; by process id
my $number = 0;
my $owner = $$;

END {
    if ($$ == $owner) {
        local $?;
        kill 'KILL', keys %running;
    }
}

# Starts psql with some statements; --env may come first: { PGOPTIONS => ... }. Returns its process id.
sub begin {
    my $env = ref $_[0] ? shift : {};
    my $file = "$recovery::folder/session" . ++$number;
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        @ENV{ keys %$env } = values %$env;
        open STDIN, '<', '/dev/null' or die;
        open STDOUT, '>', $file or die;
        open STDERR, '>&', \*STDOUT or die;
        exec 'psql', '-X', '-A', '-t', '-q', map { ('-c', $_) } @_ or POSIX::_exit(127);
    }
    $running{$pid} = $file;
    return $pid;
}

# What the session printed, when it ends within some milliseconds, or as long as our patience lasts; undef when it does not.
sub end {
    my ($pid, $limit) = @_;
    my $end = recovery::seconds() + (defined $limit ? $limit / 1000 : $recovery::patience);
    while (waitpid($pid, POSIX::WNOHANG()) != $pid) {
        return undef if recovery::seconds() > $end;
        recovery::wait_ms(1);
    }
    my $text = recovery::read_file(delete $running{$pid});
    chomp $text;
    return $text;
}

sub hang_up {
    my ($pid) = @_;
    kill 'KILL', $pid;
    waitpid $pid, 0;
    delete $running{$pid};
}

# Waits until a query answers 't'.
sub until_true {
    my ($url, $query) = @_;
    recovery::comes(sub { recovery::must($url, $query) eq 't' }) or die "never true: $query\n";
    return 1;
}

# The process ids of the backends that sleep in wait_for_task, in the order in which they began.
sub sleepers {
    my ($url) = @_;
    return split /\n/, recovery::must($url, "select pid from pg_stat_activity where wait_event_type = 'Extension' and state = 'active'
        order by query_start");
}

# Waits until there are so many.
sub until_asleep {
    my ($url, $count) = @_;
    until_true($url, "select count(*) = $count from pg_stat_activity where wait_event_type = 'Extension' and state = 'active'");
    return sleepers($url);
}

1;
