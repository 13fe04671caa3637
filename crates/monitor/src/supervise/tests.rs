use super::*;
use crate::channel;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// An ordinary child that plays the container's init, and everything around it.
struct Stage {
    init: OwnedFd,
    streams: Streams,
    front: Channel,
    monitor: Option<Channel>,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
}

/// Gives the test's own output back, which the supervisor lets go of as the caller's: otherwise nobody would
/// hear how the test ended.
struct OwnOutput([OwnedFd; 2]);

impl OwnOutput {
    fn keep() -> Self {
        let copy = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3).unwrap();
        Self([copy(rustix::stdio::stdout()), copy(rustix::stdio::stderr())])
    }
}

impl Drop for OwnOutput {
    fn drop(&mut self) {
        let Self([stdout, stderr]) = self;
        rustix::stdio::dup2_stdout(stdout).unwrap();
        rustix::stdio::dup2_stderr(stderr).unwrap();
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

fn pump(source: OwnedFd, sink: OwnedFd) -> Option<Pump> {
    Some(Pump::open(Fd::own(source), Fd::own(sink)).unwrap())
}

fn start(program: &mut Command) -> OwnedFd {
    // The child is reaped by the supervisor; std's handle would only be in its way.
    let pid = i32::try_from(program.spawn().unwrap().id()).unwrap();
    pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap()
}

impl Stage {
    fn on_pipes(script: &str) -> Self {
        let [(in_read, in_write), (out_read, out_write), (err_read, err_write)] = [pipe(), pipe(), pipe()];
        let [(my_in, stdin), (stdout, my_out), (stderr, my_err)] = [pipe(), pipe(), pipe()];
        let mut program = Command::new("sh");
        program.args(["-c", script]).stdin(Stdio::from(in_read));
        program.stdout(Stdio::from(out_write)).stderr(Stdio::from(err_write));
        let init = start(&mut program);
        let streams = Streams {
            stdin: pump(my_in, in_write),
            stdout: pump(out_read, my_out),
            stderr: pump(err_read, my_err),
            terminal: None,
        };
        let (front, monitor) = channel::pair().unwrap();
        let [stdin, stdout, stderr] = [stdin, stdout, stderr].map(|fd| Some(File::from(fd)));
        Self { init, streams, front, monitor: Some(monitor), stdin, stdout, stderr }
    }

    /// Serves to the end; returns how the child ended and the last signal.
    fn serve(&mut self) -> (End, Option<Received>) {
        let streams = std::mem::take(&mut self.streams);
        let monitor = self.monitor.take().unwrap();
        let mut supervisor = Supervisor::new(streams, monitor, Caller::as_it_is(), None);
        let end = supervisor.until_end(self.init.as_fd()).unwrap();
        supervisor.deliver_rest().unwrap();
        (end, supervisor.into_front().1)
    }
}

fn read_all(file: &mut Option<File>) -> String {
    let mut text = String::new();
    file.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn bytes_go_both_ways_and_the_exit_code_comes_back() {
    let mut stage = Stage::on_pipes("cat; echo err >&2; exit 7");
    stage.stdin.take().unwrap().write_all(b"in \0 put").unwrap();
    assert_eq!(stage.serve(), (End::Exited(7), None));
    assert_eq!(read_all(&mut stage.stdout), "in \0 put");
    assert_eq!(read_all(&mut stage.stderr), "err\n");
}

#[test]
fn a_program_that_closes_its_stdin_is_not_disturbed_by_more_of_it() {
    let mut stage = Stage::on_pipes("exec <&-; echo closed; exec sleep 1000");
    let mut stdin = stage.stdin.take().unwrap();
    let order = Order::Signal(Received { signal: libc::SIGTERM, code: 0, pid: 1, uid: 0 });
    let mut stdout = stage.stdout.take().unwrap();
    let (front, served) = (&stage.front.as_fd().try_clone_to_owned().unwrap(), &mut stage);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut line = [0; 7];
            stdout.read_exact(&mut line).unwrap();
            // Far more than the pipes hold: the pump must meet the closed end and give up its source.
            let error = (0..10_000).find_map(|_| stdin.write_all(&[b'x'; 4096]).err()).unwrap();
            assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
            let channel = crate::channel::tests::from_fd(front.try_clone().unwrap());
            channel.send_order(&order).unwrap();
        });
        let (end, last) = served.serve();
        assert_eq!(end, End::Signalled(libc::SIGTERM));
        assert_eq!(last.map(|last| last.signal), Some(libc::SIGTERM));
    });
}

#[test]
fn what_was_written_before_the_end_reaches_a_reader_that_is_late() {
    // One pipe full, and some more in the second one, when the program ends.
    let mut stage = Stage::on_pipes("head -c 100000 /dev/zero; exit 0");
    let mut stdout = stage.stdout.take().unwrap();
    let init = stage.init.try_clone().unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            // The reader does nothing until the program has ended.
            poll(&mut [PollFd::new(&init, PollFlags::IN)], None).unwrap();
            let mut all = Vec::new();
            stdout.read_to_end(&mut all).unwrap();
            all.len()
        });
        assert_eq!(stage.serve().0, End::Exited(0));
        assert_eq!(reader.join().unwrap(), 100_000);
    });
}

#[test]
fn a_grandchild_that_holds_the_pipe_open_is_not_waited_for() {
    // As when a process of the container's passed its stdout to one outside: init's end is the end.
    let mut stage = Stage::on_pipes("sleep 1000 & echo $!; exit 0");
    assert_eq!(stage.serve().0, End::Exited(0));
    let pid: i32 = read_all(&mut stage.stdout).trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
}

#[test]
fn without_its_front_the_container_lives_on_and_nobody_holds_the_callers_pipes() {
    let _own_output = OwnOutput::keep();
    let mut stage = Stage::on_pipes("head -c 1000000 /dev/zero; read x; exit 5");
    let (front, mut stdout) = (stage.front, stage.stdout.take().unwrap());
    let streams = std::mem::take(&mut stage.streams);
    let (monitor, init) = (stage.monitor.take().unwrap(), stage.init);
    drop(front);
    let mut supervisor = Supervisor::new(streams, monitor, Caller::as_it_is(), None);
    // A megabyte is more than all pipes: it goes nowhere, and stdin is at its end.
    assert_eq!(supervisor.until_end(init.as_fd()).unwrap(), End::Exited(5));
    supervisor.deliver_rest().unwrap();
    assert!(supervisor.into_front().0.is_none());
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 1_000_000);
}

#[test]
fn a_reader_that_is_gone_is_reported_and_the_container_lives_on() {
    let mut stage = Stage::on_pipes("head -c 1000000 /dev/zero; exit 6");
    drop(stage.stdout.take());
    assert_eq!(stage.serve().0, End::Exited(6));
    assert_eq!(stage.front.receive_report().unwrap(), Incoming::Message(Report::Broken(libc::EPIPE)));
}

/// A pseudoterminal with a program on it, and the terminal's path.
fn on_terminal(script: &str) -> (Stage, Rc<OwnedFd>) {
    use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = Terminal::open(master).unwrap();
    let slave = || Stdio::from(tty::peer(&terminal.master).unwrap());
    let mut program = Command::new("setsid");
    program.args(["--ctty", "sh", "-c", script, "sh"]).arg(path);
    program.stdin(slave()).stdout(slave()).stderr(slave());
    let init = start(&mut program);
    drop(program);
    let [(my_in, stdin), (stdout, my_out)] = [pipe(), pipe()];
    let master = Rc::clone(&terminal.master);
    let streams = Streams {
        stdin: Some(Pump::open_copying(Fd::own(my_in), terminal.master()).unwrap()),
        stdout: Some(Pump::open_copying(terminal.master(), Fd::own(my_out)).unwrap()),
        stderr: None,
        terminal: Some(terminal),
    };
    let (front, monitor) = channel::pair().unwrap();
    let [stdin, stdout] = [stdin, stdout].map(|fd| Some(File::from(fd)));
    (Stage { init, streams, front, monitor: Some(monitor), stdin, stdout, stderr: None }, master)
}

#[test]
fn a_terminal_passes_bytes_sizes_and_signals_of_its_keys() {
    let (mut stage, _) = on_terminal("trap 'stty size; exit 4' WINCH; echo ready; while :; do read x; done");
    let size = Size { rows: 11, columns: 22, x_pixels: 0, y_pixels: 0 };
    let mut stdout = stage.stdout.take().unwrap();
    let front = crate::channel::tests::from_fd(stage.front.as_fd().try_clone_to_owned().unwrap());
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut ready = [0; 7];
            stdout.read_exact(&mut ready).unwrap();
            front.send_order(&Order::Resize(size)).unwrap();
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).unwrap();
            (String::from_utf8(ready.to_vec()).unwrap(), rest)
        });
        assert_eq!(stage.serve().0, End::Exited(4));
        assert_eq!(reader.join().unwrap(), ("ready\r\n".to_owned(), "11 22\r\n".to_owned()));
    });
}

#[test]
fn a_program_that_closes_its_terminal_and_opens_it_again_is_still_heard() {
    let script = "exec <&- >&- 2>&-; sleep 0.1; exec <>$1 >&0 2>&0; echo back; read x; echo got $x; exit 9";
    let (mut stage, _) = on_terminal(script);
    stage.stdin.as_mut().unwrap().write_all(b"it\n").unwrap();
    assert_eq!(stage.serve().0, End::Exited(9));
    let text = read_all(&mut stage.stdout);
    assert!(text.contains("back\r\n") && text.contains("got it\r\n"), "{text:?}");
}

#[test]
fn the_end_of_stdin_leaves_the_terminal_open() {
    let (mut stage, master) = on_terminal("sleep 0.1; test -t 0 && exit 8");
    drop(stage.stdin.take());
    assert_eq!(stage.serve().0, End::Exited(8));
    assert!(master.as_raw_fd() >= 0);
}
