//! R23, R33: what the configuration of an image, and the image of the host itself, can't do.

use std::fs;

use serde_json::{Value, json};
use skiff_e2e::{Command, Skiff, requires};

use super::{Canary, SECRET, naive, refused};

/// Loads an image of a busybox layer with this `config`, as `docker save` would have written it.
#[track_caller]
fn load(skiff: &Skiff, name: &str, config: Value) {
    let home = skiff.scratch().join("saved");
    fs::create_dir(&home).expect("make a directory");
    let layer = skiff_e2e::busybox_archive(&home, "layer");
    let sum = |path: &std::path::Path| {
        let output = Command::new("sha256sum").arg(path).output().success();
        output.stdout().split(' ').next().unwrap_or_default().to_owned()
    };
    let document = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sum(&layer))] },
    });
    let written = home.join("config.json");
    fs::write(&written, document.to_string()).expect("write the configuration");
    let config_name = format!("{}.json", sum(&written));
    fs::rename(&written, home.join(&config_name)).expect("name the configuration");
    let manifest =
        json!([{ "Config": config_name, "RepoTags": [format!("{name}:latest")], "Layers": ["layer.tar"] }]);
    fs::write(home.join("manifest.json"), manifest.to_string()).expect("write the manifest");
    let archive = skiff.scratch().join("saved.tar");
    let tar =
        Command::new("tar").args(["--create", "--numeric-owner", "--file"]).arg(&archive).arg("--directory");
    tar.arg(&home).args(["manifest.json", &config_name, "layer.tar"]).output().success();
    skiff.command(["load", "--input"]).arg(&archive).output().success();
    fs::remove_dir_all(&home).expect("remove the directory");
    fs::remove_file(&archive).expect("remove the archive");
}

#[test]
fn r23_a_configuration_reads_nothing_of_the_host() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    load(
        &skiff,
        "nosy",
        json!({ "Env": ["TOKEN", "HOME", "KNOWN=value", "=nothing", "", "PATH=/bin"], "Cmd": ["env"] }),
    );
    let output = skiff.command(["run", "--rm", "nosy"]).env("TOKEN", SECRET).output().success();
    assert!(!output.stdout().contains(SECRET) && output.stdout().contains("KNOWN=value"), "{output}");
    assert!(output.stdout().lines().all(|line| line != "TOKEN"), "{output}");
    output.stderr_has("TOKEN");
    // The user may ask for it by name.
    let asked = skiff.command(["run", "--rm", "-e", "TOKEN", "nosy"]).env("TOKEN", SECRET).output();
    asked.success().stdout_has(SECRET);
    // The control: a plain unshare passes all of it on.
    Command::new("unshare")
        .args(["--mount", "env"])
        .env("TOKEN", SECRET)
        .output()
        .success()
        .stdout_has(SECRET);
}

#[test]
fn r23_labels_select_nothing() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let labels = json!({
        "privileged": "true", "skiff.privileged": "true", "io.skiff.security-opt": "seccomp=unconfined",
        "run.oci.keep_original_groups": "1", "run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup", "run.oci.hooks.stdout": "/pwned",
        "io.podman.annotations.privileged": "TRUE", "io.podman.annotations.seccomp": "unconfined",
        "org.opencontainers.image.ref.name": "../../x",
    });
    let config = json!({ "Labels": labels, "Cmd": ["grep", "-E", "^(CapEff|Seccomp):", "/proc/self/status"], "Env": ["PATH=/bin"] });
    load(&skiff, "labelled", config);
    let output = skiff.run(["run", "--rm", "labelled"]).success();
    output.stdout_is("CapEff:\t00000000a80425fb\nSeccomp:\t2\n");
}

#[test]
fn r23_paths_users_and_commands_of_a_configuration_obey_the_same_rules() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    let path = ["PATH=/bin"];
    let cases = [
        ("descriptor", json!({ "WorkingDir": "/proc/self/fd/5", "Cmd": ["pwd"], "Env": path })),
        ("user", json!({ "User": "4294967296", "Cmd": ["id"], "Env": path })),
        ("group", json!({ "User": "0:-1", "Cmd": ["id"], "Env": path })),
        ("nothing", json!({ "Cmd": [], "Env": path })),
        ("empty", json!({ "Entrypoint": [""], "Env": path })),
    ];
    for (name, config) in cases {
        load(&skiff, name, config);
        refused(skiff.run(["run", "--rm", name]));
    }
    let up = format!("../../../../../..{}", canary.path());
    load(
        &skiff,
        "dots",
        json!({ "WorkingDir": up, "Cmd": ["sh", "-c", "echo pwned >made; cat secret"], "Env": path }),
    );
    let output = skiff.run(["run", "--rm", "dots"]);
    assert!(!output.stdout().contains(SECRET), "{output}");
    let volume = json!({ up.clone(): {}, canary.path(): {} });
    load(&skiff, "volumes", json!({ "Volumes": volume, "Cmd": ["sh", "-c", "echo x >made"], "Env": path }));
    skiff.run(["run", "--rm", "volumes"]).success();
    canary.assert_untouched();
}

#[test]
fn r25_text_of_an_image_cannot_steer_the_terminal() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let evil = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{9b}31m\u{202e}";
    let path = ["PATH=/bin"];
    load(
        &skiff,
        "steers",
        json!({ "Entrypoint": [evil], "Env": path, "WorkingDir": format!("/{evil}"), "User": "" }),
    );
    load(
        &skiff,
        "lasting",
        json!({ "Entrypoint": ["sh", "-c", "exit 0", evil], "Env": ["PATH=/bin", evil] }),
    );
    load(&skiff, "somebody", json!({ "Cmd": ["true"], "User": evil, "Env": path }));
    load(&skiff, "hints", json!({ "Entrypoint": ["x\nhint: run something evil"], "Env": path }));
    let output = skiff.run(["run", "--rm", "hints"]).code(127);
    assert!(!output.stderr().lines().any(|line| line.starts_with("hint: run something")), "{output}");
    let is_plain = |text: &str| {
        !text.replace("\r\n", "\n").chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
    };
    skiff.run(["run", "--name", "kept", "lasting"]).success();
    for words in [
        &["run", "--rm", "steers"][..],
        &["run", "--rm", "somebody"],
        &["run", "--rm", evil],
        &["run", "--rm", "--name", evil, "lasting"],
        &["rm", evil],
        &["ps", "--all"],
        &["ps", "--all", "--no-trunc"],
        &["images"],
    ] {
        let output = skiff.run(words);
        assert!(is_plain(output.stderr()), "{words:?}: {:?}", output.stderr());
        // The terminal stays until what was shown has been read.
        let hold = ["sh", "-c", "\"$@\"; echo shown; read x", "sh"];
        let mut terminal = skiff.command(words).wrapped(hold).pty(200, 50);
        let shown = terminal.expect("shown\r\n");
        terminal.send("\n");
        terminal.wait();
        let shown = shown.replace("\u{1b}[0m", "").replace("\u{1b}[", "<").to_owned();
        assert!(
            !shown.contains('\u{7}') && !shown.contains("\u{1b}]") && !shown.contains('\u{9b}'),
            "{words:?}: {shown:?}"
        );
    }
    skiff.run(["rm", "kept"]).success();
    // The control: whoever prints what he is given is steered.
    let output = Command::new("echo").arg(evil).output().success();
    assert!(!is_plain(output.stdout()));
}

#[test]
fn r33_the_hosts_image_hides_secrets_and_keeps_writes_away() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    let script = format!(
        "cat /etc/shadow /etc/gshadow 2>/dev/null; \
         ls -A /root /home /tmp /run/docker /var/lib/docker /var/lib/containers 2>/dev/null | grep -v :; \
         ls -A {} 2>/dev/null; echo pwned >/etc/pwned && rm -rf /usr/share/doc /etc/hostname.d; cat /etc/pwned",
        skiff.root().display()
    );
    let docs = || fs::read_dir("/usr/share/doc").map(Iterator::count).unwrap_or(0);
    let before = docs();
    let output = skiff.run(["run", "--rm", "host", "sh", "-c", &script]).success();
    let said: Vec<&str> = output.stdout().lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(said, ["pwned"], "{output}");
    assert!(fs::metadata("/etc/pwned").is_err() && docs() == before);
    canary.assert_untouched();
    // What a mount hides from us is in the root file system all the same.
    let line = skiff.command(["run", "--rm", "host", "cat", "/etc/shadow"]).line();
    naive(&format!("mount -t tmpfs tmpfs /etc; {line}")).output().success().stdout_is("");
    // The control: a plain chroot into the same root does show them.
    let plain = Command::new("unshare")
        .args(["--mount", "--root", "/", "sh", "-c", "wc -c </etc/shadow"])
        .output()
        .success();
    assert_ne!(plain.text(), "0");
}
