//! SIGPIPE, which the Rust runtime sets to ignored before `main`.

/// Gives SIGPIPE its default action back: a write to a pipe without a reader ends the process.
pub fn restore_default() {
    // SAFETY: signal(2) requires a valid signal number and a handler that is sound to call; SIGPIPE is one, and
    // SIG_DFL installs no handler at all. It fails only for invalid numbers.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
