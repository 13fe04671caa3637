//! What the end-to-end tests of `skiff` are written with.
//!
//! A test makes a [`Skiff`]: the binary under test with a root and a state directory of its own. Everything
//! else hangs on that guard ([`Command`], [`Pty`], [`TestBundle`], [`TempCgroup`]) and undoes itself on drop. When the
//! guard goes, the [leak check](leak) compares the machine with what it was before and fails the test if
//! anything is left. `requires!` states what a test needs of the machine; [`lane`] has the table of what each
//! lane promises. `docs/testing.md` is the tour.
//!
//! Invariant: nothing in here knows how skiff does anything. It sees a binary, its bytes and the kernel.

mod bundle;
mod cgroup;
mod command;
pub mod lane;
pub mod leak;
mod output;
mod pty;
mod rootfs;
mod skiff;
mod wait;

pub use bundle::TestBundle;
pub use cgroup::TempCgroup;
pub use command::{Command, Running};
pub use lane::{Capability, Lane};
pub use output::Output;
pub use pty::Pty;
pub use rootfs::{busybox_archive, busybox_rootfs};
pub use skiff::Skiff;
pub use wait::Deadline;
