# What the recovery tests share: workers (test/recovery/worker.c) that are started, killed and replaced, a way to ask either database,
# and the reading of what the workers were promised.
#
# The tests run in the top folder. Those that need a server start themselves again under test/cluster.
#
# No test may depend on how fast the machine is: it waits for what it wants to see, with a patience that only a failure exhausts, and
# where something has to happen first it waits for that, not for a time.
package recovery;
use strict;
use warnings;
use File::Temp qw(tempdir);
use POSIX ();
use Time::HiRes ();

our $folder;    # of this run, for logs and files
our $patience = $ENV{RECOVERY_PATIENCE} || 120;    # seconds: of whatever waits for something that takes no time
our $longest = 1800;    # seconds: of a whole test
our $program = 'build/test/recovery_worker';
my %names;    # of running workers, by process id
my $owner = $$;

END {
    if ($$ == $owner) {
        my $status = $?;
        # A child that waits for our end of a pipe sees it when we are gone.
        local $SIG{ALRM} = sub { POSIX::_exit($status || 255) };
        alarm 30;
        kill 'KILL', keys %names if %names;
        1 while wait > 0;
        alarm 0;
        $? = $status;
    }
}

# Runs the calling test under a server of its own, unless it does already. The alarm outlives the exec; without test/cluster the server
# goes, and the test with it.
sub under_cluster {
    return if $ENV{CLOACA_PGDATA};
    make('all');
    alarm $longest;
    exec 'test/cluster', @_, '--', $^X, $0 or die "test/cluster: $!\n";
}

# One at a time, as tests that run side by side may find something to build.
sub make {
    system('flock', 'Makefile', 'make', '-s', @_) == 0 or die "make @_ failed\n";
}

# Builds the worker and makes the folder.
sub build {
    $folder = tempdir('cloaca-recovery-XXXXXX', DIR => '/tmp', CLEANUP => 1);
    make('client');
    make('-C', 'test/recovery');
    return if $ENV{CLOACA_PGDATA};
    $SIG{ALRM} = sub { die "no end within $longest s\n" };
    alarm $longest;
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
    my @command = $url =~ m{^sqlite:///([^?]*)} ? ('sqlite3', '-cmd', '.timeout 120000', "$1", $query)
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
    until_gone($pid);
}

# SIGKILL for a process of the server, which then restarts all the others; returns when the postmaster knows, so that nobody is let in
# before. False when the process was gone already.
sub kill_backend {
    my ($pid) = @_;
    kill 'KILL', $pid or return 0;
    until_gone($pid);
    return 1;
}

# The same, and returns when the server answers again.
sub crash {
    return kill_backend(@_) && until_up(postgres_url());
}

sub until_gone {
    my ($pid) = @_;
    comes(sub { !kill 0, $pid }) or die "process $pid does not end\n";
}

sub until_up {
    my ($url) = @_;
    return comes(sub { defined ask($url, 'select 1') }) || die "the server does not come back\n";
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

# Whether a condition comes true, for as long as our patience lasts.
sub comes {
    my ($condition) = @_;
    my ($end, $pause) = (seconds() + $patience, 1);
    until ($condition->()) {
        return 0 if seconds() > $end;
        wait_ms($pause);
        $pause *= 2 if $pause < 20;
    }
    return 1;
}

# Waits for as long as a number keeps changing now and then; true when it reaches its goal.
sub reaches {
    my ($number, $goal) = @_;
    my ($last, $end) = ('', 0);
    while (1) {
        my $now = $number->() // $last;
        return 1 if $now eq $goal;
        ($last, $end) = ($now, seconds() + $patience) if $now ne $last;
        return 0 if seconds() > $end;
        wait_ms(100);
    }
}

# By a clock that nobody sets.
sub seconds {
    return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC());
}

sub wait_ms {
    select undef, undef, undef, $_[0] / 1000;
}

1;
