use super::*;

#[test]
fn sizes_are_go_units() {
    for (text, size) in [
        ("0", 0),
        ("1048576", 1 << 20),
        ("10m", 10 << 20),
        ("10M", 10 << 20),
        ("10mb", 10 << 20),
        ("10MiB", 10 << 20),
        ("10 mb", 10 << 20),
        ("1.5g", 3 << 29),
        ("32b", 32),
        ("2k", 2048),
        ("1t", 1 << 40),
        ("0.5p", 1 << 49),
    ] {
        assert_eq!(bytes(text), Ok(size), "{text}");
    }
    for text in
        ["", "m", "10q", "-1", "1e3", "1.5.5g", ".5g", "5.", "10mm", "10 m b", "10i", "10ib", "0x10", "ä"]
    {
        assert_eq!(bytes(text), Err(ValueError::Size), "{text}");
    }
    assert_eq!(bytes("99999999999p"), Err(ValueError::TooLarge));
}

#[test]
fn cpus_are_decimals() {
    for (text, nanos) in [("0.5", 500_000_000), ("2", 2_000_000_000), (".5", 500_000_000), ("0.000000001", 1)]
    {
        assert_eq!(cpus(text), Ok(nanos), "{text}");
    }
    for text in ["", "half", "-1", "0.0000000001", "1,5", "1.5.5", "."] {
        assert_eq!(cpus(text), Err(ValueError::Cpus), "{text}");
    }
}

#[test]
fn limits_have_words_for_none() {
    assert_eq!(pids("50"), Ok(PidsLimit::Processes(50)));
    assert_eq!((pids("-1"), pids("0")), (Ok(PidsLimit::Unlimited), Ok(PidsLimit::Unlimited)));
    assert_eq!((pids("-2"), pids("x")), (Err(ValueError::Processes), Err(ValueError::Processes)));
    assert_eq!((swap("-1"), swap("1k")), (Ok(Swap::Unlimited), Ok(Swap::Bytes(1024))));
    assert_eq!(swap("-2"), Err(ValueError::Size));
    assert_eq!(
        (swappiness("-1"), swappiness("60"), swappiness("-2")),
        (Ok(-1), Ok(60), Err(ValueError::Number))
    );
}

#[test]
fn offsets_are_seconds_or_durations() {
    for (text, seconds, nanoseconds) in [
        ("90", 90, 0),
        ("-3600", -3600, 0),
        ("1h30m", 5400, 0),
        ("-1.5s", -2, 500_000_000),
        ("1.5", 1, 500_000_000),
        ("1d", 86_400, 0),
        ("250ms", 0, 250_000_000),
    ] {
        assert_eq!(offset(text), Ok(ClockOffset { seconds, nanoseconds }), "{text}");
    }
    for text in ["", "-", "1x", "h", "1h2", "1 h", "--1"] {
        assert_eq!(offset(text), Err(ValueError::Duration), "{text}");
    }
}

#[test]
fn labels_may_be_names_alone_and_sysctls_not() {
    let owned = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
    assert_eq!(label("a=b=c"), owned("a", "b=c"));
    assert_eq!(label("a"), owned("a", ""));
    assert_eq!((label(""), label("=x")), (Err(ValueError::Pair), Err(ValueError::Pair)));
    assert_eq!(pair("a="), owned("a", ""));
    assert_eq!(pair("a"), Err(ValueError::Pair));
}

#[test]
fn ulimits_have_two_limits() {
    let limit = |soft, hard| Ok(Ulimit { name: "nofile".to_owned(), soft, hard });
    assert_eq!(ulimit("nofile=10:20"), limit(Some(10), Some(20)));
    assert_eq!(ulimit("nofile=10"), limit(Some(10), Some(10)));
    assert_eq!(ulimit("nofile=-1:unlimited"), limit(None, None));
    for text in ["nofile", "nofile=", "nofile=a", "nofile=1:2:3", "nofile=-2", "nofile=1m"] {
        assert_eq!(ulimit(text), Err(ValueError::Ulimit), "{text}");
    }
}

#[test]
fn device_limits_have_a_path_and_a_number() {
    let rate = |rate| Ok(DeviceRate { device: "/dev/sda".into(), rate });
    assert_eq!(byte_rate("/dev/sda:10mb"), rate(10 << 20));
    assert_eq!(operation_rate("/dev/sda:10"), rate(10));
    assert_eq!(byte_rate("/dev/sda:x"), Err(ValueError::Size));
    assert_eq!(operation_rate("/dev/sda:10mb"), Err(ValueError::Number));
    for text in ["", "/dev/sda", "sda:10", "/dev/sda:"] {
        assert!(matches!(byte_rate(text), Err(ValueError::DeviceLimit(_))), "{text}");
        assert!(matches!(device_weight(text), Err(ValueError::DeviceLimit(_))), "{text}");
    }
    assert_eq!(device_weight("/dev/sda:500"), Ok(DeviceWeight { device: "/dev/sda".into(), weight: 500 }));
}

#[test]
fn devices_have_up_to_three_parts() {
    let node = |source: &str, target: &str, access: &str| {
        Ok(DeviceNode { source: source.into(), target: target.to_owned(), access: access.to_owned() })
    };
    assert_eq!(device("/dev/a"), node("/dev/a", "/dev/a", "rwm"));
    assert_eq!(device("/dev/a:/dev/b"), node("/dev/a", "/dev/b", "rwm"));
    assert_eq!(device("/dev/a:r"), node("/dev/a", "/dev/a", "r"));
    assert_eq!(device("/dev/a:/dev/b:rw"), node("/dev/a", "/dev/b", "rw"));
    for text in ["", "dev/a", "/dev/a:x", "/dev/a:b:r", "/dev/a:/b:", "/dev/a:/b:r:w"] {
        assert_eq!(device(text), Err(ValueError::Device), "{text}");
    }
    assert_eq!(device("nvidia.com/gpu=all"), Err(ValueError::DeviceInterface));
}

#[test]
fn device_rules_are_dockers() {
    let rule =
        |kind, major, minor, access: &str| Ok(DeviceRule { kind, major, minor, access: access.to_owned() });
    assert_eq!(device_rule("c 189:* rmw"), rule('c', Some(189), None, "rmw"));
    assert_eq!(device_rule("a *:* r"), rule('a', None, None, "r"));
    for text in ["", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 x", "c 1:3 rwmr", "cc 1:3 r", "c a:3 r", "c 1:3 r w"]
    {
        assert_eq!(device_rule(text), Err(ValueError::DeviceRule), "{text}");
    }
}

#[test]
fn classes_are_numbers_or_handles() {
    assert_eq!(
        (net_class("0x100001"), net_class("1048577"), net_class("10:1")),
        (Ok(0x10_0001), Ok(0x10_0001), Ok(0x10_0001))
    );
    for text in ["", "x", "10:", "10000:1", "1:10000", "-1", "0x"] {
        assert_eq!(net_class(text), Err(ValueError::NetClass), "{text}");
    }
    assert_eq!(net_priority("lo:5"), Ok(InterfacePriority { interface: "lo".to_owned(), priority: 5 }));
    assert_eq!(
        (net_priority("lo"), net_priority(":5")),
        (Err(ValueError::NetPriority), Err(ValueError::NetPriority))
    );
}

#[test]
fn namespaces_are_words_or_paths() {
    assert_eq!(
        (sharing("host", "pid"), sharing("private", "pid")),
        (Ok(Sharing::Host), Ok(Sharing::Private))
    );
    assert_eq!(sharing("ns:/proc/1/ns/pid", "pid"), Ok(Sharing::Path("/proc/1/ns/pid".into())));
    assert_eq!(sharing("ns:x", "pid"), Err(ValueError::RelativeNamespace));
    assert_eq!(sharing("container:a", "pid"), Err(ValueError::JoinContainer("pid")));
    assert!(matches!(sharing("hots", "pid"), Err(ValueError::Sharing(_))));
    assert_eq!((network("none"), network("bridge")), (Ok(Sharing::Private), Err(ValueError::NoNetworks)));
    assert_eq!(network("container:a"), Err(ValueError::JoinContainer("net")));
    assert_eq!((ipc("none"), ipc("host")), (Ok(IpcMode::None), Ok(IpcMode::Host)));
    assert!(matches!(ipc("pod"), Err(ValueError::Sharing(_))));
}

#[test]
fn capabilities_are_names_or_all() {
    assert_eq!(capability("all"), Ok(CapabilityWish::All));
    assert_eq!(capability("NET_ADMIN"), Ok(CapabilityWish::Named("NET_ADMIN".to_owned())));
}
