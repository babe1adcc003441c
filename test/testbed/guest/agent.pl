# PID 1 of a guest once it is set up: runs scripts for the supervisor on the host.
# In, a line each:  run ID (the script is /host/ID.sh) | signal ID NAME | poweroff
# Out, a line each: ready | out ID BASE64 | err ID BASE64 | end ID STATUS SIGNAL
# Scripts travel as files because a large burst into a UML serial line wedges it.
use strict;
use warnings;
use IO::Select;
use MIME::Base64;
use POSIX qw(:sys_wait_h dup2 setsid);

$| = 1;
binmode STDIN;
binmode STDOUT;
$SIG{PIPE} = 'IGNORE';
$SIG{CHLD} = sub { };
my $readers = IO::Select->new(\*STDIN);
my (%jobs, %job_of_fd, %job_of_pid);
my $input = '';

sub say_line {
    my $line = join(' ', @_) . "\n";
    my $sent = 0;
    while ($sent < length $line) {
        my $n = syswrite(STDOUT, $line, length($line) - $sent, $sent);
        defined $n ? ($sent += $n) : select(undef, undef, undef, 0.01);
    }
}

sub finish {
    my ($id) = @_;
    my $job = $jobs{$id} or return;
    return if !defined $job->{status} || $job->{open};
    say_line('end', $id, $job->{status} >> 8, $job->{status} & 127);
    unlink "/host/$id.sh";
    delete $jobs{$id};
}

sub start {
    my ($id) = @_;
    pipe(my $out_reader, my $out_writer);
    pipe(my $err_reader, my $err_writer);
    my $pid = fork();
    if (!defined $pid) { say_line('err', $id, encode_base64("fork: $!", '')); say_line('end', $id, 127, 0); return }
    if (!$pid) {
        setsid();
        open(my $null, '<', '/dev/null');
        dup2(fileno $null, 0);
        dup2(fileno $out_writer, 1);
        dup2(fileno $err_writer, 2);
        POSIX::close($_) for 3 .. 60;
        $SIG{PIPE} = 'DEFAULT';
        { exec '/bin/bash', "/host/$id.sh" }
        POSIX::_exit(127);
    }
    close $out_writer;
    close $err_writer;
    $jobs{$id} = { pid => $pid, open => 2 };
    $job_of_pid{$pid} = $id;
    for (['out', $out_reader], ['err', $err_reader]) {
        $job_of_fd{ fileno $_->[1] } = [$id, @$_];
        $readers->add($_->[1]);
    }
}

sub obey {
    my ($command, @args) = split / /, $_[0];
    if    ($command eq 'run')      { start($args[0]) }
    elsif ($command eq 'signal')   { kill $args[1], -$jobs{ $args[0] }{pid} if $jobs{ $args[0] } }
    elsif ($command eq 'poweroff') { system('sync; poweroff -f') }
}

say_line('ready');
while (1) {
    for my $reader ($readers->can_read(%jobs ? 0.01 : 5)) {
        if ($reader == \*STDIN) {
            my $n = sysread(STDIN, $input, 65536, length $input);
            system('poweroff -f') if defined $n && !$n;
            obey($1) while $input =~ s/^(.*?)\n//;
            next;
        }
        my ($id, $stream) = @{ $job_of_fd{ fileno $reader } };
        my $n = sysread($reader, my $data, 49152);
        if ($n) { say_line($stream, $id, encode_base64($data, '')) }
        elsif (defined $n) {
            delete $job_of_fd{ fileno $reader };
            $readers->remove($reader);
            close $reader;
            $jobs{$id}{open}--;
            finish($id);
        }
    }
    while ((my $pid = waitpid(-1, WNOHANG)) > 0) {
        my $id = delete $job_of_pid{$pid};
        next unless defined $id;
        $jobs{$id}{status} = $?;
        finish($id);
    }
}
