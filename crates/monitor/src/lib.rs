//! The one small process of a container: parent of its init, holder of its terminal.
//!
//! [`run()`] forks. The child becomes the *monitor*: it launches the container, moves its bytes, waits for its
//! end, cleans up, and reports. The parent stays what the user started, the *front*: it lends the terminal,
//! passes signals on, and returns the exit status. Either may die at any point; the other one then finishes.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

mod caller;
mod channel;
mod error;
mod front;
mod hostname;
mod lifetime;
mod pump;
mod record;
mod request;
mod run;
mod signals;
mod status;
mod supervise;
mod wire;

pub use error::{Cause, Causes, Failure, MonitorError};
pub use record::{Counters, ExitRecord, LastSignal};
pub use request::{Custody, Fate, Request, Stdin};
pub use run::run;
pub use signals::SignalProxy;
pub use status::{End, ExitStatus};
