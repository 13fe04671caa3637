//! A mount by `mount(2)` that the host doesn't see, for kernels whose `fsconfig(2)` is too narrow.
//!
//! `fsconfig(2)` takes 255 bytes a value, `mount(2)` a page of options, but it attaches what it makes. So it is
//! called in a mount namespace of its own, and only a detached copy of the mount comes out of there.

use crate::Errno;
use crate::clone::is_single_threaded;
use crate::report::now;
use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};
use rustix::thread::UnshareFlags;
use std::ffi::CString;
use std::path::Path;

/// How long the kernel may take to let go of a thread: far longer than it does on a busy machine.
const PATIENCE_NANOSECONDS: u64 = 2_000_000_000;

/// Mounts a file system of type `kind` and returns the mount, attached nowhere.
///
/// `options` runs in the namespace of the mount and opens there what the options name: a descriptor from
/// outside belongs to a mount of another namespace, which overlayfs refuses. What it returns besides the text
/// stays open until the mount is there. `target` is a directory that the mount covers for a moment, in a
/// namespace that nobody else is in. Starts a thread and ends it, so that a caller who was the only thread is so
/// again; the caller's own namespace and working directory stay what they are.
///
/// # Errors
/// Those of `options`, `mount(2)`, `unshare(2)` and `open_tree(2)`; `EAGAIN` when there can be no thread, or when
/// the kernel doesn't let go of it.
pub fn mount_detached<Kept>(
    kind: &str,
    target: &Path,
    options: impl FnOnce() -> Result<(CString, Kept), Errno> + Send,
) -> Result<OwnedFd, Errno> {
    let was_alone = is_single_threaded();
    let mounted = std::thread::scope(|scope| {
        let worker = std::thread::Builder::new();
        let handle = worker.spawn_scoped(scope, || mount_in_own_namespace(kind, target, options));
        let handle = handle.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        handle.join().unwrap_or(Err(Errno::CANCELED))
    })?;
    if was_alone { until_alone().map(|()| mounted) } else { Ok(mounted) }
}

/// Waits until the kernel counts one thread again. A thread that was joined has said that it uses its memory no
/// longer (`CLONE_CHILD_CLEARTID`), which it does a moment before it is gone; `clone3` would fail in between.
fn until_alone() -> Result<(), Errno> {
    let end = now().saturating_add(PATIENCE_NANOSECONDS);
    while !is_single_threaded() {
        if now() > end {
            return Err(Errno::AGAIN);
        }
        std::thread::yield_now();
    }
    Ok(())
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
