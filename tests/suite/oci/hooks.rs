//! The six kinds of hooks: when they run, where, and what becomes of a start when one goes wrong.

use std::fs;

use serde_json::json;
use skiff_e2e::{Skiff, requires};

use super::{bundle, command, run};

#[test]
fn all_six_hooks_in_their_order_and_places() {
    requires!(Root);
    let skiff = Skiff::new();
    let log = skiff.scratch().join("hooks");
    let bundle = bundle(&skiff, "cat /hooks 2>/dev/null; echo main", |config| {
        let host = |name: &str| {
            // The state comes on stdin; its status is kept beside the name.
            let script =
                format!("grep -o '\"status\":\"[a-z]*\"' | sed 's/.*:/{name} /' >>{}", log.display());
            json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
        };
        let inside = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo startContainer >/hooks"]}]);
        config["hooks"] = json!({
            "prestart": host("prestart"), "createRuntime": host("createRuntime"),
            "createContainer": host("createContainer"), "startContainer": inside,
            "poststart": host("poststart"), "poststop": host("poststop"),
        });
    });
    let output = command(&skiff, &bundle).output().success();
    output.stdout_is("startContainer\nmain\n");
    let text = fs::read_to_string(&log).expect("the log of the hooks");
    let order: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(order, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"], "{text}");
    assert!(text.ends_with("\"stopped\"\n"), "{text}");
}

#[test]
fn a_hook_that_fails_stops_the_start() {
    requires!(Root);
    let skiff = Skiff::new();
    let failing = run(&skiff, "echo never", |config| {
        config["hooks"] =
            json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 9"]}]});
    });
    let failing = failing.code(125).stderr_has("createRuntime hook").stderr_has("status 9");
    assert_eq!(failing.stdout(), "");
    let slow = run(&skiff, "echo never", |config| {
        config["hooks"] =
            json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]});
    });
    slow.code(125).stderr_has("within 1 s");
}

#[test]
fn a_hook_that_writes_without_end_or_runs_in_the_container_is_ended_in_time() {
    requires!(Root);
    let skiff = Skiff::new();
    let noisy = run(&skiff, "echo never", |config| {
        config["hooks"] = json!({"createRuntime": [{"path": "/usr/bin/yes", "timeout": 1}]});
    });
    noisy.code(125).stderr_has("within 1 s");
    // The process that runs there is a child of the one that is waited for: both must go.
    let inside = run(&skiff, "echo never", |config| {
        config["hooks"] = json!({"startContainer": [
            {"path": "/bin/sh", "args": ["sh", "-c", "sleep 1000"], "timeout": 1}
        ]});
        config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|one| one["type"] != "pid");
    });
    inside.code(125).stderr_has("within 1 s");
}

#[test]
fn a_state_that_no_pipe_holds_reaches_a_hook_that_reads_late() {
    requires!(Root);
    let skiff = Skiff::new();
    let log = skiff.scratch().join("state");
    let output = run(&skiff, "echo main", |config| {
        config["annotations"] = json!({"large": "x".repeat(200_000)});
        let script = format!("sleep 0.1; wc -c > {}", log.display());
        config["hooks"] = json!({
            "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 10}],
            "poststart": [{"path": "/bin/true"}],
        });
    });
    output.success().stdout_is("main\n");
    let read: usize = fs::read_to_string(&log).expect("the log").trim().parse().expect("a number");
    assert!(read > 200_000, "{read}");
}
