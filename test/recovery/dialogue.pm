# A psql that stays: its transactions, settings and cursors live from one question to the next. Errors are part of what it says.
package dialogue;
use strict;
use warnings;
use IPC::Open2 qw(open2);
use POSIX ();
use Scalar::Util qw(weaken);
use recovery;    # First: whose END waits for every child.

my $patience = 300;    # seconds: some statements are long
my @all;
my $owner = $$;

END {
    if ($$ == $owner) {
        $_->close for grep { defined } @all;
    }
}

# With settings of the session: dialogue->new($url, 'cloaca.repair_interval' => '1h').
sub new {
    my ($class, $url, %settings) = @_;
    my $pid = open2(my $output, my $input, 'sh', '-c', 'exec psql -X -A -t -q -v VERBOSITY=terse "$0" 2>&1', $url);
    my $self = bless { pid => $pid, input => $input, output => $output, asked => 0 }, $class;
    push @all, $self;
    weaken $all[-1];
    $self->ask("set $_ = '$settings{$_}'") for sort keys %settings;
    return $self;
}

# Lines of its answer; undef when it has gone.
sub ask {
    my ($self, $statements) = @_;
    $self->tell($statements);
    return $self->answer;
}

# Asks without waiting.
sub tell {
    my ($self, $statements) = @_;
    $self->{asked}++;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{input}, "$statements\n;\n\\echo answered-$self->{asked}\n";
}

sub answer {
    my ($self) = @_;
    my $end = "answered-$self->{asked}";
    my $text = '';
    my $output = $self->{output};
    local $SIG{ALRM} = sub { die "no answer within $patience s; so far: $text\n" };
    alarm $patience;
    while (defined(my $line = <$output>)) {
        if ($line eq "$end\n") {
            alarm 0;
            chomp $text;
            return $text;
        }
        $text .= $line;
    }
    alarm 0;
    return undef;
}

sub backend {
    return $_[0]->ask('select pg_backend_pid()');
}

# kill -9 of the client.
sub kill {
    my ($self) = @_;
    CORE::kill 'KILL', $self->{pid};
    $self->close;
}

sub close {
    my ($self) = @_;
    return unless $self->{pid};
    local ($?, $!);
    CORE::close $self->{input};
    CORE::close $self->{output};
    # One that still waits for an answer does not see that we have left.
    recovery::comes(sub { waitpid($self->{pid}, POSIX::WNOHANG()) }) or CORE::kill('KILL', $self->{pid}) && waitpid $self->{pid}, 0;
    $self->{pid} = 0;
}

sub DESTROY {
    $_[0]->close;
}

1;
