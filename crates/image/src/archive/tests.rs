use super::*;
use crate::fixture::{Head, Tar, record};
use crate::limits;
use proptest::prelude::*;
use std::io::{BufRead, BufReader, Read};

/// All entries with their data.
fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, ArchiveError> {
    read_from(bytes)
}

fn read_from(input: impl BufRead) -> Result<Vec<(Entry, Vec<u8>)>, ArchiveError> {
    let mut archive = Archive::new(input);
    let mut entries = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let mut data = Vec::new();
        archive.data(|piece| {
            data.extend_from_slice(piece);
            Ok(())
        })?;
        entries.push((entry, data));
    }
    Ok(entries)
}

fn one(bytes: &[u8]) -> (Entry, Vec<u8>) {
    let mut entries = read(bytes).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

#[track_caller]
fn refused(tar: Tar, words: &str) {
    let error = read(&tar.end()).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn every_kind_of_entry_is_read() {
    let bytes = Tar::default()
        .add(Head::new("f", b'0', 5).mode(0o4755).owner(7, 8).with(136, b"00000000012\0"), b"hello")
        .add(Head::new("old", 0, 1), b"x")
        .add(Head::new("olddir/", 0, 0), b"")
        .dir("d/")
        .symlink("s", "../target")
        .hardlink("h", "f")
        .add(Head::new("c", b'3', 0).device(4, 64), b"")
        .add(Head::new("b", b'4', 0).device(8, 1), b"")
        .add(Head::new("p", b'6', 0), b"")
        .end();
    let entries = read(&bytes).unwrap();
    let kinds: Vec<_> = entries.iter().map(|(entry, _)| entry.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            EntryKind::File,
            EntryKind::File,
            EntryKind::Directory,
            EntryKind::Directory,
            EntryKind::Symlink(b"../target".to_vec()),
            EntryKind::HardLink(b"f".to_vec()),
            EntryKind::Char(Device { major: 4, minor: 64 }),
            EntryKind::Block(Device { major: 8, minor: 1 }),
            EntryKind::Fifo,
        ]
    );
    let (file, data) = &entries[0];
    assert_eq!((file.mode, file.uid, file.gid, file.mtime.seconds), (0o4755, 7, 8, 10));
    assert_eq!(data, b"hello");
}

#[test]
fn extended_headers_change_what_they_say() {
    let long = "x".repeat(300);
    let bytes = Tar::default()
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"4000000000"),
            ("gid", b"1"),
            ("mtime", b"-1.25"),
            ("SCHILY.xattr.user.a", b"\0\n=v"),
            ("comment", b"ignored"),
            ("LIBARCHIVE.creationtime", b"1"),
        ])
        .file("short", b"")
        .end();
    let (entry, _) = one(&bytes);
    assert_eq!(entry.path, long.as_bytes());
    assert_eq!((entry.uid, entry.gid), (4_000_000_000, 1));
    assert_eq!(entry.mtime, Timestamp { seconds: -2, nanoseconds: 750_000_000 });
    assert_eq!(entry.xattrs, [(b"user.a".to_vec(), b"\0\n=v".to_vec())]);
}

#[test]
fn gnu_long_names_and_numbers_are_read() {
    let (name, link) = ("n".repeat(200), "l".repeat(200));
    let base256 = [0x80, 0, 0, 0, 0, 0x2d, 0xc6, 0xc0];
    let bytes = Tar::default()
        .extended(b'L', &[name.as_bytes(), b"\0"].concat())
        .extended(b'K', &[link.as_bytes(), b"\0"].concat())
        .add(Head::new("n", b'2', 0).gnu().link("l").with(108, &base256), b"")
        .end();
    let (entry, _) = one(&bytes);
    assert_eq!(entry.path, name.as_bytes());
    assert_eq!(entry.kind, EntryKind::Symlink(link.into_bytes()));
    assert_eq!(entry.uid, 3_000_000);
}

#[test]
fn the_prefix_of_ustar_is_part_of_the_path() {
    let bytes = Tar::default().add(Head::new("name", b'0', 0).with(345, b"dir/sub"), b"").end();
    assert_eq!(one(&bytes).0.path, b"dir/sub/name");
}

#[test]
fn sparse_files_of_gnu_and_pax_are_read() {
    let gnu =
        Head::new("s", b'S', 4).gnu().with(386, b"00000000012\x0000000000004\0").with(483, b"00000000144\0");
    let map = SparseMap { real_size: 100, regions: vec![(10, 4)] };
    let (entry, data) = one(&Tar::default().add(gnu, b"data").end());
    assert_eq!((entry.sparse, data.as_slice()), (Some(map.clone()), &b"data"[..]));

    let mut body = b"2\n10\n4\n100\n0\n".to_vec();
    body.resize(512, 0);
    body.extend_from_slice(b"data");
    let bytes = Tar::default()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"s"),
            ("GNU.sparse.realsize", b"100"),
        ])
        .file("GNUSparseFile.1/s", &body)
        .end();
    let (entry, data) = one(&bytes);
    assert_eq!(
        (entry.path, entry.size, entry.sparse, data.as_slice()),
        (b"s".to_vec(), 4, Some(map), &b"data"[..])
    );
}

#[test]
fn archives_may_end_early_between_entries_but_nowhere_else() {
    let whole = Tar::default().file("f", b"hello");
    assert_eq!(read(&whole.0).unwrap().len(), 1);
    assert_eq!(read(&whole.clone().raw(&[0; 512]).0).unwrap().len(), 1);
    assert_eq!(read(&[]).unwrap().len(), 0);
    for cut in [1, 100, 511, 513, 516, 1000] {
        let error = read(&whole.0[..cut]).unwrap_err();
        assert!(matches!(error.problem, Problem::Truncated), "{cut}: {error}");
    }
}

#[test]
fn r19_what_is_no_tar_archive_is_refused() {
    for bytes in [&[b'x'; 512][..], b"070701 cpio".as_slice(), &[1; 2048]] {
        let error = read(bytes).unwrap_err();
        assert!(matches!(error.problem, Problem::Checksum | Problem::Truncated), "{error}");
    }
    let star = Head::new("f", b'0', 0).with(508, b"tar\0");
    refused(Tar::default().add(star, b""), "star archives");
    let strange = Head::new("f", b'0', 0).with(257, b"ustar\x0099");
    refused(Tar::default().add(strange, b""), "unknown ustar");
    for kind in [b'D', b'M', b'N', b'V', b'X', b'z', 0xff] {
        refused(Tar::default().add(Head::new("f", kind, 0), b""), "of type");
    }
}

#[test]
fn r19_data_after_the_end_is_refused() {
    let first = Tar::default().file("a", b"").raw(&[0; 1024]);
    refused(first.clone().file("b", b""), "follows the end");
    refused(first.raw(b"x"), "follows the end");
    refused(Tar::default().file("a", b"").raw(&[0; 512]).file("b", b""), "follows the end");
}

#[test]
fn r19_contradictions_refuse_the_archive() {
    let tar = Tar::default;
    refused(tar().pax(&[("size", b"5")]).file("f", b"1234567"), "different sizes");
    refused(tar().pax(&[("size", b"7")]).file("f", b"12345"), "different sizes");
    refused(tar().pax(&[("size", b"5")]).dir("d"), "different sizes");
    refused(tar().add(Head::new("d", b'5', 512), &[0; 512]), "data on something");
    refused(tar().add(Head::new("l", b'2', 5).link("x"), b"hello"), "data on something");
    refused(tar().add(Head::new("l", b'1', 5).link("x"), b"hello"), "data on something");
    refused(tar().add(Head::new("f/", b'0', 0), b""), "ends with a slash");
    refused(tar().symlink("l", ""), "without a target");
    refused(tar().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("f", b""), "two extended headers");
    refused(tar().extended(b'L', b"a\0").extended(b'L', b"b\0").file("f", b""), "two extended headers");
    refused(tar().pax(&[("path", b"a")]).extended(b'L', b"b\0").file("f", b""), "two long names");
    refused(tar().extended(b'L', b"a\0b\0").file("f", b""), "a NUL");
    refused(tar().extended(b'L', b"\0").file("f", b""), "empty");
    for kind in [b'x', b'L', b'K'] {
        let body = if kind == b'x' { record("path", b"a") } else { b"a\0".to_vec() };
        refused(tar().extended(kind, &body), "without an entry");
    }
}

#[test]
fn r19_malformed_extended_headers_refuse_the_archive() {
    for body in [
        &b"6 a=b"[..],
        b"5 a=b\n",
        b"7 a=b\n",
        b"06 a=b\n",
        b"6 =ab\n",
        b"6 abc\n",
        b"a=b\n",
        b"99999999999999999999 a=b\n",
        b"-6 a=b\n",
        b"\n",
    ] {
        refused(Tar::default().extended(b'x', body).file("f", b""), "malformed extended header");
    }
    for records in [
        &[("path", &b"a"[..]), ("path", b"a")][..],
        &[("path", b"")],
        &[("path", b"a\0b")],
        &[("linkpath", b"a\0")],
        &[("size", b"-1")],
        &[("size", b"18446744073709551616")],
        &[("uid", b"0x1")],
        &[("mtime", b"now")],
        &[("mtime", b"1.2.3")],
        &[("mtime", b"-9223372036854775809")],
        &[("hdrcharset", b"EBCDIC")],
        &[("nonsense", b"1")],
        &[("SCHILY.xattr.", b"1")],
    ] {
        refused(Tar::default().pax(records).file("f", b""), "malformed extended header");
    }
}

#[test]
fn r19_global_headers_may_only_comment() {
    let comment = Tar::default().extended(b'g', &record("comment", b"0123456789abcdef")).file("f", b"");
    assert_eq!(read(&comment.end()).unwrap().len(), 1);
    for key in ["path", "size", "uid", "linkpath", "GNU.sparse.name"] {
        refused(Tar::default().extended(b'g', &record(key, b"1")).file("f", b""), "global header");
    }
}

#[test]
fn r19_numbers_out_of_range_are_refused() {
    let head = |at, bytes: &[u8]| Tar::default().add(Head::new("f", b'0', 0).with(at, bytes), b"");
    refused(head(124, b"-0000000001\0"), "`size`");
    refused(head(124, b"00000000009\0"), "`size`");
    refused(head(124, b"0000000000 1"), "`size`");
    refused(head(124, &[0xff; 12]), "`size`");
    refused(head(124, &[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]), "`size`");
    refused(head(124, &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "`size`");
    refused(head(124, &[0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "`size`");
    refused(head(108, &[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), "`uid`");
    refused(head(116, &[0x80, 0, 0, 1, 0, 0, 0, 0]), "`gid`");
    refused(head(100, b"000x644\0"), "`mode`");
    refused(Tar::default().add(Head::new("c", b'3', 0).device(4096, 0), b""), "`devmajor`");
    let negative = Tar::default().add(Head::new("f", b'0', 0).with(136, &[0xff; 12]), b"").end();
    assert_eq!(one(&negative).0.mtime.seconds, -1);
}

#[test]
fn r19_sparse_maps_that_make_no_sense_are_refused() {
    let map = |body: &str, stored: &[u8], real: &str| {
        let mut data = body.as_bytes().to_vec();
        data.resize(data.len().next_multiple_of(512), 0);
        data.extend_from_slice(stored);
        Tar::default()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"s"),
                ("GNU.sparse.realsize", real.as_bytes()),
            ])
            .file("x", &data)
    };
    refused(map("2\n0\n4\n2\n4\n", b"12345678", "100"), "overlap");
    refused(map("1\n98\n4\n", b"1234", "100"), "beyond the end");
    refused(map("1\n0\n4\n", b"12345678", "100"), "not what is stored");
    refused(map("1\n18446744073709551615\n4\n", b"1234", "100"), "wraps around");
    refused(map("1\nx\n4\n", b"1234", "100"), "the map");
    refused(map("1000000000\n", b"", "100"), "regions");
    refused(map("2\n0\n1\n", b"1", "100"), "malformed sparse file");
    // A line without an end must not be collected until the archive's.
    refused(map(&"1".repeat(4096), b"1", "100"), "malformed sparse file: the map");
    refused(map("0\n", b"", "9223372036854775808"), "beyond the end");
    for key in ["GNU.sparse.map", "GNU.sparse.numblocks", "GNU.sparse.size", "SCHILY.realsize"] {
        refused(Tar::default().pax(&[(key, b"1")]).file("f", b""), "not supported");
    }
    refused(Tar::default().add(Head::new("s", b'S', 0), b""), "two formats");
}

#[test]
fn r21_headers_paths_and_attributes_have_limits() {
    let huge = Head::new("x", b'x', limits::EXTENDED_HEADER + 1);
    let error = read(&Tar::default().add(huge, b"").0).unwrap_err().to_string();
    assert!(error.contains("bytes of an extended header"), "{error}");
    let path = vec![b'a'; limits::PATH + 1];
    refused(Tar::default().pax(&[("path", &path)]).file("f", b""), "bytes of a path");
    refused(Tar::default().pax(&[("linkpath", &path)]).symlink("l", "x"), "bytes of a link");
    let value = vec![b'v'; limits::XATTR_VALUE + 1];
    refused(
        Tar::default().pax(&[("SCHILY.xattr.user.a", &value)]).file("f", b""),
        "of an extended attribute",
    );
    let names: Vec<String> = (0..=limits::XATTRS).map(|n| format!("SCHILY.xattr.user.{n}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    refused(Tar::default().pax(&many).file("f", b""), "extended attributes of one entry");
}

/// Hands out one byte more each time, and never two headers at once.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 % 97 + 1;
        let length = self.1.min(self.0.len()).min(into.len());
        into[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

#[test]
fn the_pieces_in_which_input_arrives_do_not_matter() {
    let bytes = Tar::default()
        .pax(&[("path", b"long name"), ("SCHILY.xattr.user.a", b"v")])
        .file("a", &[7; 5000])
        .extended(b'L', b"other\0")
        .dir("d")
        .file("b", b"")
        .end();
    let whole = read(&bytes).unwrap();
    assert_eq!(read_from(BufReader::with_capacity(64, Trickle(&bytes, 0))).unwrap(), whole);
}

/// What the `tar` crate, as another reader, makes of an archive.
fn read_by_tar(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut archive = tar::Archive::new(bytes);
    let mut entries = Vec::new();
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let path = entry.path_bytes().into_owned();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).ok()?;
        entries.push((path, data));
    }
    Some(entries)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Z1: what is accepted is what another reader sees too.
    #[test]
    fn accepted_archives_mean_the_same_to_another_reader(
        files in proptest::collection::vec(("[a-z]{1,8}(/[a-z]{1,120}){0,3}", proptest::collection::vec(any::<u8>(), 0..1500)), 0..6),
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, data) in &files {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, data.as_slice()).unwrap();
        }
        let mut bytes = builder.into_inner().unwrap();
        if let Some((at, value)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        match read(&bytes) {
            Ok(ours) => {
                let ours: Vec<_> = ours.into_iter().map(|(entry, data)| (entry.path, data)).collect();
                if let Some(theirs) = read_by_tar(&bytes) {
                    prop_assert_eq!(ours, theirs);
                }
            }
            Err(_) => prop_assert!(damage.is_some(), "an honest archive is refused"),
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _answer: Result<_, ArchiveError> = read(&bytes);
    }
}
