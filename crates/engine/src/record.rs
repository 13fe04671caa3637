//! What is kept of a container on disk: small files that say what was typed, what was meant, what the runtime got,
//! and what became of it. They are with the data of a container that is kept, and with the state of one that is
//! removed at its end.

use serde::{Deserialize, Serialize};
use skiff_monitor::ExitRecord;
use skiff_store::{ContainerView, Directory};

use crate::EngineError;
use crate::name;

/// What was typed, word by word.
pub(crate) const ARGV: &str = "argv.json";
/// What was meant: the [`crate::RunRequest`].
pub(crate) const REQUEST: &str = "request.json";
/// What the runtime got: the `Spec`.
pub(crate) const CONFIG: &str = "config.json";
/// Which container it is: a [`Record`].
pub(crate) const STATE: &str = "state.json";
/// How it ended: an [`ExitRecord`], written by the monitor. Without it, and with nobody at the lock, a container
/// is half-made or was left behind by a crash.
pub(crate) const EXIT: &str = "exit.json";

/// No record is larger; a request with 2 MiB of environment is.
const LIMIT: u64 = 16 << 20;

/// Which container it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// The image, as the user named it.
    pub image: String,
    /// The words that are executed.
    pub command: Vec<String>,
    /// Nanoseconds since 1970.
    pub created_at: u64,
    /// Its cgroup, from the top of each hierarchy.
    pub cgroup: String,
}

/// Writes `value` as the file `name`, which isn't there yet.
pub(crate) fn write(
    directory: &Directory,
    name: &'static str,
    value: &impl Serialize,
) -> Result<(), EngineError> {
    let text = serde_json::to_vec(value).map_err(|source| EngineError::Record { name, source })?;
    Ok(directory.write_new(name, &text)?)
}

/// The record of a container; nothing where it is missing or not whole.
pub(crate) fn read_state(view: &ContainerView) -> Result<Option<Record>, EngineError> {
    // Those of a container that is removed at its end are with its state.
    match read(view.state.as_ref(), STATE)? {
        None => read(view.data.as_ref(), STATE),
        found => Ok(found),
    }
}

/// How a container ended; nothing where it hasn't.
pub(crate) fn read_exit(view: &ContainerView) -> Result<Option<ExitRecord>, EngineError> {
    read(view.data.as_ref(), EXIT)
}

/// A file that is not whole counts as missing: it belongs to a container that is being made or removed.
fn read<T: for<'de> Deserialize<'de>>(
    directory: Option<&Directory>,
    name: &str,
) -> Result<Option<T>, EngineError> {
    let Some(directory) = directory else { return Ok(None) };
    let text = directory.read(name, LIMIT)?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Names for a container that was given none, one after the other.
pub(crate) fn name_candidates(id: &str) -> impl Iterator<Item = String> {
    (0..100).map(move |attempt| name::generated(id, attempt))
}
