//! Atomic files, locks, the layout on disk and overlay snapshots.
//!
//! A [`Store`] is two directories that belong to us alone: the *root* keeps what must survive a reboot (content,
//! layers, containers), the *state* what dies with the boot (locks, names, sockets). Everything below them is
//! reached by descriptor. A [`Container`] is a pair of directories, one in each, held by a lock as long as its
//! process lives, so that whoever finds a free lock knows that it was left behind. What the files in there
//! mean is the business of the crates above.

mod container;
mod error;
mod file;
mod id;
mod layout;
mod lock;
mod name;
mod overlay;

pub use container::{Container, ContainerView};
pub use error::Error;
pub use file::{Directory, Durability};
pub use id::{ContainerId, random_hex};
pub use layout::Store;
pub use lock::{Holder, Kind, Lock, Patience};
pub use overlay::Overlay;

#[cfg(test)]
mod tests;
