use super::*;
use clap::FromArgMatches as _;
use skiff_engine::request::{CapabilityWish, IpcMode, PidsLimit, Swap};
use std::ffi::OsString;

/// The request of `skiff run` followed by the words of `line`.
fn meant(line: &str) -> Result<RunRequest, CliError> {
    meant_by(&line.split_whitespace().collect::<Vec<_>>())
}

fn meant_by(words: &[&str]) -> Result<RunRequest, CliError> {
    let command = crate::arguments::with_help(<Args as clap::Args>::augment_args(clap::Command::new("run")));
    let words = std::iter::once("run").chain(words.iter().copied()).map(OsString::from);
    let matches = command.try_get_matches_from(words)?;
    let surroundings = Surroundings {
        variable: &|name| (name == "CALLER").then(|| "here".to_owned()),
        directory: PathBuf::from("/here"),
        read: &|path| match path.to_str() {
            Some("vars") => Ok(b"A=file\nB=file\nCALLER\n".to_vec()),
            Some("profile") => Ok(b"{}".to_vec()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        },
    };
    request(Args::from_arg_matches(&matches)?, &surroundings)
}

#[test]
fn nothing_but_an_image_is_the_default() {
    let request = meant("host").unwrap();
    assert_eq!(request, RunRequest { image: "host".to_owned(), ..RunRequest::default() });
}

#[test]
fn flags_after_the_image_belong_to_the_command() {
    let request = meant("--rm -it host ls --rm -la -- --name x").unwrap();
    assert_eq!((request.remove, request.interactive, request.terminal), (true, true, true));
    assert_eq!(request.command, ["ls", "--rm", "-la", "--", "--name", "x"]);
    assert_eq!(request.name, None);
}

#[test]
fn the_seeds_lines_mean_what_they_say() {
    let cpus = meant("--rm -it --cpus=0.5 ubuntu bash").unwrap().resources.cpu;
    assert_eq!(cpus.nanos, Some(500_000_000));
    assert_eq!(meant("--rm -it --cpu-shares=512 ubuntu bash").unwrap().resources.cpu.shares, Some(512));
    let cpu = meant("--rm -it --cpu-quota=50000 --cpu-period=100000 ubuntu bash").unwrap().resources.cpu;
    assert_eq!((cpu.quota, cpu.period), (Some(50_000), Some(100_000)));
    assert_eq!(
        meant("--rm -it --pids-limit=50 ubuntu bash").unwrap().resources.pids,
        PidsLimit::Processes(50)
    );
    assert_eq!(meant("-it --pid=host ubuntu bash").unwrap().namespaces.pid, Sharing::Host);
}

#[test]
fn switches_take_go_booleans() {
    let request = meant("--rm=0 --init=T --read-only -i=true host").unwrap();
    assert_eq!(
        (request.remove, request.init, request.read_only, request.interactive),
        (false, true, true, true)
    );
    let request = meant("--rm --rm=false host").unwrap();
    assert!(!request.remove);
}

#[test]
fn negative_values_are_values() {
    let request =
        meant("--memory 64m --memory-swap -1 --pids-limit -1 --oom-score-adj -500 --cpu-quota -1 host")
            .unwrap();
    assert_eq!(request.resources.memory.swap, Some(Swap::Unlimited));
    assert_eq!(request.resources.pids, PidsLimit::Unlimited);
    assert_eq!((request.oom_score_adj, request.resources.cpu.quota), (Some(-500), Some(-1)));
    let request = meant("--boottime -3600 host").unwrap();
    assert_eq!(request.namespaces.offsets.boottime.map(|offset| offset.seconds), Some(-3600));
    assert_eq!(request.namespaces.time, Sharing::Private);
}

#[test]
fn zero_is_no_limit() {
    let resources =
        meant("--cpus 0 --memory 0 --cpu-shares 0 --blkio-weight 0 --memory-swap 0 host").unwrap().resources;
    assert_eq!(resources, Resources::default());
    let swappiness = |line| meant(line).unwrap().resources.memory.swappiness;
    assert_eq!(swappiness("--memory-swappiness 0 host"), Some(0));
    assert_eq!(swappiness("--memory-swappiness -1 host"), None);
}

#[test]
fn variables_of_flags_come_after_those_of_files() {
    let request = meant("-e B=flag -e CALLER -e GONE --env-file vars host").unwrap();
    assert_eq!(request.environment, ["A=file", "B=file", "CALLER=here", "B=flag", "CALLER=here", "GONE"]);
    assert!(meant("--env-file nowhere host").is_err());
}

#[test]
fn short_and_hidden_spellings_work() {
    let request = meant("-h box -m 64m -c 5 -u 1:2 -w /w -l a=b -v /a:/b --net=host host").unwrap();
    assert_eq!((request.hostname.as_deref(), request.user.as_deref()), (Some("box"), Some("1:2")));
    assert_eq!((request.resources.memory.limit, request.resources.cpu.shares), (Some(64 << 20), Some(5)));
    assert_eq!((request.workdir.as_deref(), request.labels["a"].as_str()), (Some("/w"), "b"));
    assert_eq!((request.mounts.len(), request.namespaces.net), (1, Sharing::Host));
}

#[test]
fn mount_is_a_mount_or_a_namespace() {
    let request = meant("--mount=ns:/proc/1/ns/mnt host").unwrap();
    assert_eq!((request.namespaces.mount, request.mounts.len()), (Sharing::Path("/proc/1/ns/mnt".into()), 0));
    let request = meant("--mount type=tmpfs,target=/t --tmpfs /u:size=1m host").unwrap();
    let targets: Vec<&str> = request.mounts.iter().map(MountRequest::target).collect();
    assert_eq!((targets, request.namespaces.mount), (vec!["/t", "/u"], Sharing::Private));
    assert!(meant("--mount=container:x host").is_err());
}

#[test]
fn security_options_are_dockers_and_strict() {
    let line = "--security-opt no-new-privileges --security-opt seccomp=unconfined --security-opt systempaths=unconfined \
                --cap-add ALL --cap-drop net_raw,CHOWN --security-opt label:disable --security-opt apparmor=unconfined host";
    let security = meant(line).unwrap().security;
    assert!(security.no_new_privileges && !security.strict);
    assert_eq!(security.seccomp, SeccompChoice::Unconfined);
    assert_eq!(security.system_paths, SystemPaths::Unconfined);
    assert_eq!((security.cap_add, security.cap_drop.len()), (vec![CapabilityWish::All], 2));
    assert_eq!(
        (security.labels, security.apparmor.as_deref()),
        (vec!["disable".to_owned()], Some("unconfined"))
    );
    assert!(meant("--security-opt strict host").unwrap().security.strict);
    let profile = meant("--security-opt seccomp=profile host").unwrap().security.seccomp;
    assert_eq!(profile, SeccompChoice::Profile("{}".to_owned()));
    for wrong in
        ["bogus", "strict=maybe", "no-new-privileges=perhaps", "seccomp=", "seccomp=nowhere", "systempaths=x"]
    {
        assert!(meant_by(&["--security-opt", wrong, "host"]).is_err(), "{wrong}");
    }
}

#[test]
fn namespaces_have_flags() {
    let line = "--ipc none --uts host --userns private --cgroupns host --network ns:/n --time private host";
    let namespaces = meant(line).unwrap().namespaces;
    assert_eq!((namespaces.ipc, namespaces.uts), (IpcMode::None, Sharing::Host));
    assert_eq!((namespaces.user, namespaces.cgroup), (Some(Sharing::Private), Sharing::Host));
    assert_eq!((namespaces.net, namespaces.time), (Sharing::Path("/n".into()), Sharing::Private));
}

#[test]
fn wrong_units_and_unknown_flags_are_refused() {
    for line in [
        "--memory 64q host",
        "--cpus half host",
        "--bogus host",
        "--rm",
        "-d host",
        "--network bridge host",
        "--rm=maybe host",
    ] {
        assert!(meant(line).is_err(), "{line}");
    }
}

#[test]
fn every_flag_has_one_line_of_help() {
    let command = crate::arguments::with_help(<Args as clap::Args>::augment_args(clap::Command::new("run")));
    for argument in
        command.get_arguments().filter(|argument| !argument.is_hide_set() && !argument.is_positional())
    {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            !help.is_empty() && !help.contains('\n') && help.len() < 100,
            "{}: {help:?}",
            argument.get_id()
        );
    }
    let text = command.get_about().map(ToString::to_string).unwrap_or_default();
    assert!(text.contains("no networks yet"), "{text}");
}

#[test]
fn empty_words_and_zeros_mean_not_given() {
    let request =
        meant_by(&["--name", "", "-w", "", "-h", "", "--domainname=", "--shm-size", "0", "host"]).unwrap();
    assert_eq!(request, RunRequest { image: "host".to_owned(), ..RunRequest::default() });
}

#[test]
fn a_variable_has_a_name() {
    let error = meant_by(&["-e", "", "host"]).unwrap_err();
    assert_eq!(error.sentence(), "`--env`: the name of a variable is missing");
}

#[test]
fn a_name_alone_in_a_file_is_the_callers_variable_or_an_empty_label() {
    let request = meant("--env-file vars --label-file vars host").unwrap();
    assert_eq!(request.environment, ["A=file", "B=file", "CALLER=here"]);
    assert_eq!((request.labels["A"].as_str(), request.labels["CALLER"].as_str()), ("file", ""));
}
