use super::*;
use crate::facts::HostFacts;
use crate::request::Sharing;

fn built_spec(request: &RunRequest) -> Result<Built, RequestError> {
    let mut image = Config::default();
    image.set_cmd(Some(vec!["sh".to_owned()]));
    let identity = Identity { uid: 0, gid: 0, groups: vec![0], home: "/root".to_owned() };
    let place = Place { id: "0123456789abcdef".repeat(4), directory: "/c".into() };
    let host = HostFacts::default();
    let hidden = Hidden::default();
    build(&Inputs {
        request,
        image: &image,
        hidden: &hidden,
        identity: &identity,
        host: &host,
        place: &place,
    })
}

fn json(request: &RunRequest) -> serde_json::Value {
    serde_json::to_value(built_spec(request).unwrap().spec).unwrap()
}

#[test]
fn the_default_is_a_whole_document() {
    let json = json(&RunRequest::default());
    assert_eq!(json["ociVersion"], "1.2.0");
    assert_eq!(json["root"], serde_json::json!({"path": "rootfs", "readonly": false}));
    assert_eq!(json["hostname"], "0123456789ab");
    assert_eq!(json["process"]["args"], serde_json::json!(["sh"]));
    assert_eq!(json["linux"]["cgroupsPath"], "/skiff-0123456789ab");
    assert_eq!(json["linux"]["devices"], serde_json::json!([]));
    assert_eq!(json["linux"]["resources"]["devices"][0]["allow"], false);
    assert!(json["linux"]["seccomp"]["syscalls"].is_array());
    for absent in ["annotations", "domainname", "hooks"] {
        assert!(json.get(absent).is_none(), "{absent}");
    }
    for absent in ["uidMappings", "gidMappings", "timeOffsets", "rootfsPropagation"] {
        assert!(json["linux"].get(absent).is_none(), "{absent}");
    }
}

#[test]
fn the_document_survives_its_own_text() {
    let mut request = RunRequest::default();
    request.security.strict = true;
    let spec = built_spec(&request).unwrap().spec;
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
}

#[test]
fn a_request_survives_its_own_text() {
    let mut request = RunRequest { image: "host".to_owned(), ..RunRequest::default() };
    request.namespaces.net = Sharing::Path("/run/netns/x".into());
    request.security.cap_add = vec![crate::request::CapabilityWish::All];
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<RunRequest>(&text).unwrap(), request);
    assert_eq!(serde_json::from_str::<RunRequest>("{}").unwrap(), RunRequest::default());
}

#[test]
fn annotations_reach_the_document_and_labels_do_not() {
    let request = RunRequest {
        annotations: [("a".to_owned(), "1".to_owned())].into(),
        labels: [("l".to_owned(), "2".to_owned())].into(),
        ..RunRequest::default()
    };
    assert_eq!(json(&request)["annotations"], serde_json::json!({"a": "1"}));
}

#[test]
fn names_are_set_in_a_uts_namespace_of_ones_own() {
    let request = RunRequest {
        hostname: Some("web".to_owned()),
        domainname: Some("example.org".to_owned()),
        ..RunRequest::default()
    };
    let named = json(&request);
    assert_eq!(
        (named["hostname"].as_str(), named["domainname"].as_str()),
        (Some("web"), Some("example.org"))
    );
    let mut shared = RunRequest::default();
    shared.namespaces.uts = Sharing::Host;
    assert!(json(&shared).get("hostname").is_none());
}

#[test]
fn strict_turns_every_safeguard_on() {
    let mut request = RunRequest::default();
    request.security.strict = true;
    let json = json(&request);
    assert_eq!(json["root"]["readonly"], true);
    assert_eq!(json["process"]["noNewPrivileges"], true);
    assert_eq!(json["process"]["capabilities"]["bounding"].as_array().map(Vec::len), Some(8));
    assert_eq!(json["linux"]["uidMappings"][0]["size"], 65_536);
    assert_eq!(json["linux"]["namespaces"][0]["type"], "user");
}

#[test]
fn privileged_takes_every_safeguard_away() {
    let mut request = RunRequest::default();
    request.security.privileged = true;
    let json = json(&request);
    assert!(json["linux"].get("seccomp").is_none());
    assert_eq!(json["linux"]["maskedPaths"], serde_json::json!([]));
    assert_eq!(json["process"]["capabilities"]["effective"].as_array().map(Vec::len), Some(41));
    assert_eq!(json["linux"]["resources"]["devices"].as_array().map(Vec::len), Some(1));
    request.namespaces.user = Some(Sharing::Private);
    assert!(matches!(built_spec(&request), Err(RequestError::PrivilegedUserNamespace)));
    request.namespaces.user = None;
    request.security.strict = true;
    assert!(matches!(built_spec(&request), Err(RequestError::PrivilegedStrict)));
}
