# What the recovery tests share: workers (test/recovery/worker.c) that are started, killed and replaced, a way to ask either database,
# and the reading of what the workers were promised.
#
# The tests run in the top folder. Those that need a server start themselves again under test/cluster.
package recovery;
use strict;
use warnings;
use File::Temp qw(tempdir);
use POSIX ();

our $folder;    # of this run, for logs and files
our $program = 'build/test/recovery_worker';
my %names;    # of running workers, by process id
my $owner = $$;

END {
    if ($$ == $owner) {
        local $?;
        kill 'KILL', keys %names if %names;
        1 while wait > 0;
    }
}

# Runs the calling test under a server of its own, unless it does already.
sub under_cluster {
    return if $ENV{CLOACA_PGDATA};
    system('make', '-s', 'all') == 0 or die "make failed\n";
    exec 'test/cluster', @_, '--', $^X, $0 or die "test/cluster: $!\n";
}

# Builds the worker and makes the folder.
sub build {
    $folder = tempdir('cloaca-recovery-XXXXXX', DIR => '/tmp', CLEANUP => 1);
    system('make', '-s', 'client') == 0 && system('make', '-s', '-C', 'test/recovery') == 0 or die "make failed\n";
}

sub postgres_url {
    return "postgresql:///$ENV{PGDATABASE}?host=$ENV{PGHOST}&port=$ENV{PGPORT}&user=$ENV{PGUSER}";
}

# ------------------------------------------------------------------------------------------------------------------ workers

# Starts a worker; what it prints goes to a file of its name in the folder.
sub start {
    my ($name, @arguments) = @_;
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDOUT, '>>', "$folder/$name.out" or die;
        open STDERR, '>>', "$folder/$name.err" or die;
        exec $program, @arguments or POSIX::_exit(127);
    }
    $names{$pid} = $name;
    return $pid;
}

# A pipe to the standard input of a new worker as well.
sub start_waiting {
    my ($name, @arguments) = @_;
    pipe my $read, my $write or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        close $write;
        open STDIN, '<&', $read or die;
        open STDOUT, '>>', "$folder/$name.out" or die;
        open STDERR, '>>', "$folder/$name.err" or die;
        exec $program, @arguments or POSIX::_exit(127);
    }
    close $read;
    $names{$pid} = $name;
    return ($pid, $write);
}

sub kill_one {
    my ($pid) = @_;
    kill 'KILL', $pid;
    return reap($pid);
}

# Waits for the end of a worker, and gives its status.
sub reap {
    my ($pid) = @_;
    waitpid $pid, 0;
    delete $names{$pid};
    return $?;
}

# Workers that ended by themselves, which they never should: their names and what they said.
sub failures {
    my @failures;
    for my $pid (keys %names) {
        next unless waitpid($pid, 1) == $pid;
        push @failures, delete($names{$pid}) . " ended with status $?";
    }
    return @failures, map { split /^/, read_file($_) } glob "$folder/*.err";
}

# Tells all to stop, and gives their statuses as one. One that had only just begun ends by the signal itself.
sub stop_all {
    kill 'TERM', keys %names;
    my $status = 0;
    $status |= $_ == 15 ? 0 : $_ for map { reap($_) } keys %names;
    return $status;
}

# ---------------------------------------------------------------------------------------------------------------- databases

# The answer of either database, a line a row, columns parted by |; undef when it does not answer.
sub ask {
    my ($url, $query) = @_;
    my @command = $url =~ m{^sqlite:///(.*)} ? ('sqlite3', '-cmd', '.timeout 20000', "$1", $query)
        : ('psql', '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-c', $query, $url);
    my $pid = open my $output, '-|';
    if (!$pid) {
        open STDERR, '>>', "$folder/ask.log";
        exec @command or POSIX::_exit(127);
    }
    my $text = do { local $/; <$output> } // '';
    close $output or return undef;
    chomp $text;
    return $text;
}

# The same, of a database that must answer.
sub must {
    my ($url, $query) = @_;
    return ask($url, $query) // die "no answer to $query: " . read_file("$folder/ask.log");
}

# Where the tables are.
sub table {
    my ($url, $name) = @_;
    return $url =~ /^sqlite/ ? "cloaca_$name" : "cloaca_default.cloaca_$name";
}

# SIGKILL for the postmaster alone; its backends find out by themselves.
sub kill_postmaster {
    my ($pid) = split /\n/, read_file("$ENV{CLOACA_PGDATA}/postmaster.pid");
    kill 'KILL', $pid or die "the postmaster is gone already\n";
    wait_ms(20) while kill 0, $pid;
}

sub start_postmaster {
    system($ENV{CLOACA_PGSTART}) == 0 or die "the server does not start again:\n" . read_file($ENV{CLOACA_PGLOG});
}

# ----------------------------------------------------------------------------------------------------------------- promises

# Every line that any worker wrote into its log, of one kind: [first, second], ...
sub promises {
    my ($kind) = @_;
    my @promises;
    for my $file (glob "$folder/*.log") {
        my $text = read_file($file);
        push @promises, [$1, $2] while $text =~ /^$kind (\d+) (\d+)\n/mg;
    }
    return @promises;
}

sub read_file {
    my ($file) = @_;
    open my $handle, '<', $file or return '';
    local $/;
    return <$handle> // '';
}

sub wait_ms {
    select undef, undef, undef, $_[0] / 1000;
}

1;
