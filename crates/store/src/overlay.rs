//! Snapshots: layers and a writable directory, joined by overlayfs in a mount that is attached nowhere.
//!
//! Invariant: the host never sees the mount. It lives as a descriptor until the container's init moves it into
//! its own mount namespace, and ends with the last descriptor or namespace that has it.

use crate::Error;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};
use skiff_sys::mount::Depth;
use skiff_sys::{Errno, fail};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// As many layers as a mount may have: those of an image (127) and one of the engine's.
pub(crate) const LAYERS_MAX: usize = 128;

/// Since when the option `lowerdir+` is there.
const LAYERS_ONE_BY_ONE: (u32, u32) = (6, 7);

/// Since when layers of overlayfs may be detached mounts, and so layers that were mapped. By descriptor they can
/// be given since 6.13, but not by those of `open_tree(2)`, and only of mounts that are attached.
const DETACHED_LAYERS: (u32, u32) = (6, 15);

/// The longest value that `fsconfig(2)` takes.
const FSCONFIG_VALUE_MAX: usize = 255;

/// Switches that make a mount the same on every host, whatever the module's defaults are there.
///
/// `redirect_dir=nofollow`: no image can redirect a directory to another place of its layers.
const SWITCHES: [(&str, &str); 4] =
    [("xino", "off"), ("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow")];

/// What an overlay mount is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// The read-only layers, lowest first, as an image lists them.
    pub lowers: Vec<PathBuf>,
    /// Takes what is written; its owner and mode are those of the container's `/`.
    pub upper: PathBuf,
    /// Overlayfs's own working place, empty, beside `upper`.
    pub work: PathBuf,
}

impl Overlay {
    /// Makes the mount, attached nowhere.
    ///
    /// # Errors
    /// [`Error::Overlay`] names the option that the kernel refused, with the kernel's own words.
    pub fn mount_detached(&self) -> Result<OwnedFd, Error> {
        self.check()?;
        let settings = self.by_path();
        let fits = |value: &Value| match value {
            Value::Text(text) => text.len() <= FSCONFIG_VALUE_MAX,
            Value::Fd(_) => true,
        };
        if kernel_is_at_least(LAYERS_ONE_BY_ONE) && settings.iter().all(|(_, value)| fits(value)) {
            configure(&settings)
        } else {
            self.mount_by_short_paths()
        }
    }

    /// Makes the mount, attached nowhere, with the owners of its layers' files mapped by the user namespace
    /// `userns`: what is stored as owned by user 0 is owned by user 0 of that namespace (Linux 6.15).
    ///
    /// The upper layer is not mapped: overlayfs makes its own directories there as the user who mounts, whom the
    /// map doesn't have. It stores the numbers of the host, and so does its top, which the caller has given to
    /// user 0 of the namespace.
    ///
    /// # Errors
    /// [`Error::Kernel`] on older kernels, [`Error::Overlay`].
    pub fn mount_detached_idmapped(&self, userns: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
        self.check()?;
        let (major, minor) = DETACHED_LAYERS;
        if !kernel_is_at_least((major, minor)) {
            let what = "a root filesystem that is mapped for a user namespace";
            return Err(Error::Kernel { what, major, minor });
        }
        let mut settings = Vec::with_capacity(self.lowers.len() + 2);
        for lower in self.lowers.iter().rev() {
            settings.push(("lowerdir+", Value::Fd(clone_mapped(lower, userns)?)));
        }
        settings.push(("upperdir", Value::Text(escape_backslashes(&self.upper))));
        settings.push(("workdir", Value::Text(escape_backslashes(&self.work))));
        configure(&settings)
    }

    fn check(&self) -> Result<(), Error> {
        if self.lowers.len() > LAYERS_MAX {
            return Err(Error::LayerCount(self.lowers.len()));
        }
        fail::point("store.overlay-mount").map_err(refused("fsopen".into()))
    }

    /// One `lowerdir+` a layer: no escaping and no limit for all of them together (Linux 6.7).
    fn by_path(&self) -> Vec<(&'static str, Value)> {
        let lowers = self.lowers.iter().rev();
        let mut settings: Vec<_> =
            lowers.map(|lower| ("lowerdir+", Value::Text(lower.clone().into_os_string()))).collect();
        settings.push(("upperdir", Value::Text(escape_backslashes(&self.upper))));
        settings.push(("workdir", Value::Text(escape_backslashes(&self.work))));
        settings
    }

    /// All layers in one `lowerdir`, for older kernels and for long paths; more than a dozen need `mount(2)`, whose page of
    /// options holds them all.
    fn mount_by_short_paths(&self) -> Result<OwnedFd, Error> {
        let short = ShortPaths::open(self)?;
        if short.layers[0].1.len() <= FSCONFIG_VALUE_MAX {
            return configure(&short.layers.map(|(key, text)| (key, Value::Text(text))));
        }
        drop(short.kept_open);
        let target = self.upper.parent().unwrap_or(&self.upper);
        let options = || {
            let short = ShortPaths::open(self).map_err(|error| error.errno())?;
            Ok((short.options(), short.kept_open))
        };
        skiff_sys::private_mount::mount_detached("overlay", target, options)
            .map_err(refused(format!("mount with {} layers", self.lowers.len())))
    }
}

/// The layers as one option each. It can hold no comma and no colon, so every directory is named by its
/// descriptor.
struct ShortPaths {
    layers: [(&'static str, OsString); 3],
    kept_open: Vec<OwnedFd>,
}

impl ShortPaths {
    fn open(overlay: &Overlay) -> Result<Self, Error> {
        let paths = overlay.lowers.iter().rev().chain([&overlay.upper, &overlay.work]);
        let kept_open: Vec<_> = paths.map(|path| open_directory(path)).collect::<Result<_, _>>()?;
        let (lowers, own) = kept_open.split_at(overlay.lowers.len());
        let lowerdir = lowers.iter().map(short_path).collect::<Vec<_>>().join(OsStr::new(":"));
        let layers =
            [("lowerdir", lowerdir), ("upperdir", short_path(&own[0])), ("workdir", short_path(&own[1]))];
        Ok(Self { layers, kept_open })
    }

    /// Everything in the form of `mount(2)`.
    fn options(&self) -> CString {
        let switches = SWITCHES.iter().map(|(key, value)| (*key, OsStr::new(value)));
        let mut options = Vec::new();
        for (key, value) in self.layers.iter().map(|(key, value)| (*key, value.as_os_str())).chain(switches) {
            options.extend_from_slice(key.as_bytes());
            options.push(b'=');
            options.extend_from_slice(value.as_bytes());
            options.push(b',');
        }
        options.extend_from_slice(b"volatile");
        CString::new(options).expect("keys, numbers and switches have no NUL")
    }
}

/// The value of one option.
enum Value {
    Text(OsString),
    Fd(OwnedFd),
}

fn configure(settings: &[(&'static str, Value)]) -> Result<OwnedFd, Error> {
    let fs =
        rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(refused("fsopen".into()))?;
    for (key, value) in settings {
        match value {
            Value::Text(text) => rustix::mount::fsconfig_set_string(&fs, *key, text.as_os_str())
                .map_err(|errno| explained(&fs, &format!("{key}={}", text.display()), errno))?,
            Value::Fd(fd) => rustix::mount::fsconfig_set_fd(&fs, *key, fd)
                .map_err(|errno| explained(&fs, &format!("{key} by descriptor"), errno))?,
        }
    }
    for (key, value) in SWITCHES {
        rustix::mount::fsconfig_set_string(&fs, key, value)
            .map_err(|errno| explained(&fs, &format!("{key}={value}"), errno))?;
    }
    // The upper layer is thrown away, so `sync` in a container must not wait for our disk (Linux 5.10).
    rustix::mount::fsconfig_set_flag(&fs, "volatile").map_err(|errno| explained(&fs, "volatile", errno))?;
    rustix::mount::fsconfig_create(&fs).map_err(|errno| explained(&fs, "create", errno))?;
    rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .map_err(|errno| explained(&fs, "fsmount", errno))
}

fn refused(step: String) -> impl FnOnce(Errno) -> Error {
    move |source| Error::Overlay { step, log: String::new(), source }
}

/// The error of a step, with what the file system context has to say about it.
fn explained(fs: &OwnedFd, step: &str, source: Errno) -> Error {
    let mut buffer = [0_u8; 1024];
    let mut log = String::new();
    // One message a read; ENODATA says that there is none left.
    while let Ok(length) = rustix::io::read(fs, &mut buffer) {
        let message = String::from_utf8_lossy(&buffer[..length]);
        let message = message.trim_end().trim_start_matches(['e', 'w', 'i']).trim_start();
        if length == 0 {
            break;
        }
        if !log.is_empty() {
            log.push_str("; ");
        }
        log.push_str(message);
    }
    Error::Overlay { step: step.to_owned(), log, source }
}

/// A private copy of the mount below `path`, with the owners of its files mapped by `userns`.
fn clone_mapped(path: &Path, userns: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, path, flags).map_err(Error::file("clone layer", path))?;
    skiff_sys::mount::set_idmap(tree.as_fd(), userns, Depth::One)
        .map_err(Error::file("id-map layer", path))?;
    Ok(tree)
}

fn open_directory(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::file("open layer", path))
}

fn short_path(fd: &OwnedFd) -> OsString {
    skiff_sys::root::descriptor_path(fd.as_fd()).into_os_string()
}

/// `upperdir` and `workdir` take a backslash for the beginning of an escape; `lowerdir+` does not.
fn escape_backslashes(path: &Path) -> OsString {
    let mut escaped = Vec::with_capacity(path.as_os_str().len());
    for &byte in path.as_os_str().as_bytes() {
        if byte == b'\\' {
            escaped.push(byte);
        }
        escaped.push(byte);
    }
    OsString::from_vec(escaped)
}

fn kernel_is_at_least(wanted: (u32, u32)) -> bool {
    is_at_least(rustix::system::uname().release().to_bytes(), wanted)
}

/// Whether a release such as `6.18.44-x` is not older than `wanted`; what can't be read counts as old.
fn is_at_least(release: &[u8], wanted: (u32, u32)) -> bool {
    let mut numbers = release
        .split(|byte| !byte.is_ascii_digit())
        .map(|digits| std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok()));
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
