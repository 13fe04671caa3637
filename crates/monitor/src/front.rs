//! The process that the user started: it lends its terminal, passes signals on, and waits for the report.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::stdio::stdin;
use skiff_sys::signal::{self, Received};
use skiff_sys::{Errno, tty};

use crate::SignalProxy;
use crate::caller::{self, Caller};
use crate::channel::{Channel, Incoming, Order, Report};
use crate::pump::{Fd, Progress, Pump};

/// What the front does until the container has ended.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) channel: Channel,
    /// The signals that [`crate::signals::catch`] caught.
    pub(crate) signals: OwnedFd,
    pub(crate) proxy: SignalProxy,
    pub(crate) caller: Caller,
    /// From the terminal at stdin to the monitor, if stdin is one and is wanted.
    pub(crate) keyboard: Option<Pump>,
    /// What the size of the caller's window means to the container.
    pub(crate) window: Window,
    /// How many SIGINT and SIGTERM have come.
    pub(crate) demands: u32,
}

/// What the size of the caller's window means to the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// It is the size of the container's terminal.
    Followed,
    /// The container has no terminal; SIGWINCH is a signal like others.
    Unknown,
}

/// A pump from the terminal at stdin, and the pipe that the monitor reads in its place.
///
/// Terminals are read by the front and not by the monitor: job control (stopping a background job that reads)
/// works for the processes of the shell's own job, and the monitor has left that.
///
/// # Errors
/// Those of `pipe2(2)`.
pub(crate) fn keyboard() -> Result<(Pump, OwnedFd), Errno> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // While we are stopped the shell reads what we were told is there: then our read must not wait.
    let terminal = tty::reopen_nonblocking(stdin(), OFlags::RDONLY).map_or(Fd::Inherited(stdin()), Fd::own);
    Ok((Pump::open_copying(terminal, Fd::own(write))?, read))
}

/// How the front's wait came to its end.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The monitor said how it went.
    Report(Report),
    /// The monitor died without a word.
    MonitorDied,
    /// The user wants out, whatever the container does.
    Insisted,
}

/// So many SIGINT or SIGTERM are meant for us, as with Docker's client: a program that is process 1 and has no
/// handler for them never sees them (`kill(2)`, NOTES).
const INSISTENCE: u32 = 3;

/// What [`Front::wait`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Keyboard,
    Signal,
    Channel,
    Monitor,
}

impl Front {
    /// Serves until `monitor` has sent a report, has died, or the user has had enough.
    ///
    /// The end of the channel doesn't tell that: a child of the monitor's that has not executed its program
    /// yet holds it open.
    ///
    /// # Errors
    /// Those of `poll(2)` and `read(2)`.
    pub(crate) fn attend(&mut self, monitor: BorrowedFd<'_>) -> Result<Outcome, Errno> {
        loop {
            for event in self.wait(monitor)? {
                match event {
                    Event::Keyboard => self.type_on(),
                    Event::Signal => {
                        self.pass_signals_on()?;
                        if self.demands >= INSISTENCE {
                            return Ok(Outcome::Insisted);
                        }
                    }
                    Event::Channel => match self.channel.receive_report()? {
                        Incoming::Message(report) => return Ok(Outcome::Report(report)),
                        Incoming::Closed => return Ok(Outcome::MonitorDied),
                        Incoming::Nothing => {}
                    },
                    // It may have sent its report between the poll and its end.
                    Event::Monitor => {
                        return match self.channel.receive_report()? {
                            Incoming::Message(report) => Ok(Outcome::Report(report)),
                            Incoming::Closed | Incoming::Nothing => Ok(Outcome::MonitorDied),
                        };
                    }
                }
            }
        }
    }

    fn wait(&self, monitor: BorrowedFd<'_>) -> Result<Vec<Event>, Errno> {
        let mut waiting = vec![Event::Signal, Event::Channel, Event::Monitor];
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.channel, PollFlags::IN),
            PollFd::from_borrowed_fd(monitor, PollFlags::IN),
        ];
        if let Some(keyboard) = &self.keyboard {
            let (fd, flags): (BorrowedFd<'_>, _) = keyboard.interest();
            waiting.push(Event::Keyboard);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        match poll(&mut fds, None) {
            Err(Errno::INTR) => return Ok(Vec::new()),
            other => other?,
        };
        let ready = waiting.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(event, _)| event).collect())
    }

    fn type_on(&mut self) {
        match self.keyboard.as_mut().map(Pump::advance) {
            None | Some(Progress::Flows) => {}
            // ctrl-D, a closed window, or a container that closed its stdin: nothing is read any more.
            Some(Progress::SourceEnded | Progress::SourceBroken(_) | Progress::SinkBroken(_)) => {
                self.keyboard = None;
            }
        }
    }

    fn pass_signals_on(&mut self) -> Result<(), Errno> {
        while let Some(received) = signal::receive(self.signals.as_fd())? {
            if matches!(received.signal, libc::SIGINT | libc::SIGTERM) {
                self.demands = self.demands.saturating_add(1);
            }
            for order in self.orders_for(received)? {
                match self.channel.send_order(&order) {
                    // Its end of the channel is seen in the loop. A monitor that is stopped while thousands of
                    // signals come in doesn't get all of them, as a process wouldn't.
                    Ok(()) | Err(Errno::PIPE | Errno::AGAIN) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }

    fn orders_for(&mut self, received: Received) -> Result<Vec<Order>, Errno> {
        let resize = || caller::window_size().map(Order::Resize).into_iter().collect::<Vec<_>>();
        let mut orders = match (received.signal, self.window) {
            (libc::SIGWINCH, Window::Followed) => return Ok(resize()),
            (libc::SIGCONT, Window::Followed) => {
                match self.caller.renew() {
                    // EIO: the terminal is closed, or nobody is left who could put us into the foreground.
                    Ok(()) | Err(Errno::IO) => resize(),
                    Err(errno) => return Err(errno),
                }
            }
            _ => Vec::new(),
        };
        if self.proxy == SignalProxy::On {
            orders.push(Order::Signal(received));
        }
        Ok(orders)
    }
}
