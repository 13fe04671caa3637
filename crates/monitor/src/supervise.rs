//! The monitor's loop: it sleeps in `poll(2)` until something happens, and nothing else wakes it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use skiff_sys::signal::{self, Received};
use skiff_sys::{Errno, tty};

use crate::End;
use crate::caller::Caller;
use crate::channel::{Channel, Incoming, Order, Report, Size};
use crate::hostname::Listener;
use crate::pump::{Fd, Progress, Pump};

/// What the loop watches over.
#[derive(Debug)]
pub(crate) struct Supervisor {
    streams: Streams,
    /// The process that the user started, until it is gone.
    front: Option<Channel>,
    caller: Caller,
    listener: Option<Listener>,
    last_signal: Option<Received>,
}

/// The pumps of a container's stdio, and its terminal if it has one.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) stdin: Option<Pump>,
    pub(crate) stdout: Option<Pump>,
    pub(crate) stderr: Option<Pump>,
    pub(crate) terminal: Option<Terminal>,
}

/// The pseudoterminal of a container.
///
/// We hold the other end as well: a program that closes all of its terminal and opens it again later (systemd
/// does it with `/dev/console`) would otherwise look like the end of everything.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: Rc<OwnedFd>,
    peer: Option<OwnedFd>,
}

impl Terminal {
    /// Takes the pseudoterminal `master`.
    ///
    /// # Errors
    /// Those of [`tty::peer`].
    pub(crate) fn open(master: OwnedFd) -> Result<Self, Errno> {
        let peer = Some(tty::peer(&master)?);
        Ok(Self { master: Rc::new(master), peer })
    }

    /// The master for a pump.
    pub(crate) fn master(&self) -> Fd {
        Fd::Own(Rc::clone(&self.master))
    }

    /// Sets the window's size; the kernel tells the program in front of it, if it has changed.
    ///
    /// # Errors
    /// Those of `ioctl_tty(2)`.
    pub(crate) fn resize(&self, size: Size) -> Result<(), Errno> {
        tty::set_size(&self.master, size.into())
    }

    /// Opens the other end anew after a hang-up in the container (`vhangup(2)`, as `login` does it).
    fn reconnect(&mut self) -> Result<(), Errno> {
        self.peer = None;
        self.peer = Some(tty::peer(&self.master)?);
        Ok(())
    }
}

/// What [`Supervisor::wait`] waits for, and what has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Stdin,
    Stdout,
    Stderr,
    Front,
    Listener,
    Init,
}

/// In this order: what init wrote before its end is moved before the end is noticed.
const EVENTS: [Event; 6] =
    [Event::Stdin, Event::Stdout, Event::Stderr, Event::Listener, Event::Front, Event::Init];

impl Supervisor {
    /// Serves a container with these `streams` from now on.
    pub(crate) fn new(streams: Streams, front: Channel, caller: Caller, listener: Option<Listener>) -> Self {
        Self { streams, front: Some(front), caller, listener, last_signal: None }
    }

    /// Serves the container until `init`, a child of this process, has ended, and reaps it.
    ///
    /// # Errors
    /// Those of `poll(2)` and `waitid(2)`; what goes wrong with a stream ends that stream only.
    pub(crate) fn until_end(&mut self, init: BorrowedFd<'_>) -> Result<End, Errno> {
        loop {
            for (event, ready) in self.wait(&EVENTS, Some(init))? {
                match event {
                    Event::Stdin => self.feed()?,
                    Event::Stdout | Event::Stderr => self.drain(event)?,
                    Event::Front => self.hear_front(Some(init))?,
                    Event::Listener => self.hear_listener(ready)?,
                    Event::Init => return reap(init),
                }
            }
        }
    }

    /// Delivers what the container's processes, all of them dead, have left in their pipes or terminal. A
    /// reader that is slow is waited for, unless the front dies.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub(crate) fn deliver_rest(&mut self) -> Result<(), Errno> {
        self.streams.stdin = None;
        self.listener = None;
        loop {
            for slot in [&mut self.streams.stdout, &mut self.streams.stderr] {
                if slot.as_ref().map_or(Ok(false), Pump::is_dry)? {
                    *slot = None;
                }
            }
            if self.streams.stdout.is_none() && self.streams.stderr.is_none() {
                return Ok(());
            }
            for (event, _) in self.wait(&[Event::Stdout, Event::Stderr, Event::Front], None)? {
                match event {
                    Event::Front => self.hear_front(None)?,
                    stream => self.drain(stream)?,
                }
            }
        }
    }

    /// The front, if it is still there, and the last signal that it passed on.
    pub(crate) fn into_front(self) -> (Option<Channel>, Option<Received>) {
        (self.front, self.last_signal)
    }

    /// Sleeps until one of `events` happens, and returns those that have.
    fn wait(&self, events: &[Event], init: Option<BorrowedFd<'_>>) -> Result<Vec<(Event, PollFlags)>, Errno> {
        let mut waiting = Vec::with_capacity(events.len());
        let mut fds = Vec::with_capacity(events.len());
        for event in events {
            if let Some((fd, flags)) = self.interest(*event, init) {
                waiting.push(*event);
                fds.push(PollFd::from_borrowed_fd(fd, flags));
            }
        }
        match poll(&mut fds, None) {
            Err(Errno::INTR) => return Ok(Vec::new()),
            other => other?,
        };
        let ready = fds.iter().map(PollFd::revents);
        Ok(waiting.into_iter().zip(ready).filter(|(_, ready)| !ready.is_empty()).collect())
    }

    fn interest<'s>(
        &'s self,
        event: Event,
        init: Option<BorrowedFd<'s>>,
    ) -> Option<(BorrowedFd<'s>, PollFlags)> {
        match event {
            Event::Stdin => self.streams.stdin.as_ref().map(Pump::interest),
            Event::Stdout => self.streams.stdout.as_ref().map(Pump::interest),
            Event::Stderr => self.streams.stderr.as_ref().map(Pump::interest),
            Event::Front => self.front.as_ref().map(|front| (front.as_fd(), PollFlags::IN)),
            Event::Listener => self.listener.as_ref().map(|listener| (listener.as_fd(), PollFlags::IN)),
            Event::Init => init.map(|init| (init, PollFlags::IN)),
        }
    }

    /// Moves bytes to the container.
    fn feed(&mut self) -> Result<(), Errno> {
        match self.streams.stdin.as_mut().map(Pump::advance) {
            None | Some(Progress::Flows) => {}
            // The pump's end of the container's stdin is closed with it: the container reads an end of file.
            // A terminal stays open, as the master is held elsewhere too.
            Some(Progress::SourceEnded | Progress::SourceBroken(_) | Progress::SinkBroken(Errno::PIPE)) => {
                self.streams.stdin = None;
            }
            Some(Progress::SinkBroken(_)) => match &mut self.streams.terminal {
                Some(terminal) => terminal.reconnect()?,
                None => self.streams.stdin = None,
            },
        }
        Ok(())
    }

    /// Moves bytes from the container.
    fn drain(&mut self, event: Event) -> Result<(), Errno> {
        let slot = match event {
            Event::Stdout => &mut self.streams.stdout,
            _ => &mut self.streams.stderr,
        };
        let Some(pump) = slot.as_mut() else { return Ok(()) };
        match pump.advance() {
            Progress::Flows => {}
            Progress::SourceEnded => *slot = None,
            Progress::SourceBroken(_) => {
                let reconnected = self.streams.terminal.as_mut().is_some_and(|t| t.reconnect().is_ok());
                if !reconnected {
                    *slot = None;
                }
            }
            Progress::SinkBroken(errno) => {
                pump.discard()?;
                self.tell(&Report::Broken(errno.raw_os_error()));
            }
        }
        Ok(())
    }

    fn hear_front(&mut self, init: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        let Some(front) = &self.front else { return Ok(()) };
        match front.receive_order() {
            Ok(Incoming::Nothing) => {}
            Ok(Incoming::Message(Order::Signal(received))) => {
                self.last_signal = Some(received);
                match init.map_or(Ok(()), |init| signal::send(init, received.signal)) {
                    // It has just ended; the loop is about to see it.
                    Err(Errno::SRCH) => {}
                    other => other?,
                }
            }
            Ok(Incoming::Message(Order::Resize(size))) => {
                if let Some(terminal) = &self.streams.terminal {
                    terminal.resize(size)?;
                }
            }
            Ok(Incoming::Closed) | Err(_) => self.lose_front()?,
        }
        Ok(())
    }

    /// The front is dead: give the terminal back, and let the container live on without a reader (what
    /// happens to Docker's containers when its client is killed).
    fn lose_front(&mut self) -> Result<(), Errno> {
        self.front = None;
        self.streams.stdin = None;
        for pump in [&mut self.streams.stdout, &mut self.streams.stderr].into_iter().flatten() {
            pump.discard()?;
        }
        self.caller.leave()
    }

    fn hear_listener(&mut self, ready: PollFlags) -> Result<(), Errno> {
        if let Some(listener) = &self.listener
            && ready.contains(PollFlags::IN)
        {
            return listener.answer();
        }
        // Every process under the filter has ended, and init is about to be seen.
        self.listener = None;
        Ok(())
    }

    /// Tells the front, if there is one. That it has died is seen when its end of the channel closes.
    fn tell(&mut self, report: &Report) {
        if let Some(front) = &self.front
            && front.send_report(report).is_err()
        {
            self.front = None;
        }
    }
}

fn reap(init: BorrowedFd<'_>) -> Result<End, Errno> {
    loop {
        match waitid(WaitId::PidFd(init), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => {
                let status = other?.ok_or(Errno::CHILD)?;
                return Ok(End::from_wait(status.exit_status(), status.terminating_signal()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
