//! Tests of `users`.

use super::*;
use proptest::prelude::*;

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n# a comment\n\nbroken line\nweb:x:33:33::/var/www:/bin/sh\n\
    1000:x:7:7:a name of digits:/:/bin/sh\nbig:x:4294967295:0::/:\n\xff:x:9:9::/:\nnobody:x:65534:65534:n::\n";
const GROUP: &[u8] = b"root:x:0:\nweb:x:33:\nadm:x:4:web,log\nlog:x:20:web\nbig:x:99999999999:web\n";

fn identity(spec: &str) -> Result<Identity, UserError> {
    resolve(&spec.parse()?, PASSWD, GROUP)
}

#[test]
fn a_name_brings_its_group_home_and_additional_groups() {
    let web = identity("web").unwrap();
    assert_eq!((web.uid, web.gid, web.groups), (33, 33, vec![4, 20, 33]));
    assert_eq!((web.name.as_deref(), web.home.as_deref()), (Some("web"), Some("/var/www")));
}

#[test]
fn a_number_with_an_entry_is_that_user() {
    assert_eq!(identity("33"), identity("web"));
}

#[test]
fn a_number_without_an_entry_has_group_0() {
    let stranger = identity("1234").unwrap();
    assert_eq!((stranger.uid, stranger.gid, stranger.groups), (1234, 0, vec![0]));
    assert_eq!((stranger.name, stranger.home), (None, None));
}

#[test]
fn a_given_group_replaces_the_additional_ones() {
    assert_eq!(identity("web:adm").unwrap().groups, [4]);
    assert_eq!(identity("web:77").unwrap().gid, 77);
    assert_eq!(identity(":adm").unwrap().uid, 0);
    assert_eq!(identity(":adm").unwrap().gid, 4);
}

#[test]
fn nobody_given_is_root() {
    let root = identity("").unwrap();
    assert_eq!((root.uid, root.gid, root.home.as_deref()), (0, 0, Some("/root")));
    assert_eq!(resolve(&UserSpec::default(), b"", b"").unwrap().groups, [0]);
}

#[test]
fn r12_digits_are_never_a_name() {
    // The entry called "1000" has the number 7: asking for 1000 must not make 7 of it.
    assert_eq!(identity("1000").unwrap().uid, 1000);
}

#[test]
fn r12_numbers_out_of_range_are_errors_and_never_zero() {
    for text in ["2147483648", "4294967295", "4294967296", "99999999999999999999"] {
        assert_eq!(identity(text), Err(UserError::OutOfRange(text.to_owned())));
        assert!(identity(&format!("0:{text}")).is_err());
    }
    assert_eq!(identity("2147483647").unwrap().uid, ID_LIMIT);
    // An entry that has such a number is not an entry.
    assert_eq!(identity("big"), Err(UserError::NoUser("big".into())));
}

#[test]
fn signs_and_separators_are_not_names() {
    for text in ["-1", "+5", "a:b:c", "a b", "x/y", "a\n"] {
        assert!(matches!(identity(text), Err(UserError::Malformed(_))), "{text}");
    }
}

#[test]
fn names_without_an_entry_are_errors() {
    assert_eq!(identity("ghost"), Err(UserError::NoUser("ghost".into())));
    assert_eq!(identity("web:ghost"), Err(UserError::NoGroup("ghost".into())));
}

#[test]
fn r12_a_file_above_the_limit_is_refused() {
    let huge = vec![b'#'; FILE_LIMIT + 1];
    assert_eq!(resolve(&UserSpec::default(), &huge, b""), Err(UserError::FileTooLarge("passwd")));
    assert_eq!(resolve(&"0:x".parse().unwrap(), b"", &huge), Err(UserError::FileTooLarge("group")));
    assert!(subordinate_ranges(&huge).is_err());
}

#[test]
fn subordinate_ranges_cannot_wrap() {
    let text = b"alice:100000:65536\nbob:4294967295:2\n1000:200000:65536\ncarol:5:0\nbad\n";
    let ranges: Vec<_> = subordinate_ranges(text).unwrap().collect();
    let owners: Vec<_> = ranges.iter().map(|range| range.owner.as_str()).collect();
    assert_eq!(owners, ["alice", "1000"]);
}

proptest! {
    #[test]
    fn a_spec_survives_being_written_and_read(user in "[a-z_][a-z0-9_-]{0,8}|[0-9]{1,9}", group in "([a-z]{1,8}|[0-9]{1,9})?") {
        let text = if group.is_empty() { user } else { format!("{user}:{group}") };
        let spec: UserSpec = text.parse().unwrap();
        prop_assert_eq!(spec.to_string().parse::<UserSpec>().unwrap(), spec);
    }

    #[test]
    fn written_entries_are_read_back(name in "[a-z][a-z0-9]{0,8}", uid in 0..=ID_LIMIT, gid in 0..=ID_LIMIT, home in "(/[a-z]{1,5}){0,3}") {
        let line = format!("{name}:x:{uid}:{gid}::{home}:/bin/sh\n");
        let read: Vec<User> = users(line.as_bytes()).unwrap().collect();
        prop_assert_eq!(read, vec![User { name, uid, gid, home, shell: "/bin/sh".into() }]);
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), spec in ".{0,20}") {
        let _ranges = subordinate_ranges(&bytes).map(Iterator::count);
        if let Ok(spec) = spec.parse() {
            let _identity = resolve(&spec, &bytes, &bytes);
        }
    }
}
