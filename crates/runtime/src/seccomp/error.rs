//! What can be wrong with a profile.

use skiff_oci::runtime::LinuxSeccompAction;

/// Why a seccomp profile can't be used, with the place in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is no JSON, or something in it has a value that it can't have; the source has line and column.
    #[error("read seccomp profile")]
    Json(#[source] serde_json::Error),
    /// Two fields that say the same.
    #[error("seccomp profile: {place}: both `{}` and `{}` are given, use one of them", fields[0], fields[1])]
    TwoFields {
        /// Where they are.
        place: String,
        /// The fields.
        fields: [&'static str; 2],
    },
    /// A rule for no system call.
    #[error("seccomp profile: {place}: no system call is named")]
    NoName {
        /// The rule.
        place: String,
    },
    /// A kernel version that is none.
    #[error("seccomp profile: {place}.minKernel: `{text}` is no kernel version such as `4.8`")]
    MinKernel {
        /// The conditions.
        place: String,
        /// What they have.
        text: String,
    },
    /// An errno beyond what a filter can return.
    #[error("seccomp profile: {place}: {errno} is no error number, the highest is {most}")]
    Errno {
        /// The field.
        place: String,
        /// What it has.
        errno: u32,
        /// The greatest value that works.
        most: u32,
    },
    /// An errno for an action that returns none.
    #[error("seccomp profile: {place}: {action} returns no error number")]
    NeedlessErrno {
        /// The field.
        place: String,
        /// The action it was given with.
        action: LinuxSeccompAction,
    },
    /// A condition on an argument that no system call has.
    #[error("seccomp profile: {place}: no argument {index}, system calls have 0 to 5")]
    Argument {
        /// The field.
        place: String,
        /// What it has.
        index: usize,
    },
    /// Every call would wait for an answer, those of the start included.
    #[error(
        "seccomp profile: defaultAction: `SCMP_ACT_NOTIFY` can't be the default, the container would never start"
    )]
    NotifyByDefault,
    /// A call that comes between the filter and the program would wait for an answer.
    #[error(
        "seccomp profile: {place}: `{name}` can't have `SCMP_ACT_NOTIFY`, the container would never start"
    )]
    NotifyStart {
        /// The rule.
        place: String,
        /// The call.
        name: String,
    },
    /// More than the kernel takes.
    #[error("seccomp profile: too many conditions: {instructions} instructions, the kernel takes 4096")]
    TooLong {
        /// How many there would be.
        instructions: usize,
    },
}
