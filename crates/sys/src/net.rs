//! The one thing that a container without a network needs of it: a loopback interface that is up.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::Errno;
use crate::process::check;

/// Brings up `lo` in the network namespace of the calling process (`netdevice(7)`, `SIOCSIFFLAGS`).
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN over the namespace, `ENODEV` where there is no `lo`.
pub fn loopback_up() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket: OwnedFd = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut request = IfReq { name: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0", flags: 0, rest: [0; 22] };
    ioctl(&socket, libc::SIOCGIFFLAGS, &mut request)?;
    let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    if request.flags & up != 0 {
        return Ok(());
    }
    request.flags |= up;
    ioctl(&socket, libc::SIOCSIFFLAGS, &mut request)
}

/// `struct ifreq` of `linux/if.h`, with the union read as `ifr_flags`.
#[repr(C)]
struct IfReq {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

fn ioctl(socket: &OwnedFd, request: libc::Ioctl, argument: &mut IfReq) -> Result<(), Errno> {
    // SAFETY: both requests take a pointer to an ifreq of 40 bytes, which `argument` is; the kernel writes
    // nothing beyond it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    check(result.into()).map(|_| ())
}
