//! What style, security rules and the release promise, as far as a machine can check it.

mod binary;
mod rules;
mod source;

use std::path::{Path, PathBuf};

use crate::{Findings, value};

/// Which binaries to look into, beside the sources.
#[derive(Debug, Default)]
pub struct Options {
    release: Option<PathBuf>,
    symbols: Option<PathBuf>,
}

impl Options {
    /// Reads the command line.
    pub fn parse(arguments: &[String]) -> Result<Self, Vec<String>> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--release" => options.release = Some(value("--release", &mut rest)?.into()),
                "--symbols" => options.symbols = Some(value("--symbols", &mut rest)?.into()),
                other => return Err(vec![format!("tidy: unknown argument {other}")]),
            }
        }
        Ok(options)
    }
}

/// Checks the sources, the table of rules, and the binaries that were given.
pub fn check(options: &Options) -> Findings {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for directory in ["crates", "tests", "xtask", "bench"] {
        collect(root, &root.join(directory), &mut files, &mut problems);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    problems.extend(files.iter().flat_map(source::problems));
    problems.extend(rules::problems(&root.join("tests/rules.txt"), &files));
    if let Some(release) = &options.release {
        problems.extend(binary::release_problems(release));
    }
    if let Some(symbols) = &options.symbols {
        problems.extend(binary::symbol_problems(symbols));
    }
    if problems.is_empty() { Ok(format!("tidy: {} files", files.len())) } else { Err(problems) }
}

/// A source file: its path from the workspace's root, and its text.
#[derive(Debug)]
struct File {
    path: String,
    text: String,
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<File>, problems: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(root, &path, files, problems);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            match std::fs::read_to_string(&path) {
                Ok(text) => files.push(File { path: name, text }),
                Err(error) => problems.push(format!("tidy: {name}: {error}")),
            }
        }
    }
}
