//! Rules for one source file at a time.

use super::File;

const CODE_LINES: usize = 500;
const DOOR_LINES: usize = 150;
const VAGUE_NAMES: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "manager", "misc", "impl", "types"];

/// A text that may not stand in the code of the product, why, and the files where it may, each with its reason.
struct Ban {
    text: &'static str,
    why: &'static str,
    except: &'static [(&'static str, &'static str)],
}

const SYS: (&str, &str) = ("crates/sys/", "the wrappers of the kernel");

const BANS: &[Ban] = &[
    Ban { text: "unsafe {", why: "unsafe code belongs in crates/sys", except: &[SYS] },
    Ban { text: "unsafe fn", why: "unsafe code belongs in crates/sys", except: &[SYS] },
    Ban { text: "unsafe impl", why: "unsafe code belongs in crates/sys", except: &[SYS] },
    Ban { text: "allow(unsafe_code)", why: "unsafe code belongs in crates/sys", except: &[SYS] },
    Ban {
        text: "format!(\"/proc/{",
        why: "R4: proc files go through a proven procfs handle",
        except: &[
            SYS,
            ("crates/cgroup/src/cgroup.rs", "reads where our own child is, in the host's procfs"),
            ("crates/cgroup/src/freeze.rs", "reads where a process is, in the host's procfs"),
            ("crates/runtime/src/id_maps.rs", "maps of our own child, which waits, in the host's procfs"),
            ("crates/runtime/src/launch.rs", "oom score of our own child, which waits, in the host's procfs"),
            ("crates/cli/src/commands/unshare/", "maps of the tool's own child, in its caller's procfs"),
            ("crates/cli/src/commands/nsenter/", "the process that the caller named, in the caller's procfs"),
        ],
    },
    Ban { text: "libc::mount(", why: "R3: mounts go by descriptor", except: &[SYS] },
    Ban { text: "thread::sleep", why: "no sleep or poll on any path", except: &[] },
    Ban { text: "to_socket_addrs", why: "a static glibc must not resolve names", except: &[] },
    Ban { text: "ToSocketAddrs", why: "a static glibc must not resolve names", except: &[] },
    Ban { text: "env::home_dir", why: "a static glibc must not look users up", except: &[] },
];

/// Whether the file is tests alone, or an example.
fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    !path.contains("/src/") || path.contains("/tests/") || name == "tests.rs" || name.ends_with("_tests.rs")
}

/// Everything that is wrong with `file`.
pub(super) fn problems(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let code = code(&file.text);
    let is_product = file.path.starts_with("crates/") && !is_test(&file.path);
    if code.len() > CODE_LINES {
        found.push(format!(
            "{}: {} code lines, at most {CODE_LINES}: find the missing noun",
            file.path,
            code.len()
        ));
    }
    if file.path.ends_with("/src/lib.rs") && file.text.lines().count() > DOOR_LINES {
        found.push(format!("{}: the door of a crate has at most {DOOR_LINES} lines and no logic", file.path));
    }
    let parts = file.path.trim_end_matches(".rs").split('/');
    found.extend(
        parts
            .filter(|part| VAGUE_NAMES.contains(part))
            .map(|part| format!("{}: the name `{part}` says nothing about what is in it", file.path)),
    );
    if !is_test(&file.path) && !file.text.starts_with("//!") {
        found.push(format!("{}: a file opens with `//!`: what it holds", file.path));
    }
    for (number, line) in file.text.lines().enumerate() {
        if line.trim() == "#[ignore]" {
            found.push(format!("{}:{}: an ignored test needs its reason", file.path, number + 1));
        }
    }
    if is_product {
        for (number, line) in &code {
            found.extend(banned(&file.path, line).map(|why| format!("{}:{number}: {why}", file.path)));
        }
    }
    found
}

fn banned<'a>(path: &'a str, line: &'a str) -> impl Iterator<Item = String> + 'a {
    BANS.iter()
        .filter(move |ban| line.contains(ban.text))
        .filter(move |ban| !ban.except.iter().any(|(allowed, _)| path.starts_with(allowed)))
        .map(|ban| format!("`{}`: {}", ban.text, ban.why))
}

/// The numbered lines of code: without comments, blank lines and the tests at the end of the file.
fn code(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
    let product = lines.get(..tests.unwrap_or(lines.len())).unwrap_or(&lines);
    let numbered = product.iter().enumerate().map(|(number, line)| (number + 1, *line));
    numbered.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with("//")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Vec<String> {
        problems(&File { path: path.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn r39_unsafe_code_is_allowed_in_sys_alone() {
        let text = "//! A file.\nfn f() { unsafe { g() } }\n";
        assert_eq!(of("crates/sys/src/a.rs", text), Vec::<String>::new());
        assert_eq!(of("crates/store/src/a.rs", text).len(), 1);
    }

    #[test]
    fn comments_and_tests_do_not_count() {
        let text = format!(
            "//! A file.\n{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "// unsafe {\n\n".repeat(600),
            "x\n".repeat(600)
        );
        assert_eq!(of("crates/store/src/a.rs", &text), Vec::<String>::new());
    }

    #[test]
    fn long_files_and_vague_names_are_found() {
        assert!(
            of("crates/store/src/a.rs", &format!("//! A.\n{}", "x\n".repeat(501)))[0]
                .contains("501 code lines")
        );
        assert!(of("crates/store/src/utils.rs", "//! A.\n")[0].contains("`utils`"));
        assert!(of("crates/store/src/lib.rs", &format!("//! A.\n{}", "\n".repeat(150)))[0].contains("door"));
    }

    #[test]
    fn an_ignored_test_says_why() {
        assert_eq!(of("tests/suite/a.rs", "//! A.\n#[ignore]\n").len(), 1);
        assert_eq!(of("tests/suite/a.rs", "//! A.\n#[ignore = \"needs a week\"]\n").len(), 0);
    }
}
