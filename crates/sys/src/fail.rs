//! Fail points: named places where a test can make a step fail, stop, wait or die.
//!
//! They exist only with the feature `failpoints`, which release builds never have; without it [`point`] is
//! an inlined `Ok(())`. `SKIFF_FAIL=STEP=ACTION[,STEP=ACTION…]` selects them, where `ACTION` is `kill`
//! (SIGKILL to oneself), `stop` (SIGSTOP), `err:ERRNO` (a name such as `ENOSPC` or a number) or `delay:MS`.

use crate::Errno;

/// What happens when a fail point is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The step fails with this error.
    Fail(Errno),
    /// The process kills itself with SIGKILL, as a crash would.
    Kill,
    /// The process stops itself with SIGSTOP until somebody continues it.
    Stop,
    /// The step is late by this many milliseconds.
    Delay(u64),
}

/// Reaches the fail point `step`.
///
/// # Errors
/// The error that `SKIFF_FAIL` names for this step, if any.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn point(_step: &str) -> Result<(), Errno> {
    Ok(())
}

/// Reaches the fail point `step`.
///
/// # Errors
/// The error that `SKIFF_FAIL` names for this step, if any.
#[cfg(feature = "failpoints")]
pub fn point(step: &str) -> Result<(), Errno> {
    action(step).map_or(Ok(()), perform)
}

/// The action that the environment asks for at `step`: for code that must decide before it may no longer
/// allocate, such as the child of `clone3`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn action(_step: &str) -> Option<Action> {
    None
}

/// The action that the environment asks for at `step`: for code that must decide before it may no longer
/// allocate, such as the child of `clone3`.
#[cfg(feature = "failpoints")]
pub fn action(step: &str) -> Option<Action> {
    let wanted = std::env::var("SKIFF_FAIL").ok()?;
    wanted.split(',').find_map(|entry| {
        let (name, action) = entry.split_once('=')?;
        if name == step { Some(parse(action).unwrap_or(Action::Fail(Errno::INVAL))) } else { None }
    })
}

/// Performs `action` in the calling process; allocates nothing.
///
/// # Errors
/// The error of [`Action::Fail`].
pub fn perform(action: Action) -> Result<(), Errno> {
    use rustix::process::{Signal, getpid, kill_process};
    match action {
        Action::Fail(errno) => Err(errno),
        Action::Kill => kill_process(getpid(), Signal::KILL),
        Action::Stop => kill_process(getpid(), Signal::STOP),
        Action::Delay(ms) => {
            let wait = rustix::time::Timespec {
                tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(ms % 1000 * 1_000_000).unwrap_or(0),
            };
            match rustix::thread::nanosleep(&wait) {
                rustix::thread::NanosleepRelativeResult::Ok
                | rustix::thread::NanosleepRelativeResult::Interrupted(_) => Ok(()),
                rustix::thread::NanosleepRelativeResult::Err(errno) => Err(errno),
            }
        }
    }
}

#[cfg(any(test, feature = "failpoints"))]
fn parse(action: &str) -> Option<Action> {
    match action.split_once(':') {
        None if action == "kill" => Some(Action::Kill),
        None if action == "stop" => Some(Action::Stop),
        Some(("delay", ms)) => ms.parse().ok().map(Action::Delay),
        Some(("err", name)) => errno(name).map(Action::Fail),
        _ => None,
    }
}

#[cfg(any(test, feature = "failpoints"))]
fn errno(name: &str) -> Option<Errno> {
    if let Ok(number) = name.parse() {
        return Some(Errno::from_raw_os_error(number));
    }
    Some(match name {
        "EPERM" => Errno::PERM,
        "ENOENT" => Errno::NOENT,
        "EINTR" => Errno::INTR,
        "EIO" => Errno::IO,
        "EAGAIN" => Errno::AGAIN,
        "ENOMEM" => Errno::NOMEM,
        "EACCES" => Errno::ACCESS,
        "EBUSY" => Errno::BUSY,
        "EINVAL" => Errno::INVAL,
        "ENFILE" => Errno::NFILE,
        "EMFILE" => Errno::MFILE,
        "ENOSPC" => Errno::NOSPC,
        "EROFS" => Errno::ROFS,
        "ENOSYS" => Errno::NOSYS,
        "EDQUOT" => Errno::DQUOT,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_parse_and_unknown_ones_do_not() {
        assert_eq!(parse("kill"), Some(Action::Kill));
        assert_eq!(parse("err:ENOSPC"), Some(Action::Fail(Errno::NOSPC)));
        assert_eq!(parse("err:5"), Some(Action::Fail(Errno::IO)));
        assert_eq!(parse("delay:20"), Some(Action::Delay(20)));
        assert_eq!(parse("err:EWHAT"), None);
        assert_eq!(parse("explode"), None);
    }

    #[test]
    fn a_failing_action_returns_its_error() {
        assert_eq!(perform(Action::Fail(Errno::IO)), Err(Errno::IO));
        assert_eq!(perform(Action::Delay(1)), Ok(()));
    }
}
