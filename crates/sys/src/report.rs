//! A page that a process shares with the child it is about to make.
//!
//! The child writes where it is and what went wrong; the parent reads it when the child's socket closes.
//! Memory needs no system call, so the report also works after a seccomp filter that allows almost none.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use crate::Errno;

/// How many steps can have their time taken; later ones are not timed.
pub const TIMED_STEPS: usize = 240;

/// The shared record. Every field is atomic, as two processes use it at once.
#[derive(Debug)]
#[repr(C)]
struct Page {
    /// The index of the step that the child is in.
    step: AtomicU32,
    /// The errno of the failed step, 0 while all is well.
    errno: AtomicI32,
    /// A process id, where one process has to tell the other.
    pid: AtomicI32,
    padding: AtomicU32,
    /// The monotonic clock in nanoseconds when each step began.
    begun: [AtomicU64; TIMED_STEPS],
}

/// A mapping of one page that is shared with a child.
#[derive(Debug)]
pub struct Report {
    page: NonNull<Page>,
}

impl Report {
    /// Maps a fresh page, all zeros (`mmap(2)`, `MAP_SHARED | MAP_ANONYMOUS`).
    ///
    /// # Errors
    /// `ENOMEM` when there is no memory.
    pub fn new() -> Result<Self, Errno> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        // SAFETY: a null hint lets the kernel choose an unused range, so no existing mapping is replaced.
        let address = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                size_of::<Page>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
            )
        }?;
        let page = NonNull::new(address.cast::<Page>()).ok_or(Errno::NOMEM)?;
        Ok(Self { page })
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping is page-aligned, as long as a Page, starts as zeros, which is a valid Page,
        // lives as long as `self`, and is only ever accessed through its atomics.
        unsafe { self.page.as_ref() }
    }

    /// Says that step `index` begins, without looking at the clock: no system call on any machine.
    pub fn begin_untimed(&self, index: u32) {
        self.page().step.store(index, Ordering::Release);
    }

    /// Says that step `index` begins now.
    pub fn begin(&self, index: u32) {
        let page = self.page();
        page.step.store(index, Ordering::Release);
        if let Some(slot) = usize::try_from(index).ok().and_then(|index| page.begun.get(index)) {
            slot.store(now(), Ordering::Relaxed);
        }
    }

    /// Says that the current step failed with `errno`.
    pub fn fail(&self, errno: Errno) {
        self.page().errno.store(errno.raw_os_error(), Ordering::Release);
    }

    /// The index of the step that was begun last.
    pub fn step(&self) -> u32 {
        self.page().step.load(Ordering::Acquire)
    }

    /// The error of that step, if it failed.
    pub fn failure(&self) -> Option<Errno> {
        match self.page().errno.load(Ordering::Acquire) {
            0 => None,
            errno => Some(Errno::from_raw_os_error(errno)),
        }
    }

    /// When step `index` began, in nanoseconds of the monotonic clock; `None` if it never did.
    pub fn begun(&self, index: usize) -> Option<u64> {
        match self.page().begun.get(index)?.load(Ordering::Relaxed) {
            0 => None,
            nanoseconds => Some(nanoseconds),
        }
    }

    /// Tells the other process the number `pid`.
    pub fn set_pid(&self, pid: rustix::process::Pid) {
        self.page().pid.store(pid.as_raw_nonzero().get(), Ordering::Release);
    }

    /// The number that [`Report::set_pid`] told.
    pub fn pid(&self) -> Option<rustix::process::Pid> {
        rustix::process::Pid::from_raw(self.page().pid.load(Ordering::Acquire))
    }
}

/// The monotonic clock in nanoseconds.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.wrapping_mul(1_000_000_000).wrapping_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

impl Drop for Report {
    fn drop(&mut self) {
        let address = self.page.as_ptr().cast();
        // SAFETY: the range was mapped in `new`, nothing borrows it any more (`self` is being dropped), and
        // unmapping it in one process leaves the other's mapping alone.
        let result = unsafe { rustix::mm::munmap(address, size_of::<Page>()) };
        debug_assert_eq!(result, Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_starts_empty_and_keeps_the_last_step() {
        let report = Report::new().unwrap();
        assert_eq!((report.step(), report.failure(), report.begun(3)), (0, None, None));
        report.begin(3);
        report.fail(Errno::PERM);
        assert_eq!((report.step(), report.failure()), (3, Some(Errno::PERM)));
        assert!(report.begun(3).is_some());
    }

    #[test]
    fn steps_beyond_the_page_are_counted_but_not_timed() {
        let report = Report::new().unwrap();
        report.begin(100_000);
        assert_eq!(report.step(), 100_000);
        assert_eq!(report.begun(100_000), None);
    }
}
