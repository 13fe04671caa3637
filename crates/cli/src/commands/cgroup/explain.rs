//! What was done, as the shell lines that would do the same on this machine.

use rustix::process::Pid;
use skiff_cgroup::{Applied, Cgroup, Write};

use crate::output;

/// Collects the lines, when they were asked for. Warnings are always told.
pub struct Explanation {
    asked: bool,
    text: String,
}

impl Explanation {
    /// No lines yet; there never are any unless `asked`.
    pub fn new(asked: bool) -> Self {
        Self { asked, text: String::new() }
    }

    /// The lines.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The directories of a new group.
    pub fn made(&mut self, group: &Cgroup) {
        for directory in group.directories() {
            if let Some((label, _)) = directory.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
                self.line(&format!(
                    "# ({label}) is `mount -t cgroup -o {label}`, for this process only and attached nowhere"
                ));
            }
            self.line(&format!("mkdir {}", quoted(&directory)));
        }
    }

    /// The limits that were set.
    pub fn applied(&mut self, group: &Cgroup, applied: &Applied) {
        for warning in &applied.warnings {
            output::aside(&warning.to_string());
        }
        for (path, value) in &applied.prepared {
            self.line(&format!("echo {} > {}", quoted(value), quoted(path)));
        }
        for write in &applied.writes {
            self.line(&echo(group, write));
        }
        if applied.has_filter {
            self.line("# devices: an eBPF program is attached to the group; it has no file");
        }
    }

    /// A process that was moved.
    pub fn joined(&mut self, group: &Cgroup, pid: Pid) {
        for directory in group.directories() {
            let file = quoted(&format!("{directory}/cgroup.procs"));
            self.line(&format!("echo {} > {file}", pid.as_raw_nonzero()));
        }
    }

    /// The directories of a group that goes.
    pub fn removed(&mut self, group: &Cgroup) {
        group.directories().for_each(|directory| self.line(&format!("rmdir {}", quoted(&directory))));
    }

    fn line(&mut self, line: &str) {
        if self.asked {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }
}

fn echo(group: &Cgroup, write: &Write) -> String {
    format!("echo {} > {}", quoted(&write.value), quoted(&group.shown_file(write)))
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._,:-=@+%".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_a_shell_would_not_take_them_as_they_are() {
        assert_eq!(quoted("/sys/fs/cgroup/cpu,cpuacct/a.b"), "/sys/fs/cgroup/cpu,cpuacct/a.b");
        assert_eq!(quoted("50000 100000"), "'50000 100000'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("(net_cls)/x"), "'(net_cls)/x'");
    }
}
