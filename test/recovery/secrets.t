#!/usr/bin/perl
# No generated password, and no verifier of one, is found in the server's log, in pg_stat_statements or in pg_stat_activity, however much
# is logged: every statement, nested ones and their plans too, with all parameters.
use strict;
use warnings;
use Test::More;

if (!$ENV{CLOACA_PGDATA}) {
    my @conf = map { ('--conf', $_) } 'shared_preload_libraries=pg_stat_statements,auto_explain,cloaca', 'pg_stat_statements.track=all',
        'log_statement=all', 'log_min_duration_statement=0', 'log_parameter_max_length=-1', 'log_parameter_max_length_on_error=-1',
        'log_min_messages=debug2', 'log_min_error_statement=debug5', 'log_error_verbosity=verbose', 'debug_print_parse=on',
        'debug_print_plan=on', 'auto_explain.log_min_duration=0', 'auto_explain.log_nested_statements=on', 'auto_explain.log_verbose=on';
    alarm 1800;    # Outlives the exec.
    exec 'test/cluster', @conf, '--', $^X, $0;
}

run('create extension pg_stat_statements; create extension cloaca; create role admin login');
run("select cloaca.grant_admin('admin')");

my @passwords;
push @passwords, password("select password from cloaca.create_tenant('acme', 'acme_user')");
push @passwords, password("set role admin; select password from cloaca.create_tenant('other', 'other_user', settings => '{\"work_mem\": \"8MB\"}')");
push @passwords, password("prepare p as select password from cloaca.rotate_password(\$1); execute p('acme')");
push @passwords, password("select cloaca.current_tenant(); delete from cloaca.tenant where schema_name = 'other'; drop owned by other_user;
    drop role other_user; select password from cloaca.adopt_tenant('other', 'other_user')");
is(scalar(grep { /^[A-Za-z0-9]{32}\z/ } @passwords), 4, 'four passwords were generated');
is(scalar(keys %{ { map { $_ => 1 } @passwords } }), 4, 'each another one');

# Errors on the way: a name that is taken, and a password that a hook or a fault refuses after it was made.
run("select cloaca.create_tenant('acme', 'x')");
run("set statement_timeout = '1ms'; select cloaca.create_tenant('slow', 'slow_user')");
run("alter role other_user superuser; set role admin; select cloaca.rotate_password('other')");

my @verifiers = split /\n/, run("select rolpassword from pg_authid where rolname in ('acme_user', 'other_user')");
is(scalar(grep { /^SCRAM-SHA-256\$/ } @verifiers), 2, 'the roles have verifiers');
my $log = read_file($ENV{CLOACA_PGLOG});
like($log, qr/cloaca\.rotate_password/, 'the log has the statements');
like($log, qr/Query Text: .*cloaca\.provision/, 'the nested ones too');
my $seen = run("select query from pg_stat_statements union all select query from pg_stat_activity");
like($seen, qr/cloaca\.provision/, 'and so has pg_stat_statements');
for my $secret (@passwords, @verifiers) {
    ok(index($log, $secret) < 0, 'a secret is not in the log');
    ok(index($seen, $secret) < 0, 'nor in the views of statements');
}
done_testing();

# The last line of what a statement answers.
sub password {
    my @lines = split /\n/, run(@_);
    return $lines[-1] // '';
}

# What psql prints, without errors.
sub run {
    my ($sql) = @_;
    open my $psql, '-|', 'sh', '-c', 'exec psql -XAtq -c "$1" 2>/dev/null', 'sh', $sql or die "psql: $!\n";
    local $/;
    my $answer = <$psql> // '';
    close $psql;
    return $answer;
}

sub read_file {
    my ($file) = @_;
    open my $handle, '<', $file or die "$file: $!\n";
    local $/;
    return <$handle>;
}
