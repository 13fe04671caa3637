//! What can go wrong between a bundle and a running process.

use std::path::PathBuf;

use skiff_sys::Errno;

/// What went wrong while a container was being started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The configuration asks for something that has no meaning.
    #[error("`{field}` of the configuration: {reason}")]
    Spec {
        /// The field, as the OCI runtime specification names it.
        field: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A setup step failed inside the new namespaces.
    #[error("{step}")]
    Step {
        /// What the step does, for example `mount proc at /proc`.
        step: String,
        /// Why the kernel refused.
        source: Errno,
    },
    /// The program could not be executed.
    #[error("exec {}", program.display())]
    Exec {
        /// The program as the user named it.
        program: PathBuf,
        /// Why the kernel refused.
        source: Errno,
    },
    /// The caller's own hard limit is too low for a container, and can't be raised.
    #[error(
        "start with the limit `{name}` of this shell, {limit}: a container starts with {needed}, and to raise it takes CAP_SYS_RESOURCE"
    )]
    CallerLimit {
        /// The limit's name, without `RLIMIT_`, in lower case.
        name: &'static str,
        /// The caller's hard limit.
        limit: u64,
        /// The soft limit that a container starts with.
        needed: u64,
    },
    /// Something outside the container failed.
    #[error("{doing}")]
    Host {
        /// What was being done, to what.
        doing: String,
        /// Why the kernel refused.
        source: Errno,
    },
    /// The source of a bind mount could not be opened.
    #[error("open the mount source {}", path.display())]
    Source {
        /// Its path on the host.
        path: PathBuf,
        /// Why the kernel refused.
        source: Errno,
    },
    /// The init process ended before it could run the program.
    #[error("the init process died at the step `{step}` (status {status})")]
    Died {
        /// The step it was in.
        step: String,
        /// Its exit code, 128 + the signal's number if it was killed.
        status: i32,
    },
    /// The cgroup could not be made, limited or entered.
    #[error("set up the cgroup")]
    Cgroup(#[from] skiff_cgroup::Error),
    /// The start failed, and so did the removal of the cgroup.
    #[error("{error}; and then its cgroup could not be removed")]
    Leftover {
        /// Why the start failed.
        error: String,
        /// Why the cgroup is still there.
        source: skiff_cgroup::Error,
    },
    /// The seccomp profile could not be compiled.
    #[error("compile the seccomp profile")]
    Seccomp(#[from] crate::seccomp::Error),
    /// The overlay of the root filesystem could not be made.
    #[error("make the root filesystem")]
    Rootfs(#[from] skiff_store::Error),
    /// A hook of the configuration failed.
    #[error("{kind} hook {}", program.display())]
    Hook {
        /// The kind, as the OCI runtime specification names it.
        kind: &'static str,
        /// The hook's program.
        program: PathBuf,
        /// What happened to it.
        #[source]
        source: HookError,
    },
}

/// What happened to a hook.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It could not be started.
    #[error("start it")]
    Start(#[source] Errno),
    /// It ended with an exit code other than 0.
    #[error("it ended with status {status}{output}")]
    Status {
        /// Its exit code, 128 + the signal's number if it was killed.
        status: i32,
        /// What it wrote to stderr, led by `: `, or nothing.
        output: String,
    },
    /// It ran longer than its `timeout` allows.
    #[error("it did not end within {0} s")]
    Timeout(i64),
}

impl LaunchError {
    /// The exit code that Docker gives for this error: 127 when the program was not found, 126 when it
    /// can't be executed, 125 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exec { source: Errno::NOENT | Errno::NOTDIR, .. } => 127,
            Self::Exec { .. } => 126,
            _ => 125,
        }
    }

    /// What the user could do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exec { program, source: Errno::NOENT | Errno::NOTDIR } => Some(format!(
                "is `{}` in the image? A script needs its interpreter, and a dynamic program its loader, too",
                program.display()
            )),
            Self::Exec { source: Errno::NOEXEC, .. } => Some(
                "the file is not a program of this machine's architecture, nor a script with `#!`".into(),
            ),
            Self::Exec { source: Errno::TOOBIG, .. } => Some(
                "a word or a variable may have 128 KiB, and all of them together a quarter of the stack's limit".into(),
            ),
            Self::Exec { source: Errno::ACCESS, program } => {
                Some(format!("`{}` must be a file with the execute permission", program.display()))
            }
            Self::Source { source: Errno::NOENT, .. } => {
                Some("a bind mount needs an existing source: make the file or directory first".into())
            }
            Self::Cgroup(error) | Self::Leftover { source: error, .. } => error.hint().map(str::to_owned),
            Self::CallerLimit { name, limit, .. } => {
                Some(format!("raise it with `ulimit`, or ask for it: `--ulimit {name}={limit}`"))
            }
            Self::Died { status: 137, .. } => {
                Some("it was killed, perhaps by the memory limit: raise `--memory`".into())
            }
            _ => None,
        }
    }

    pub(crate) fn spec(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Spec { field, reason: reason.into() }
    }

    pub(crate) fn host(doing: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let doing = doing.into();
        move |source| Self::Host { doing, source }
    }
}

/// A C string of a value of the configuration.
///
/// # Errors
/// [`LaunchError::Spec`] when the value contains a NUL byte.
pub(crate) fn c_string(
    field: &'static str,
    value: impl Into<Vec<u8>>,
) -> Result<std::ffi::CString, LaunchError> {
    std::ffi::CString::new(value).map_err(|_| LaunchError::spec(field, "contains a NUL byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_dockers() {
        let exec = |source| LaunchError::Exec { program: "/bin/x".into(), source };
        assert_eq!(exec(Errno::NOENT).exit_code(), 127);
        assert_eq!(exec(Errno::ACCESS).exit_code(), 126);
        assert_eq!(exec(Errno::NOEXEC).exit_code(), 126);
        assert_eq!(LaunchError::spec("process", "missing").exit_code(), 125);
    }

    #[test]
    fn the_hint_of_a_refused_limit_reaches_the_user() {
        let (path, value) = ("/c/blkio.bfq.weight_device".to_owned(), "8:0 500".to_owned());
        let refused = skiff_cgroup::Error::Write { path, value, source: Errno::OPNOTSUPP };
        assert!(LaunchError::from(refused).hint().is_some_and(|hint| hint.contains("BFQ")));
    }
}
