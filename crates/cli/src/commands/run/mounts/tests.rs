use super::*;

fn bound(text: &str) -> Result<BindMount, MountError> {
    match volume(text, Path::new("/here"))? {
        MountRequest::Bind(mount) => Ok(mount),
        MountRequest::Tmpfs(_) => unreachable!("-v makes no tmpfs"),
    }
}

fn mounted(text: &str) -> Result<MountRequest, MountError> {
    mount(text, Path::new("/here"))
}

fn tmpfs_at(target: &str, options: &[&str]) -> MountRequest {
    let options = options.iter().map(|&option| option.to_owned()).collect();
    MountRequest::Tmpfs(TmpfsMount { target: target.to_owned(), options })
}

#[test]
fn volumes_have_source_target_and_options() {
    assert_eq!(bound("/a:/b"), Ok(bind("/a".into(), "/b")));
    assert_eq!(bound("/a:/b:ro").unwrap().access, Access::ReadOnly);
    let all = bound("/a:/b:rw,z,rslave,idmap=7:8").unwrap();
    assert_eq!(
        (all.propagation, all.idmap),
        (Some(Propagation::Rslave), Some(IdMapWish::Ids { uid: 7, gid: 8 }))
    );
    assert_eq!(bound("/a:/b:idmap").unwrap().idmap, Some(IdMapWish::ProcessUser));
    assert_eq!(bound("./a:/b").unwrap().source, PathBuf::from("/here/./a"));
    assert_eq!(bound("..:/b").unwrap().source, PathBuf::from("/here/.."));
}

#[test]
fn wrong_volumes_are_named() {
    for text in ["", "a", ":/b", "/a:", "/a:b", "/a::ro"] {
        assert_eq!(bound(text), Err(MountError::Volume), "{text:?}");
    }
    for text in ["data:/b", "/anonymous", ".hidden:/b"] {
        assert_eq!(bound(text), Err(MountError::Named), "{text:?}");
    }
    assert_eq!(bound("/a:/b:bogus"), Err(MountError::Option("bogus".to_owned())));
    assert_eq!(bound("/a:/b:ro,rw"), Err(MountError::Conflict("ro", "rw")));
    assert_eq!(bound("/a:/b:nocopy"), Err(MountError::VolumeOption("nocopy")));
    assert!(matches!(bound("/a:/b:O"), Err(MountError::Later { .. })));
    assert!(matches!(bound("/a:/b:idmap=x"), Err(MountError::FieldMeaning { .. })));
}

#[test]
fn tmpfs_sizes_become_bytes() {
    assert_eq!(tmpfs("/t"), Ok(tmpfs_at("/t", &[])));
    assert_eq!(tmpfs("/t:rw,size=64m,mode=700"), Ok(tmpfs_at("/t", &["rw", "size=67108864", "mode=700"])));
    assert_eq!(tmpfs("/t:size=50%"), Ok(tmpfs_at("/t", &["size=50%"])));
    assert_eq!(tmpfs("t"), Err(MountError::Tmpfs));
    assert_eq!(tmpfs("/t:size=x"), Err(MountError::Value(ValueError::Size)));
}

#[test]
fn bind_fields_are_dockers() {
    let text = "type=bind,source=/a,target=/b,readonly,bind-propagation=shared,bind-recursive=writable,idmap";
    assert_eq!(
        mounted(text),
        Ok(MountRequest::Bind(BindMount {
            source: "/a".into(),
            target: "/b".to_owned(),
            access: Access::ReadOnly,
            recursion: Recursion::Writable,
            propagation: Some(Propagation::Shared),
            idmap: Some(IdMapWish::ProcessUser),
        }))
    );
    let MountRequest::Bind(relative) = mounted("type=bind,src=a,dst=/b,ro=false,bind-nonrecursive").unwrap()
    else {
        unreachable!("the type is bind")
    };
    assert_eq!(relative.source, PathBuf::from("/here/a"));
    assert_eq!((relative.access, relative.recursion), (Access::ReadWrite, Recursion::Disabled));
}

#[test]
fn quotes_hold_commas() {
    let MountRequest::Bind(quoted) = mounted(r#"type=bind,"source=/a,b ""c""",target=/t"#).unwrap() else {
        unreachable!("the type is bind")
    };
    assert_eq!(quoted.source, PathBuf::from(r#"/a,b "c""#));
    assert_eq!(mounted(r#"type=bind,"source=/a"#), Err(MountError::Quote));
}

#[test]
fn tmpfs_fields_are_dockers() {
    assert_eq!(
        mounted("type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=0700,readonly=true"),
        Ok(tmpfs_at("/t", &["size=1048576", "mode=700", "ro"]))
    );
}

#[test]
fn wrong_fields_are_named() {
    let of_other = |field: &str, kind: &str| {
        Err(MountError::FieldOfOther { field: field.to_owned(), kind: kind.to_owned() })
    };
    assert_eq!(mounted("type=bind,target=/b"), Err(MountError::Missing("source")));
    assert_eq!(mounted("type=bind,source=/b"), Err(MountError::Missing("target")));
    assert_eq!(mounted("type=tmpfs"), Err(MountError::Missing("target")));
    assert_eq!(mounted("type=bind,source=,target=/b"), Err(MountError::FieldValue("source".to_owned())));
    assert_eq!(mounted("type=tmpfs,target=/t,source=/a"), of_other("source", "tmpfs"));
    assert_eq!(mounted("type=bind,source=/a,target=/b,tmpfs-size=1"), of_other("tmpfs-size", "bind"));
    assert_eq!(mounted("type=bind,bogus=1"), Err(MountError::Field("bogus".to_owned())));
    for text in ["source=v,target=/t", "type=volume,target=/t", "type=npipe"] {
        assert!(matches!(mounted(text), Err(MountError::Kind(_))), "{text}");
    }
    for text in [
        "type=bind,bind-propagation=x",
        "type=bind,ro=maybe",
        "type=bind,bind-recursive=no",
        "type=tmpfs,tmpfs-mode=9",
    ] {
        assert!(matches!(mounted(text), Err(MountError::FieldMeaning { .. })), "{text}");
    }
}

#[test]
fn rro_is_read_only_all_the_way_down() {
    let MountRequest::Bind(mount) = volume("/srv:/data:rro", Path::new("/here")).unwrap() else { panic!() };
    assert_eq!((mount.access, mount.recursion), (Access::ReadOnly, Recursion::ReadOnly));
    assert_eq!(volume("/srv:/data:rw,rro", Path::new("/")), Err(MountError::Conflict("rro", "rw")));
    assert_eq!(volume("/srv:/data:rro,rw", Path::new("/")), Err(MountError::Conflict("ro", "rw")));
}

#[test]
fn what_is_no_field_is_said_before_what_is_no_type() {
    let here = Path::new("/");
    assert_eq!(mount("foo", here), Err(MountError::Field("foo".to_owned())));
    assert_eq!(mount("target=/x,ro", here), Err(MountError::Kind("volume".to_owned())));
    assert_eq!(mount("src=v,dst=/x,volume-nocopy", here), Err(MountError::Kind("volume".to_owned())));
    assert_eq!(tmpfs("data"), Err(MountError::Tmpfs));
}
