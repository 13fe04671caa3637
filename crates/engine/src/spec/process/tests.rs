use super::*;
use crate::request::Sharing;
use crate::spec::{Hidden, Place};
use crate::user::Identity;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn image(entrypoint: &[&str], cmd: &[&str]) -> Config {
    let mut config = Config::default();
    config.set_entrypoint(Some(words(entrypoint))).set_cmd(Some(words(cmd)));
    config
}

fn built_on(
    request: &RunRequest,
    image: &Config,
    host: &HostFacts,
) -> Result<(Process, Vec<String>), RequestError> {
    let identity = Identity { uid: 0, gid: 0, groups: vec![0], home: "/root".to_owned() };
    let place = Place { id: "ab".repeat(32), directory: "/c".into() };
    let hidden = Hidden::default();
    let inputs = Inputs { request, image, hidden: &hidden, identity: &identity, host, place: &place };
    let mut warnings = Vec::new();
    Ok((process(&inputs, Capabilities::new(), &mut warnings)?, warnings))
}

fn built_process(request: &RunRequest) -> Result<Process, RequestError> {
    built_on(request, &image(&[], &["sh"]), &HostFacts::default()).map(|(process, _)| process)
}

fn environment_of(request: &RunRequest, image: &Config) -> (Vec<String>, Vec<String>) {
    let (process, warnings) = built_on(request, image, &HostFacts::default()).unwrap();
    (process.env().clone().unwrap(), warnings)
}

#[test]
fn entry_point_and_command_combine_as_dockers() {
    let program = |entrypoint: Option<&str>, command: &[&str]| {
        let request = RunRequest {
            entrypoint: entrypoint.map(str::to_owned),
            command: words(command),
            ..RunRequest::default()
        };
        program(&request, &image(&["tini", "--"], &["serve"])).ok()
    };
    assert_eq!(program(None, &[]), Some(words(&["tini", "--", "serve"])));
    assert_eq!(program(None, &["x"]), Some(words(&["tini", "--", "x"])));
    // An entry point of the user's takes the image's command away too.
    assert_eq!(program(Some("sh"), &[]), Some(words(&["sh"])));
    assert_eq!(program(Some("sh"), &["-c"]), Some(words(&["sh", "-c"])));
    assert_eq!(program(Some(""), &["ls"]), Some(words(&["ls"])));
    assert_eq!(program(Some(""), &[]), None);
}

#[test]
fn a_program_is_needed() {
    assert!(matches!(
        program(&RunRequest::default(), &Config::default()),
        Err(RequestError::NoCommand { .. })
    ));
    let request = RunRequest { command: words(&[""]), ..RunRequest::default() };
    assert!(matches!(program(&request, &Config::default()), Err(RequestError::EmptyCommand)));
    let request = RunRequest { command: words(&["a", "b\0"]), ..RunRequest::default() };
    assert!(matches!(program(&request, &Config::default()), Err(RequestError::NulInCommand)));
}

#[test]
fn the_environment_has_a_default() {
    let (environment, _) = environment_of(&RunRequest::default(), &image(&[], &["sh"]));
    assert_eq!(environment, [&format!("PATH={PATH}"), "HOSTNAME=abababababab", "HOME=/root"]);
    let request = RunRequest { terminal: true, hostname: Some("box".to_owned()), ..RunRequest::default() };
    let (environment, _) = environment_of(&request, &image(&[], &["sh"]));
    assert_eq!(environment[1..], ["HOSTNAME=box", "TERM=xterm", "HOME=/root"]);
}

#[test]
fn users_variables_win_and_a_bare_name_removes() {
    let mut config = image(&[], &["sh"]);
    config.set_env(Some(words(&["PATH=/bin", "A=image", "B=image", "HOME=/image"])));
    let request =
        RunRequest { environment: words(&["A=user", "B", "C=x=y", "HOME="]), ..RunRequest::default() };
    let (environment, warnings) = environment_of(&request, &config);
    assert_eq!(environment, ["PATH=/bin", "HOSTNAME=abababababab", "A=user", "HOME=/root", "C=x=y"]);
    assert!(warnings.is_empty());
}

#[test]
fn r23_an_images_bare_variable_is_dropped_with_a_warning() {
    let mut config = image(&[], &["sh"]);
    config.set_env(Some(words(&["SECRET", "=x", "GOOD=1"])));
    let (environment, warnings) = environment_of(&RunRequest::default(), &config);
    assert!(environment.contains(&"GOOD=1".to_owned()));
    assert_eq!(environment.iter().filter(|entry| entry.contains("SECRET")).count(), 0);
    assert_eq!(warnings.len(), 2);
}

#[test]
fn variables_that_cannot_be_are_refused() {
    for entry in ["=x", "A=\0", "A\0"] {
        let request = RunRequest { environment: words(&[entry]), ..RunRequest::default() };
        assert!(matches!(built_process(&request), Err(RequestError::Variable { .. })), "{entry:?}");
    }
}

#[test]
fn the_working_directory_is_the_users_or_the_images() {
    let mut config = image(&[], &["sh"]);
    config.set_working_dir(Some("srv/app".to_owned()));
    let request = RunRequest::default();
    let (process, _) = built_on(&request, &config, &HostFacts::default()).unwrap();
    assert_eq!(process.cwd().to_str(), Some("/srv/app"));
    let request = RunRequest { workdir: Some("/w".to_owned()), ..RunRequest::default() };
    assert_eq!(built_process(&request).unwrap().cwd().to_str(), Some("/w"));
    let request = RunRequest { workdir: Some("w".to_owned()), ..RunRequest::default() };
    assert!(matches!(built_process(&request), Err(RequestError::Workdir { .. })));
    assert_eq!(built_process(&RunRequest::default()).unwrap().cwd().to_str(), Some("/"));
}

#[test]
fn the_hosts_name_is_seen_where_names_are_shared() {
    let host = HostFacts { hostname: "metal".to_owned(), ..HostFacts::default() };
    let mut request = RunRequest::default();
    request.namespaces.net = Sharing::Host;
    let (process, _) = built_on(&request, &image(&[], &["sh"]), &host).unwrap();
    assert!(process.env().clone().unwrap().contains(&"HOSTNAME=metal".to_owned()));
}

fn with_ulimit(name: &str, soft: Option<u64>, hard: Option<u64>) -> RunRequest {
    let mut request = RunRequest::default();
    request.resources.ulimits.push(Ulimit { name: name.to_owned(), soft, hard });
    request
}

#[test]
fn ulimits_become_rlimits() {
    let mut request = with_ulimit("nofile", Some(10), Some(20));
    request.resources.ulimits.push(Ulimit { name: "core".to_owned(), soft: None, hard: None });
    request.resources.ulimits.push(Ulimit { name: "nofile".to_owned(), soft: Some(1), hard: Some(2) });
    let limits = built_process(&request).unwrap().rlimits().clone().unwrap();
    let shown: Vec<_> =
        limits.iter().map(|limit| (limit.typ().to_string(), limit.soft(), limit.hard())).collect();
    assert_eq!(shown, [("RLIMIT_CORE".to_owned(), u64::MAX, u64::MAX), ("RLIMIT_NOFILE".to_owned(), 1, 2)]);
    assert_eq!(built_process(&RunRequest::default()).unwrap().rlimits(), &None);
}

#[test]
fn r15_ulimits_that_cannot_hold_are_refused() {
    assert!(matches!(
        built_process(&with_ulimit("bogus", None, None)),
        Err(RequestError::UnknownUlimit { .. })
    ));
    assert!(matches!(
        built_process(&with_ulimit("nofile", None, Some(1))),
        Err(RequestError::UlimitSoftAboveHard { .. })
    ));
    let weak = HostFacts {
        can_raise_limits: false,
        hard_limits: [("nofile".to_owned(), Some(1000))].into(),
        ..HostFacts::default()
    };
    let image = image(&[], &["sh"]);
    let above = with_ulimit("nofile", Some(1), Some(1001));
    let refused = built_on(&above, &image, &weak).unwrap_err();
    assert_eq!(refused, RequestError::UlimitAboveHard { name: "nofile".to_owned(), ceiling: 1000 });
    let strong = HostFacts { can_raise_limits: true, ..weak.clone() };
    assert!(built_on(&above, &image, &strong).is_ok());
    assert!(built_on(&with_ulimit("nofile", Some(1), Some(1000)), &image, &weak).is_ok());
}

#[test]
fn oom_scores_can_be_lowered_only_with_the_capability() {
    let asking = |score| RunRequest { oom_score_adj: Some(score), ..RunRequest::default() };
    let weak = HostFacts { can_raise_limits: false, ..HostFacts::default() };
    let image = image(&[], &["sh"]);
    assert_eq!(built_process(&RunRequest::default()).unwrap().oom_score_adj(), Some(0));
    assert_eq!(built_on(&asking(500), &image, &weak).unwrap().0.oom_score_adj(), Some(500));
    assert!(matches!(built_on(&asking(-1), &image, &weak), Err(RequestError::OomScoreLowered { .. })));
    assert_eq!(built_process(&asking(-1)).unwrap().oom_score_adj(), Some(-1));
    assert!(matches!(built_process(&asking(1001)), Err(RequestError::OomScoreRange { .. })));
}

#[test]
fn r14_labels_that_cannot_hold_are_refused() {
    let mut request = RunRequest::default();
    request.security.apparmor = Some("unconfined".to_owned());
    request.security.labels = vec!["disable".to_owned()];
    assert_eq!(built_process(&request).unwrap().apparmor_profile(), &None);
    request.security.apparmor = Some("mine".to_owned());
    assert!(matches!(built_process(&request), Err(RequestError::NoAppArmor)));
    let host = HostFacts { has_apparmor: true, ..HostFacts::default() };
    let (process, _) = built_on(&request, &image(&[], &["sh"]), &host).unwrap();
    assert_eq!(process.apparmor_profile().as_deref(), Some("mine"));
    request.security.labels = vec!["type:x".to_owned()];
    assert!(matches!(built_on(&request, &image(&[], &["sh"]), &host), Err(RequestError::NoSelinux)));
}

#[test]
fn privileges_are_gained_unless_forbidden() {
    let promised = |change: fn(&mut RunRequest)| {
        let mut request = RunRequest::default();
        change(&mut request);
        built_process(&request).unwrap().no_new_privileges()
    };
    assert_eq!(promised(|_| {}), Some(false));
    assert_eq!(promised(|request| request.security.no_new_privileges = true), Some(true));
    assert_eq!(promised(|request| request.security.strict = true), Some(true));
}

#[test]
fn stop_signals_are_real() {
    for signal in ["SIGTERM", "term", "9", "64", "RTMIN", "SIGRTMIN+3", "RTMAX-1"] {
        assert!(check_signal(signal).is_ok(), "{signal}");
    }
    for signal in ["", "SIG", "SIGKILL;rm", "0", "65", "RTMIN+99", "RTMIN3", "TERMS", "-9"] {
        assert!(matches!(check_signal(signal), Err(RequestError::UnknownSignal { .. })), "{signal:?}");
    }
}
