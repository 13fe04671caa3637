use super::*;
use crate::request::{Access, BindMount, Recursion, TmpfsMount};
use std::os::unix::fs::PermissionsExt as _;

/// An ELF header for `machine` with a loader at `loader`.
fn elf(machine: u16, loader: &str) -> Vec<u8> {
    let mut header = vec![0_u8; 120];
    header[..6].copy_from_slice(b"\x7fELF\x02\x01");
    header[18..20].copy_from_slice(&machine.to_le_bytes());
    header[32] = 64;
    header[54] = 56;
    header[56] = 1;
    header[64] = 3;
    header[72] = 120;
    header.extend(loader.as_bytes());
    header.push(0);
    header
}

const NATIVE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
const FOREIGN: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };

/// Two layers on disk, removed when it is dropped.
struct Layers(PathBuf);

impl Layers {
    fn new(test: &str) -> Self {
        let layers = Self(std::env::temp_dir().join(format!("skiff-explain-{test}-{}", std::process::id())));
        for directory in ["low/bin", "high/bin/dir"] {
            std::fs::create_dir_all(layers.0.join(directory)).unwrap();
        }
        layers
    }

    fn with(self, path: &str, content: &[u8], mode: u32) -> Self {
        std::fs::write(self.0.join(path), content).unwrap();
        std::fs::set_permissions(self.0.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn explain(&self, program: &str) -> Option<Finding> {
        self.explain_below(program, &[])
    }

    fn explain_below(&self, program: &str, mounts: &[MountRequest]) -> Option<Finding> {
        let search = Search { program, workdir: Path::new("/bin"), path: "/nowhere:/bin" };
        explain(&search, &View::open(&[self.0.join("low"), self.0.join("high")], mounts))
    }

    /// The file or directory `source` at `target`.
    fn mounted(&self, source: &str, target: &str) -> MountRequest {
        MountRequest::Bind(BindMount {
            source: self.0.join(source),
            target: target.to_owned(),
            access: Access::ReadWrite,
            recursion: Recursion::Enabled,
            propagation: None,
            idmap: None,
        })
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn missing_programs_are_missing() {
    let layers = Layers::new("missing");
    assert_eq!(layers.explain("x"), Some(Finding::NotInPath { path: "/nowhere:/bin".to_owned() }));
    assert_eq!(layers.explain("/bin/x"), Some(Finding::Missing));
    assert_eq!(layers.explain("./x"), Some(Finding::Missing));
    assert_eq!(layers.explain("/bin/dir"), Some(Finding::Directory));
}

#[test]
fn scripts_and_programs_need_what_they_name() {
    let layers = Layers::new("needs").with("low/bin/script", b"#! /bin/interpreter -x\n", 0o755).with(
        "low/bin/dynamic",
        &elf(NATIVE, "/bin/loader"),
        0o755,
    );
    assert_eq!(layers.explain("script"), Some(Finding::NoInterpreter("/bin/interpreter".to_owned())));
    assert_eq!(layers.explain("dynamic"), Some(Finding::NoLoader("/bin/loader".to_owned())));
    let layers = layers.with("high/bin/interpreter", b"", 0o755).with("high/bin/loader", b"", 0o755);
    assert_eq!((layers.explain("script"), layers.explain("dynamic")), (None, None));
}

#[test]
fn line_ends_of_windows_are_named() {
    let layers = Layers::new("windows").with("low/bin/script", b"#!/bin/sh\r\necho\r\n", 0o755);
    let finding = layers.explain("script").unwrap();
    assert_eq!(finding, Finding::CarriageReturn("/bin/sh".to_owned()));
    assert!(finding.to_string().starts_with(r"it is a script for `/bin/sh\r`"), "{finding}");
    assert!(finding.hint("script").is_some_and(|hint| hint.contains("sed -i")));
}

#[test]
fn foreign_and_other_files_are_named() {
    let layers = Layers::new("foreign")
        .with("low/bin/foreign", &elf(FOREIGN, "/l"), 0o755)
        .with("low/bin/text", b"hello", 0o755)
        .with("low/bin/empty", b"", 0o755)
        .with("low/bin/plain", b"#!/bin/sh\n", 0o644);
    let machine = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
    assert_eq!(layers.explain("foreign"), Some(Finding::Foreign(machine.to_owned())));
    assert_eq!(
        (layers.explain("text"), layers.explain("empty")),
        (Some(Finding::NotAProgram), Some(Finding::NotAProgram))
    );
    assert_eq!(layers.explain("plain"), Some(Finding::NotExecutable));
}

#[test]
fn the_upper_layer_hides_the_lower() {
    let layers =
        Layers::new("upper").with("low/bin/x", b"#!/bin/sh\n", 0o644).with("high/bin/x", b"text", 0o755);
    assert_eq!(layers.explain("x"), Some(Finding::NotAProgram));
}

#[test]
fn r38_headers_that_lie_have_no_loader() {
    for (offset, value) in [(32, 0xff), (39, 0xff), (56, 0), (72, 0xff), (79, 0xff)] {
        let mut header = elf(NATIVE, "/l");
        header[offset] = value;
        assert_ne!(loader(&header).as_deref(), Some("/l"), "byte {offset}");
    }
    let whole = elf(NATIVE, "/l");
    for length in 0..whole.len() {
        // Any answer is fine; a panic isn't.
        let _kind = kind(&whole[..length]);
    }
}

#[test]
fn programs_on_mounts_are_looked_at_where_they_are() {
    let layers = Layers::new("mounts")
        .with("low/bin/program", b"#!/bin/sh\n", 0o644)
        .with("foreign", &elf(FOREIGN, "/l"), 0o755)
        .with("high/bin/dir/plain", b"", 0o644)
        .with("high/bin/dir/script", b"#!/no/shell\n", 0o755);
    let file = [layers.mounted("foreign", "/bin/program")];
    assert!(matches!(layers.explain_below("program", &file), Some(Finding::Foreign(_))));
    let directory = [layers.mounted("low", "/data"), layers.mounted("high/bin/dir", "/data/tools")];
    let explained = |program| layers.explain_below(program, &directory);
    assert_eq!(explained("/data/tools/plain"), Some(Finding::NotExecutable));
    assert_eq!(explained("/data/tools/script"), Some(Finding::NoInterpreter("/no/shell".to_owned())));
    assert_eq!(explained("/data/tools"), Some(Finding::Directory));
    assert_eq!(explained("/data/tools/none"), Some(Finding::Missing));
    assert_eq!(explained("/data/bin/program"), Some(Finding::NotExecutable));
    let memory = MountRequest::Tmpfs(TmpfsMount { target: "/bin".to_owned(), options: Vec::new() });
    assert_eq!(layers.explain_below("/bin/program", &[memory]), Some(Finding::Missing));
}
