//! Tests of `plan`.

use super::*;
use clap::{Args as _, FromArgMatches as _};

fn parsed(words: &[&str]) -> Args {
    let command = Args::augment_args(clap::Command::new("unshare").version("0"));
    let words = std::iter::once("unshare").chain(words.iter().copied());
    Args::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
}

fn caller() -> Caller {
    Caller {
        uid: 1000,
        gid: 100,
        passwd: b"root:x:0:0::/:/bin/sh\nann:x:1000:100::/:/bin/sh\n".to_vec(),
        group: b"root:x:0:\nstaff:x:50:\n".to_vec(),
        subuid: b"ann:100000:65536\n".to_vec(),
        subgid: b"1000:200000:65536\n".to_vec(),
    }
}

fn planned(words: &[&str]) -> Plan {
    plan(parsed(words), &caller()).unwrap()
}

fn refused(words: &[&str]) -> String {
    plan(parsed(words), &caller()).unwrap_err().sentence()
}

fn write(file: &'static str, text: &str) -> Step {
    Step::Write { file, text: text.to_owned() }
}

const PRIVATE: MountPropagationFlags = MountPropagationFlags::PRIVATE.union(MountPropagationFlags::REC);

#[test]
fn the_line_of_the_seed_gets_a_fresh_proc() {
    let plan = planned(&["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "/bin/bash"]);
    assert_eq!(plan.before, [Step::Unshare(vec![Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Net, Kind::Pid])]);
    assert_eq!(plan.fork, Fork::Asked);
    assert_eq!(plan.inside, [Step::Propagate(PRIVATE), Step::MountProcIfPossible("/proc".into())]);
    assert_eq!(plan.program, ["/bin/bash"]);
}

#[test]
fn a_pid_namespace_implies_a_fork_unless_refused() {
    assert_eq!(planned(&["--pid", "sh"]).fork, Fork::Implied);
    assert_eq!(planned(&["--pid", "--no-fork", "sh"]).fork, Fork::No);
    assert_eq!(planned(&["--uts", "sh"]).fork, Fork::No);
    assert_eq!(planned(&["--uts", "--kill-child", "sh"]).kill_child, Some(Signal::KILL));
}

#[test]
fn proc_stays_when_only_one_of_pid_and_mount_is_new_or_when_refused() {
    for words in [&["-p"][..], &["-m"], &["-m", "-p", "--no-mount-proc"], &["-m", "-p", "--no-fork"]] {
        let has_proc = |step: &Step| matches!(step, Step::MountProc(_) | Step::MountProcIfPossible(_));
        assert!(!planned(words).inside.iter().any(has_proc), "{words:?}");
    }
}

#[test]
fn an_asked_for_proc_implies_a_mount_namespace_and_must_succeed() {
    let plan = planned(&["--mount-proc=/x", "-p", "-f"]);
    assert_eq!(plan.before, [Step::Unshare(vec![Kind::Mount, Kind::Pid])]);
    assert_eq!(plan.inside.last(), Some(&Step::MountProc("/x".into())));
}

#[test]
fn a_shared_proc_mount_is_made_private_first() {
    let plan = planned(&["-m", "-p", "--propagation", "unchanged"]);
    assert_eq!(plan.inside, [Step::PrivateMount("/proc".into()), Step::MountProcIfPossible("/proc".into())]);
}

#[test]
fn short_flags_cluster_as_getopt_has_them() {
    let plan = planned(&["-muinpf", "ls", "-l", "--fork"]);
    assert_eq!(plan.before, [Step::Unshare(vec![Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Net, Kind::Pid])]);
    assert_eq!(plan.program, ["ls", "-l", "--fork"]);
}

#[test]
fn map_root_user_denies_setgroups_between_the_maps() {
    let expected = [
        Step::Unshare(vec![Kind::User]),
        write("uid_map", "0 1000 1\n"),
        write("setgroups", "deny"),
        write("gid_map", "0 100 1\n"),
    ];
    assert_eq!(planned(&["-r"]).before, expected);
}

#[test]
fn map_current_user_maps_to_itself_and_names_are_found() {
    assert!(planned(&["-c"]).before.contains(&write("uid_map", "1000 1000 1\n")));
    let plan = planned(&["--map-user=root", "--map-group=staff"]);
    assert!(plan.before.contains(&write("uid_map", "0 1000 1\n")));
    assert!(plan.before.contains(&write("gid_map", "50 100 1\n")));
    assert_eq!(refused(&["--map-user=ghost"]), "no user `ghost` in the passwd file");
}

#[test]
fn map_auto_takes_the_subordinate_ids_around_the_callers_own() {
    let plan = planned(&["--map-auto", "--map-root-user"]);
    assert_eq!(plan.before, [Step::Unshare(vec![Kind::User]), Step::MapFromOutside]);
    let range = |inner, outer, count| Range { inner, outer, count };
    assert_eq!(plan.outside.users, [range(0, 1000, 1), range(1, 100_000, 65_535)]);
    assert_eq!(plan.outside.groups, [range(0, 100, 1), range(1, 200_000, 65_535)]);
}

#[test]
fn map_auto_without_a_range_names_the_file() {
    let caller = Caller { subuid: Vec::new(), ..caller() };
    let error = plan(parsed(&["--map-auto"]), &caller).unwrap_err();
    assert_eq!(error.sentence(), "/etc/subuid has no range for `ann`");
}

#[test]
fn offsets_are_written_before_the_first_child_and_need_a_time_namespace() {
    let plan = planned(&["-T", "--monotonic", "-5", "--boottime", "100", "-f", "sh"]);
    let expected = [write("timens_offsets", "monotonic -5 0\n"), write("timens_offsets", "boottime 100 0\n")];
    assert_eq!(plan.before[1..], expected);
    assert_eq!(
        refused(&["--monotonic", "5"]),
        "`--monotonic` and `--boottime` need a time namespace of their own"
    );
}

#[test]
fn a_new_root_is_also_the_working_directory_unless_another_is_named() {
    assert_eq!(planned(&["-R", "/r"]).inside, [Step::Root("/r".into()), Step::WorkingDirectory("/".into())]);
    assert_eq!(
        planned(&["-R", "/r", "-w", "/w"]).inside,
        [Step::Root("/r".into()), Step::WorkingDirectory("/w".into())]
    );
}

#[test]
fn the_group_changes_before_the_user_loses_the_right_to() {
    let plan = planned(&["-U", "-S", "5", "-G", "6", "--keep-caps"]);
    assert_eq!(plan.inside, [Step::Group(6), Step::User(5), Step::KeepCapabilities]);
}

#[test]
fn words_that_are_not_known_are_named() {
    assert_eq!(refused(&["--propagation", "foo"]), "unknown propagation `foo`");
    assert_eq!(refused(&["-U", "--setgroups", "x"]), "`--setgroups` is `allow` or `deny`, not `x`");
    assert_eq!(refused(&["--kill-child=FOO"]), "unknown signal `FOO` for `--kill-child`");
    assert_eq!(refused(&["--setgroups", "deny"]), "`--setgroups` needs a user namespace of its own");
    assert_eq!(
        refused(&["-r", "--setgroups", "allow"]),
        "`--setgroups=allow` can't be had together with a mapped group"
    );
}

#[test]
fn kept_namespaces_are_those_with_a_file() {
    let plan = planned(&["--uts=/a", "--net", "--mount=/b"]);
    assert_eq!(plan.persistent, [(Kind::Mount, "/b".into()), (Kind::Uts, "/a".into())]);
}
