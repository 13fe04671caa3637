//! Archives for tests, honest and hostile: every byte of a header can be set.

/// A tar archive that is put together.
#[derive(Default, Clone)]
pub(crate) struct Tar(pub Vec<u8>);

/// A header that is put together.
#[derive(Clone)]
pub(crate) struct Head(pub [u8; 512]);

impl Head {
    /// An honest header.
    pub fn new(path: &str, kind: u8, size: u64) -> Self {
        let mut head = Self([0; 512]);
        head.put(0, path.as_bytes());
        head.put(100, b"0000644\0");
        head.put(108, b"0000000\0");
        head.put(116, b"0000000\0");
        head.put(124, format!("{size:011o}\0").as_bytes());
        head.put(136, b"00000000000\0");
        head.0[156] = kind;
        head.put(257, b"ustar\x0000");
        head.put(329, b"0000000\0");
        head.put(337, b"0000000\0");
        head
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self
    }

    pub fn mode(self, mode: u32) -> Self {
        self.with(100, format!("{mode:07o}\0").as_bytes())
    }

    pub fn owner(self, uid: u32, gid: u32) -> Self {
        let this = self.with(108, format!("{uid:07o}\0").as_bytes());
        this.with(116, format!("{gid:07o}\0").as_bytes())
    }

    pub fn link(self, target: &str) -> Self {
        self.with(157, target.as_bytes())
    }

    pub fn device(self, major: u32, minor: u32) -> Self {
        let this = self.with(329, format!("{major:07o}\0").as_bytes());
        this.with(337, format!("{minor:07o}\0").as_bytes())
    }

    pub fn gnu(self) -> Self {
        self.with(257, b"ustar  \0")
    }

    fn sealed(mut self) -> [u8; 512] {
        self.put(148, b"        ");
        let sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

impl Tar {
    /// A header with its checksum, and data with its padding.
    pub fn add(mut self, head: Head, data: &[u8]) -> Self {
        self.0.extend_from_slice(&head.sealed());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn file(self, path: &str, data: &[u8]) -> Self {
        self.add(Head::new(path, b'0', data.len() as u64), data)
    }

    pub fn dir(self, path: &str) -> Self {
        self.add(Head::new(path, b'5', 0).mode(0o755), b"")
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.add(Head::new(path, b'2', 0).link(target), b"")
    }

    pub fn hardlink(self, path: &str, target: &str) -> Self {
        self.add(Head::new(path, b'1', 0).link(target), b"")
    }

    /// An extended header with these records, as they should be.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.extended(b'x', &body)
    }

    /// An extended header of this kind with this body.
    pub fn extended(self, kind: u8, body: &[u8]) -> Self {
        self.add(Head::new("extended", kind, body.len() as u64), body)
    }

    /// The archive with its end.
    pub fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }
}

/// A pax record.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &rest].concat()
}
