use super::*;
use crate::{Causes, End};

fn ended() -> ExitStatus {
    ExitStatus {
        end: End::Signalled(9),
        oom_killed: true,
        last_signal: Some(Received { signal: 15, code: 0, pid: 42, uid: 1000 }),
        timings: vec![("mount proc".to_owned(), std::time::Duration::from_micros(17))],
        warnings: vec!["the weight is ignored".to_owned()],
        left: vec!["the directory x".to_owned()],
    }
}

#[test]
fn orders_and_reports_arrive_as_they_were_sent() {
    let (front, monitor) = pair().unwrap();
    let signal = Order::Signal(Received { signal: 15, code: 0, pid: 7, uid: 0 });
    let resize = Order::Resize(Size { rows: 24, columns: 80, x_pixels: 0, y_pixels: 0 });
    front.send_order(&signal).unwrap();
    front.send_order(&resize).unwrap();
    assert_eq!(monitor.receive_order().unwrap(), Incoming::Message(signal));
    assert_eq!(monitor.receive_order().unwrap(), Incoming::Message(resize));
    assert_eq!(monitor.receive_order().unwrap(), Incoming::Nothing);

    for report in [Report::Broken(32), Report::Ended(ended())] {
        monitor.send_report(&report).unwrap();
        assert_eq!(front.receive_report().unwrap(), Incoming::Message(report));
    }
    drop(monitor);
    assert_eq!(front.receive_report().unwrap(), Incoming::Closed);
    assert_eq!(
        front.send_order(&Order::Resize(Size { rows: 1, columns: 1, x_pixels: 0, y_pixels: 0 })),
        Err(Errno::PIPE)
    );
}

#[test]
fn the_last_report_arrives_though_its_sender_never_read_our_last_order() {
    let (front, monitor) = pair().unwrap();
    front.send_order(&Order::Resize(Size { rows: 1, columns: 1, x_pixels: 0, y_pixels: 0 })).unwrap();
    monitor.send_report(&Report::Ended(ended())).unwrap();
    drop(monitor);
    assert_eq!(front.receive_report().unwrap(), Incoming::Message(Report::Ended(ended())));
    assert_eq!(front.receive_report().unwrap(), Incoming::Closed);
}

#[test]
fn a_message_cut_anywhere_or_with_more_behind_it_is_refused() {
    let report = encode_report(&Report::Ended(ended()));
    for length in 0..report.len() {
        assert_eq!(decode_report(&report[..length]), None, "{length} bytes");
    }
    let longer = [report.as_slice(), b"x"].concat();
    assert_eq!(decode_report(&longer), None);
}

#[test]
fn the_largest_report_fits_a_packet() {
    let text = "x".repeat(10_000);
    let failure = Failure {
        exit_code: 125,
        message: text.clone(),
        causes: Causes::default(),
        hint: Some(text.clone()),
        left: vec![text; 10_000],
    };
    let (front, monitor) = pair().unwrap();
    monitor.send_report(&Report::Failed(failure)).unwrap();
    let Incoming::Message(Report::Failed(failure)) = front.receive_report().unwrap() else { panic!() };
    assert_eq!(failure.message.len(), 4096);
}

/// A channel on a descriptor that a test has cloned from another one.
pub(crate) fn from_fd(fd: OwnedFd) -> Channel {
    Channel(fd)
}
