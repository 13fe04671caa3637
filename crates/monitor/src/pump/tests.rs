use super::*;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, pipe_with};
use std::fs::File;
use std::io::{Read, Seek, Write};

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

/// Serves `pump` until it stops, as the monitor's loop does.
fn drive(pump: &mut Pump) -> Progress {
    loop {
        let (fd, flags) = pump.interest();
        poll(&mut [PollFd::from_borrowed_fd(fd, flags)], None).unwrap();
        match pump.advance() {
            Progress::Flows => {}
            end => return end,
        }
    }
}

/// True when the pump would wait for its sink now.
fn waits_for_sink(pump: &Pump) -> bool {
    pump.interest().1 == PollFlags::OUT
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index * 7 % 256).unwrap()).collect()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn every_byte_passes_unchanged_from_pipe_to_pipe() {
    let ((source, mut writer), (mut reader, sink)) = {
        let ((a, b), (c, d)) = (pipe(), pipe());
        ((a, File::from(b)), (File::from(c), d))
    };
    let sent = pattern(3_000_000);
    let expected = sent.clone();
    let write = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let read = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    let mut pump = Pump::open(Fd::own(source), Fd::own(sink)).unwrap();
    assert!(matches!(pump.way, Way::Splice));
    assert_eq!(drive(&mut pump), Progress::SourceEnded);
    drop(pump);
    write.join().unwrap();
    assert!(read.join().unwrap() == expected);
}

#[test]
fn a_gibibyte_passes_in_bounded_memory() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = (1 << 30) / CHUNK;
    let ((source, writer), (reader, sink)) = (pipe(), pipe());
    let write = std::thread::spawn(move || {
        let (mut writer, chunk) = (File::from(writer), vec![1u8; CHUNK]);
        (0..CHUNKS).for_each(|_| writer.write_all(&chunk).unwrap());
    });
    let read = std::thread::spawn(move || {
        let (mut reader, mut chunk, mut total) = (File::from(reader), vec![0u8; CHUNK], 0);
        loop {
            match reader.read(&mut chunk).unwrap() {
                0 => return total,
                length => total += length,
            }
        }
    });
    let before = peak_kib();
    let mut pump = Pump::open(Fd::own(source), Fd::own(sink)).unwrap();
    assert_eq!(drive(&mut pump), Progress::SourceEnded);
    drop(pump);
    write.join().unwrap();
    assert_eq!(read.join().unwrap(), CHUNK * CHUNKS);
    assert!(peak_kib() - before < 1024, "{before} KiB before, {} KiB after", peak_kib());
}

#[test]
fn a_reader_that_stops_stops_the_writer_and_loses_nothing() {
    let ((source, writer), (reader, sink)) = (pipe(), pipe());
    // More than one pipe holds and less than two, so that the writer needn't be waited for.
    let sent = pattern(fcntl_getpipe_size(&sink).unwrap() * 3 / 2);
    let expected = sent.clone();
    let write = std::thread::spawn(move || File::from(writer).write_all(&sent).unwrap());
    let mut pump = Pump::open(Fd::own(source), Fd::own(sink)).unwrap();
    while !waits_for_sink(&pump) {
        let (fd, flags) = pump.interest();
        poll(&mut [PollFd::from_borrowed_fd(fd, flags)], None).unwrap();
        assert_eq!(pump.advance(), Progress::Flows);
    }
    write.join().unwrap();
    let read = std::thread::spawn(move || {
        let mut all = Vec::new();
        File::from(reader).read_to_end(&mut all).unwrap();
        all
    });
    assert_eq!(drive(&mut pump), Progress::SourceEnded);
    drop(pump);
    assert!(read.join().unwrap() == expected);
}

#[test]
fn a_file_opened_for_appending_is_appended_to() {
    let dir = std::env::temp_dir().join(format!("skiff-pump-{}", std::process::id()));
    std::fs::write(&dir, "first ").unwrap();
    let file = File::options().append(true).read(true).open(&dir).unwrap();
    std::fs::remove_file(&dir).unwrap();
    let (source, writer) = pipe();
    File::from(writer).write_all(b"second").unwrap();
    let mut pump = Pump::open(Fd::own(source), Fd::own(file.try_clone().unwrap().into())).unwrap();
    assert_eq!(drive(&mut pump), Progress::SourceEnded);
    assert!(matches!(pump.way, Way::Copy(_)), "splice(2) refuses such a file");
    let (mut file, mut text) = (file, String::new());
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "first second");
}

#[test]
fn a_regular_file_is_read_and_written_at_its_own_position() {
    let path = std::env::temp_dir().join(format!("skiff-pump-file-{}", std::process::id()));
    std::fs::write(&path, "0123456789").unwrap();
    let mut file = File::open(&path).unwrap();
    file.seek(std::io::SeekFrom::Start(4)).unwrap();
    let (mut reader, sink) = {
        let (a, b) = pipe();
        (File::from(a), b)
    };
    let mut pump = Pump::open(Fd::own(file.into()), Fd::own(sink)).unwrap();
    assert_eq!(drive(&mut pump), Progress::SourceEnded);
    drop(pump);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "456789");

    // What a terminal writes into a file that the shell shares with others goes where the file's offset is.
    let mut file = File::options().write(true).open(&path).unwrap();
    file.seek(std::io::SeekFrom::Start(8)).unwrap();
    let (source, writer) = pipe();
    File::from(writer).write_all(b"xy").unwrap();
    let mut pump = Pump::open_copying(Fd::own(source), Fd::own(file.into())).unwrap();
    assert_eq!(drive(&mut pump), Progress::SourceEnded);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "01234567xy");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_socket_that_is_full_is_not_waited_for() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let (source, writer) = pipe();
    let sent = pattern(2_000_000);
    let expected = sent.clone();
    let write = std::thread::spawn(move || File::from(writer).write_all(&sent).unwrap());
    let mut pump = Pump::open(Fd::own(source), Fd::own(near.into())).unwrap();
    while !waits_for_sink(&pump) {
        let (fd, flags) = pump.interest();
        poll(&mut [PollFd::from_borrowed_fd(fd, flags)], None).unwrap();
        assert_eq!(pump.advance(), Progress::Flows);
    }
    let read = std::thread::spawn(move || {
        let (mut far, mut all) = (far, Vec::new());
        far.read_to_end(&mut all).unwrap();
        all
    });
    assert_eq!(drive(&mut pump), Progress::SourceEnded);
    drop(pump);
    write.join().unwrap();
    assert!(read.join().unwrap() == expected);
}

#[test]
fn a_terminal_that_is_stopped_is_not_waited_for() {
    use rustix::pty::{OpenptFlags, openpt, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&master).unwrap();
    let terminal = tty::peer(&master).unwrap();
    rustix::termios::tcflow(&terminal, rustix::termios::Action::OOff).unwrap();
    let (source, writer) = pipe();
    File::from(writer).write_all(&pattern(50_000)).unwrap();
    let mut pump = Pump::open(Fd::own(source), Fd::own(terminal)).unwrap();
    assert_eq!(pump.advance(), Progress::Flows);
    assert!(waits_for_sink(&pump) && !pump.is_dry().unwrap());
}

#[test]
fn a_reader_that_is_gone_breaks_the_sink_and_the_rest_is_dropped() {
    let ((source, writer), (reader, sink)) = (pipe(), pipe());
    drop(reader);
    let mut pump = Pump::open(Fd::own(source), Fd::own(sink)).unwrap();
    let write = std::thread::spawn(move || File::from(writer).write_all(&pattern(1_000_000)).unwrap());
    assert_eq!(drive(&mut pump), Progress::SinkBroken(Errno::PIPE));
    pump.discard().unwrap();
    assert_eq!(drive(&mut pump), Progress::SourceEnded);
    write.join().unwrap();
}

#[test]
fn a_disk_that_is_full_breaks_the_sink_with_its_own_error() {
    let (source, writer) = pipe();
    File::from(writer).write_all(b"x").unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut pump = Pump::open(Fd::own(source), Fd::own(full.into())).unwrap();
    assert_eq!(drive(&mut pump), Progress::SinkBroken(Errno::NOSPC));
}

#[test]
fn a_source_is_dry_when_it_holds_nothing_even_if_somebody_could_still_write() {
    let ((source, writer), (_reader, sink)) = (pipe(), pipe());
    let mut pump = Pump::open(Fd::own(source), Fd::own(sink)).unwrap();
    assert!(pump.is_dry().unwrap());
    let mut writer = File::from(writer);
    writer.write_all(b"x").unwrap();
    assert!(!pump.is_dry().unwrap());
    assert_eq!(pump.advance(), Progress::Flows);
    assert!(pump.is_dry().unwrap());
}
