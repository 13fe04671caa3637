//! A mount by `mount(2)` that the host doesn't see, for kernels whose `fsconfig(2)` is too narrow.
//!
//! `fsconfig(2)` takes 255 bytes a value, `mount(2)` a page of options, but it attaches what it makes. So it is
//! called in a mount namespace of its own, and only a detached copy of the mount comes out of there.

use crate::Errno;
use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};
use rustix::thread::UnshareFlags;
use std::ffi::CString;
use std::path::Path;

/// Mounts a file system of type `kind` and returns the mount, attached nowhere.
///
/// `options` runs in the namespace of the mount and opens there what the options name: a descriptor from
/// outside belongs to a mount of another namespace, which overlayfs refuses. What it returns besides the text
/// stays open until the mount is there. `target` is a directory that the mount covers for a moment, in a
/// namespace that nobody else is in. Starts and ends a thread; the caller's own namespace and working
/// directory stay what they are.
///
/// # Errors
/// Those of `options`, `mount(2)`, `unshare(2)` and `open_tree(2)`; `EAGAIN` when there can be no thread.
pub fn mount_detached<Kept>(
    kind: &str,
    target: &Path,
    options: impl FnOnce() -> Result<(CString, Kept), Errno> + Send,
) -> Result<OwnedFd, Errno> {
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new();
        let handle = worker.spawn_scoped(scope, || mount_in_own_namespace(kind, target, options));
        let handle = handle.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        handle.join().unwrap_or(Err(Errno::CANCELED))
    })
}

fn mount_in_own_namespace<Kept>(
    kind: &str,
    target: &Path,
    options: impl FnOnce() -> Result<(CString, Kept), Errno>,
) -> Result<OwnedFd, Errno> {
    // SAFETY: `unshare_unsafe` is unsafe only because CLONE_FILES splits the descriptor table from the other
    // threads'; NEWNS (and the FS that it implies) leaves the table shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let (text, kept) = options()?;
    rustix::mount::mount(kind, target, kind, MountFlags::empty(), text.as_c_str())?;
    drop(kept);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, target, flags)
}
