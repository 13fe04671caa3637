//! The container's own `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use skiff_store::Directory;
use skiff_sys::Errno;

use crate::EngineError;
use crate::request::Sharing;
use crate::spec::{ETC_FILES, Inputs, hostname};

/// No file of the host's that is copied is larger.
const LIMIT: usize = 1 << 20;

/// Everybody in the container may read them.
const READABLE: u32 = 0o644;

/// Writes the three files into the directory of the container.
pub(crate) fn write(directory: &Directory, inputs: &Inputs<'_>) -> Result<(), EngineError> {
    if inputs.request.namespaces.mount != Sharing::Private {
        return Ok(());
    }
    let [hostname_file, hosts_file, resolv_conf] = ETC_FILES;
    let name = hostname(inputs);
    put(directory, hostname_file, format!("{name}\n").as_bytes())?;
    let (hosts, resolver) = match inputs.request.namespaces.net {
        // There is nobody to ask in an empty network.
        Sharing::Private => (own_hosts(name).into_bytes(), Vec::new()),
        Sharing::Host => (of_host("/etc/hosts")?, of_host("/etc/resolv.conf")?),
        Sharing::Path(_) => (own_hosts(name).into_bytes(), of_host("/etc/resolv.conf")?),
    };
    put(directory, hosts_file, &hosts)?;
    put(directory, resolv_conf, &resolver)
}

/// The names that every machine knows, and the container's own.
fn own_hosts(name: &str) -> String {
    format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n127.0.0.1\t{name}\n"
    )
}

fn put(directory: &Directory, name: &'static str, content: &[u8]) -> Result<(), EngineError> {
    let failed = |source| EngineError::File { name, source };
    skiff_sys::fail::point("engine.write-etc").map_err(failed)?;
    let file = directory.create_new(name)?;
    // Not by `openat`, which is subject to the caller's umask.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(READABLE)).map_err(failed)?;
    let written = File::from(file).write_all(content);
    written.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}

/// A file of the host; empty where it has none.
fn of_host(path: &'static str) -> Result<Vec<u8>, EngineError> {
    let failed = |source| EngineError::File { name: path, source };
    let file = match rustix::fs::open(Path::new(path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(failed(errno)),
    };
    let mut content = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        match rustix::io::read(&file, &mut chunk) {
            Ok(0) => return Ok(content),
            Ok(length) if content.len() + length <= LIMIT => content.extend_from_slice(&chunk[..length]),
            Ok(_) => return Err(failed(Errno::FBIG)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_knows_itself_by_name() {
        let hosts = own_hosts("box");
        assert!(hosts.contains("127.0.0.1\tlocalhost\n"));
        assert!(hosts.ends_with("127.0.0.1\tbox\n"));
        assert_eq!(hosts.lines().count(), 7);
    }
}
