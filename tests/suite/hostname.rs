//! `hostname NAME` in a container: allowed without CAP_SYS_ADMIN, and never for the host's name.

use skiff_e2e::{Command, Output, Skiff, requires};

/// The host's own name, which no container may change.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the host has a name")
}

/// Runs SCRIPT with these flags, and checks that the host's name is what it was.
#[track_caller]
fn run(skiff: &Skiff, flags: &[&str], script: &str) -> Output {
    let before = host_name();
    let arguments = [&["run", "--rm"], flags, &["host", "sh", "-c", script]].concat();
    let output = skiff.run(arguments);
    assert_eq!(host_name(), before, "the host's name");
    output
}

#[test]
fn root_in_a_container_sets_its_host_and_domain_name() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "hostname; hostname shared-host && hostname; cat /proc/sys/kernel/hostname";
    run(&skiff, &["--hostname", "first"], script).success().stdout_is("first\nshared-host\nshared-host\n");
    let script = "domainname example.org && cat /proc/sys/kernel/domainname";
    run(&skiff, &[], script).success().stdout_is("example.org\n");
}

#[test]
fn a_name_that_the_kernel_would_refuse_is_refused() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "hostname $(printf '%065d' 0); echo $?; hostname";
    let output = run(&skiff, &["--hostname", "kept"], script).success();
    assert_eq!(output.stdout(), "1\nkept\n", "{output}");
    let script = "hostname $(printf '%064d' 0) && hostname | wc -c";
    run(&skiff, &[], script).success().stdout_is("65\n");
}

#[test]
fn a_user_of_the_container_may_not_set_it() {
    requires!(Root);
    let skiff = Skiff::new();
    let output = run(&skiff, &["-u", "1000:1000", "--hostname", "kept"], "hostname mine; echo $?; hostname");
    output.success().stdout_is("1\nkept\n").stderr_has("must be root");
}

#[test]
fn a_root_without_the_capability_may_not_set_it() {
    requires!(Root);
    let skiff = Skiff::new();
    let flags = ["--cap-drop", "SYS_CHROOT", "--hostname", "kept"];
    run(&skiff, &flags, "hostname mine; echo $?; hostname").success().stdout_is("1\nkept\n");
}

#[test]
fn the_hosts_name_is_never_set() {
    requires!(Root);
    let skiff = Skiff::new();
    let output = run(&skiff, &["--uts", "host"], "hostname stolen; echo $?; hostname").success();
    assert_eq!(output.stdout(), format!("1\n{}", host_name()));
}

#[test]
fn many_callers_at_once_are_all_answered() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "for i in 1 2 3 4 5 6 7 8; do (for j in 1 2 3 4 5; do hostname n$i.$j || echo failed; done) & done; \
                  wait; hostname | cut -c 1-1";
    run(&skiff, &[], script).success().stdout_is("n\n");
}

#[test]
fn a_caller_that_is_killed_while_it_waits_disturbs_nobody() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do hostname n$i & kill -9 $! 2>/dev/null; done; wait; hostname end && hostname";
    run(&skiff, &[], script).success().stdout_is("end\n");
}

#[test]
fn the_test_of_the_hosts_name_can_fail() {
    requires!(Root);
    // The control: in a namespace of its own, `hostname` does change what `host_name` reads.
    let output =
        Command::new("unshare").args(["--uts", "sh", "-c", "hostname other; cat /proc/sys/kernel/hostname"]);
    output.output().success().stdout_is("other\n");
}
