# The systems that take part: a folder each in bench/peers, with a database each. What is in such a folder, bench/README.md says.
package Bench::Peer;
use strict;
use warnings;
use Bench::Report;
use Bench::Server;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);

my $peers = dirname(dirname(dirname(abs_path(__FILE__)))) . '/peers';
my $made = "$ENV{BENCH_BUILD}/peers";
my %known;
my %ready;

# The peer of that name, set up; undef when it cannot take part, which is said once.
sub get {
    my ($class, $name) = @_;
    $known{$name} = $class->load($name) unless exists $known{$name};
    return $known{$name};
}

sub all {
    my ($class, @names) = @_;
    return grep { defined } map { $class->get($_) } @names;
}

sub load {
    my ($class, $name) = @_;
    my $self = bless { name => $name, title => $name }, $class;
    for (split /\n/, read_file("$peers/$name/peer")) {
        $self->{$1} = $2 if /^(\w+)\s*=\s*(.*?)\s*$/;
    }
    $self->{like} //= $name;
    $self->{database} = $self->{like} =~ s/\W/_/gr;
    eval { $self->set_up; 1 } or do {
        die $@ if $name eq 'cloaca';
        notice("$name does not take part: " . $@ =~ s/\s+$//r);
        return undef;
    };
    return $self;
}

# Done once for all peers that share a database.
sub set_up {
    my ($self) = @_;
    if (!$ready{ $self->{database} }++) {
        run('createdb', $self->{database});
        run('mkdir', '-p', "$made/$self->{like}");
        local @ENV{qw(PGDATABASE BENCH_OUT BENCH_NODE)} = ($self->{database}, "$made/$self->{like}", node());
        my $file = $self->file('setup.sql');
        psql($self->{database}, '-f', $file) if $file;
        $file = $self->file('setup');
        capture($file) if $file;
    }
    if (my ($name, $value) = split ' ', $self->{setting} // '') {
        has_setting($self->{database}, $name) or die "there is no setting $name\n";
        $self->{options} = "-c $name=$value";
    }
}

# The same peer in another database of its own.
sub in_database {
    my ($self, $database) = @_;
    run('createdb', $database);
    psql($database, '-f', $self->file('setup.sql'));
    return bless { %$self, database => $database }, ref $self;
}

# The node that bench/setup installed.
sub node {
    return (glob "$ENV{BENCH_BUILD}/node_modules/node-*/bin/node")[0] // 'node';
}

# A file of the peer: its own, one that its set-up made, or one of the peer that it is like.
sub file {
    my ($self, $name) = @_;
    my ($file) = grep { -e } map { ("$peers/$_/$name", "$made/$_/$name") } $self->{name}, $self->{like};
    return $file;
}

# The statements for lifecycle or enqueue with that batch size; undef when the peer has none.
sub script {
    my ($self, $kind, $batch) = @_;
    return undef if $self->{"${kind}_batches"} && !grep { $_ == $batch } split ' ', $self->{"${kind}_batches"};
    return $self->file("$kind.$batch.sql") // $self->file("$kind." . ($batch == 1 ? 'one' : 'many') . '.sql');
}

# Empties the peer's tables and puts in so many tasks, for so many clients that claim so many at a time.
sub refill {
    my ($self, $tasks, $clients, $batch) = @_;
    my %variables = (tasks => $tasks, clients => $clients // 1, batch => $batch // 1);
    my @files = grep { defined } $self->file('reset.sql'), $tasks ? $self->file('fill.sql') : undef;
    psql($self->{database}, map({ ('-v', "$_=$variables{$_}") } keys %variables), map({ ('-f', $_) } @files), '-c', 'vacuum analyze',
        '-c', 'checkpoint');
}

# How many tasks there are.
sub count {
    my ($self) = @_;
    return value($self->{database}, read_file($self->file('count.sql')));
}

# Runs a script with bench/drive; returns its figures.
sub drive {
    my ($self, $script, @arguments) = @_;
    my $command = $self->command($script, @arguments);
    local @ENV{ keys %{ $command->{env} } } = values %{ $command->{env} };
    return figures(capture(@{ $command->{arguments} }));
}

sub figures {
    my ($text) = @_;
    my %figure = $text =~ /^(\w+) ([\d.]+)$/mg;
    defined $figure{cycles} or die "drive said:\n$text";
    $figure{rate} = $figure{tasks} / $figure{seconds};
    return \%figure;
}

# The same, in the background: returns a handle for finish().
sub start {
    my ($self, $script, @arguments) = @_;
    my $command = $self->command($script, @arguments);
    local @ENV{ keys %{ $command->{env} } } = values %{ $command->{env} };
    my $pid = open my $output, '-|', @{ $command->{arguments} } or die "drive: $!\n";
    return { pid => $pid, output => $output };
}

sub finish {
    my ($started) = @_;
    my $output = $started->{output};
    my $text = do { local $/; <$output> } // '';
    close $output or die "drive failed:\n$text";
    return figures($text);
}

sub command {
    my ($self, $script, @arguments) = @_;
    push @arguments, '-D', 'queue=bench' unless grep { /^queue=/ } @arguments;
    return {
        env       => { PGDATABASE => $self->{database}, PGOPTIONS => $self->{options} // '', PGAPPNAME => 'bench' },
        arguments => ["$ENV{BENCH_BUILD}/drive", @arguments, $script],
    };
}

1;
