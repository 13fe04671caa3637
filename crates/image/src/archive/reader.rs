//! From blocks to entries.

use super::header::{BLOCK, Format, Header};
use super::pax::{self, Records};
use super::sparse::{MapReader, SparseMap};
use super::{ArchiveError, Entry, EntryKind, Problem};
use crate::limits;
use std::io::BufRead;

/// The largest size that the twelve bytes of the header hold in octal.
const OCTAL_MAX: u64 = 0o77_777_777_777;

/// An archive that is read from beginning to end.
pub struct Archive<R> {
    input: R,
    /// Bytes read so far.
    position: u64,
    /// Data of the current entry that was not taken yet, and its padding.
    pending: u64,
    padding: u64,
    entries: u64,
    /// Where the current entry's headers begin, and its path, for messages.
    entry_position: u64,
    path: Vec<u8>,
}

/// What came before the header of an entry and changes it.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: BufRead> Archive<R> {
    /// Reads the archive `input`.
    pub const fn new(input: R) -> Self {
        Self { input, position: 0, pending: 0, padding: 0, entries: 0, entry_position: 0, path: Vec::new() }
    }

    /// The next entry, or nothing at the end. Data of the last one that was not taken is passed over.
    ///
    /// # Errors
    /// [`ArchiveError`]: after one, the archive is not read on.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.try_next().map_err(|problem| self.error(problem))
    }

    /// Hands the data of the current entry to `take`, in pieces.
    ///
    /// # Errors
    /// [`ArchiveError`], with [`Problem::Write`] for an error of `take`.
    pub fn data(&mut self, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<(), ArchiveError> {
        self.each_piece(|piece| take(piece).map_err(Problem::Write)).map_err(|problem| self.error(problem))
    }

    /// What was read, for errors about the current entry that its user finds.
    pub fn error(&self, problem: Problem) -> ArchiveError {
        ArchiveError { position: self.entry_position, path: self.path.clone(), problem }
    }

    fn try_next(&mut self) -> Result<Option<Entry>, Problem> {
        self.finish_entry()?;
        self.entry_position = self.position;
        let mut extensions = Extensions::default();
        loop {
            let Some(block) = self.header_block()? else {
                return match extensions {
                    Extensions { pax: None, long_path: None, long_link: None } => Ok(None),
                    _ => Err(Problem::Ambiguous("an extended header without an entry")),
                };
            };
            self.entries += 1;
            if self.entries > limits::ENTRIES {
                return Err(Problem::Limit { what: "entries", limit: limits::ENTRIES });
            }
            let header = Header::new(&block)?;
            match header.kind() {
                b'x' => once(&mut extensions.pax, Records::parse(&self.body(&header)?)?)?,
                b'g' => pax::check_global(&self.body(&header)?)?,
                b'L' => once(&mut extensions.long_path, long_text(self.body(&header)?)?)?,
                b'K' => once(&mut extensions.long_link, long_text(self.body(&header)?)?)?,
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// Puts an entry together from its header and what came before.
    fn entry(&mut self, header: &Header<'_>, extensions: Extensions) -> Result<Entry, Problem> {
        let pax = extensions.pax.unwrap_or_default();
        // The header and `path` of a sparse file hold a name for readers that don't know the format.
        let path = match &pax.sparse.name {
            Some(name) => name.clone(),
            None => one_of(pax.path, extensions.long_path, "two long names that differ")?
                .unwrap_or_else(|| header.path()),
        };
        self.path.clone_from(&path);
        if path.len() > limits::PATH {
            return Err(Problem::Limit { what: "bytes of a path", limit: limits::PATH as u64 });
        }
        let link = one_of(pax.link, extensions.long_link, "two long link names that differ")?
            .unwrap_or_else(|| header.link());
        if link.len() > limits::PATH {
            return Err(Problem::Limit { what: "bytes of a link", limit: limits::PATH as u64 });
        }
        let size = agreed_size(header.size()?, pax.size)?;
        let kind = kind(header, &path, link)?;
        if !matches!(kind, EntryKind::File) && size != 0 {
            // Some readers pass over that many bytes, others read headers there.
            return Err(Problem::Ambiguous("data on something that is no file"));
        }
        self.start_data(size)?;
        let sparse = self.sparse(header, &pax.sparse)?;
        let id = |number: u64, name| {
            u32::try_from(number).ok().filter(|&id| id != u32::MAX).ok_or(Problem::Field(name))
        };
        Ok(Entry {
            path,
            kind,
            mode: header.mode()?,
            uid: id(pax.uid.map_or_else(|| header.uid(), Ok)?, "uid")?,
            gid: id(pax.gid.map_or_else(|| header.gid(), Ok)?, "gid")?,
            mtime: pax.mtime.map_or_else(|| header.mtime(), Ok)?,
            xattrs: pax.xattrs,
            size: self.pending,
            sparse,
        })
    }

    fn sparse(
        &mut self,
        header: &Header<'_>,
        said: &pax::SparseRecords,
    ) -> Result<Option<SparseMap>, Problem> {
        let is_pax = said.major.is_some() || said.minor.is_some() || said.real_size.is_some();
        match (header.kind(), is_pax) {
            (b'S', false) if header.format == Format::Gnu => {
                let (first, mut has_more, real_size) = header.gnu_sparse()?;
                let mut regions = Vec::new();
                SparseMap::add_gnu(&mut regions, first)?;
                while has_more {
                    let block = self.block()?.ok_or(Problem::Truncated)?;
                    SparseMap::add_gnu(&mut regions, &block[..504])?;
                    has_more = block[504] != 0;
                }
                SparseMap::new(real_size, regions, self.pending).map(Some)
            }
            (b'0' | 0, true) => {
                let (Some(1), Some(0), Some(real_size)) = (said.major, said.minor, said.real_size) else {
                    return Err(Problem::Sparse("only format 1.0 is supported"));
                };
                let mut map = MapReader::default();
                loop {
                    let left = self
                        .pending
                        .checked_sub(BLOCK as u64)
                        .ok_or(Problem::Sparse("the map is cut off"))?;
                    let block = self.block()?.ok_or(Problem::Truncated)?;
                    self.pending = left;
                    if map.take(&block)? {
                        break;
                    }
                }
                SparseMap::new(real_size, map.into_regions(), self.pending).map(Some)
            }
            (b'S', _) | (_, true) => Err(Problem::Ambiguous("a sparse file of two formats")),
            _ => Ok(None),
        }
    }

    /// The body of an extended header.
    fn body(&mut self, header: &Header<'_>) -> Result<Vec<u8>, Problem> {
        let size = header.size()?;
        if size > limits::EXTENDED_HEADER {
            return Err(Problem::Limit {
                what: "bytes of an extended header",
                limit: limits::EXTENDED_HEADER,
            });
        }
        self.start_data(size)?;
        let mut body = Vec::new();
        self.each_piece(|piece| {
            body.extend_from_slice(piece);
            Ok(())
        })?;
        self.finish_entry()?;
        Ok(body)
    }

    fn start_data(&mut self, size: u64) -> Result<(), Problem> {
        if i64::try_from(size).is_err() {
            return Err(Problem::Field("size"));
        }
        self.pending = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn finish_entry(&mut self) -> Result<(), Problem> {
        self.each_piece(|_| Ok(()))?;
        self.pending = std::mem::take(&mut self.padding);
        self.each_piece(|_| Ok(()))
    }

    fn each_piece(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), Problem>) -> Result<(), Problem> {
        while self.pending > 0 {
            let buffer = fill(&mut self.input)?;
            let length = buffer.len().min(usize::try_from(self.pending).unwrap_or(usize::MAX));
            if length == 0 {
                return Err(Problem::Truncated);
            }
            take(&buffer[..length])?;
            self.input.consume(length);
            self.position += length as u64;
            self.pending -= length as u64;
        }
        Ok(())
    }

    /// The next block that is a header; nothing at the end of the archive.
    ///
    /// Two blocks of zeros end it, and so does the end of the input between two entries, as all readers agree.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, Problem> {
        match self.block()? {
            Some(block) if block == [0; BLOCK] => self.only_zeros_follow().map(|()| None),
            block => Ok(block),
        }
    }

    fn only_zeros_follow(&mut self) -> Result<(), Problem> {
        let end = self.position;
        loop {
            let buffer = fill(&mut self.input)?;
            let length = buffer.len();
            if length == 0 {
                return Ok(());
            }
            if buffer.iter().any(|&byte| byte != 0) {
                self.entry_position = end;
                self.path.clear();
                return Err(Problem::Ambiguous("something follows the end of the archive"));
            }
            self.input.consume(length);
            self.position += length as u64;
            if self.position - end > limits::TRAILING_ZEROS {
                return Err(Problem::Limit { what: "zeros after the end", limit: limits::TRAILING_ZEROS });
            }
        }
    }

    /// One block, or nothing when the input ends before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Problem> {
        let mut block = [0_u8; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let buffer = fill(&mut self.input)?;
            let length = buffer.len().min(BLOCK - filled);
            if length == 0 {
                return if filled == 0 { Ok(None) } else { Err(Problem::Truncated) };
            }
            block[filled..filled + length].copy_from_slice(&buffer[..length]);
            self.input.consume(length);
            filled += length;
        }
        self.position += BLOCK as u64;
        Ok(Some(block))
    }
}

/// The bytes that are there, at least one unless the input is over.
fn fill<R: BufRead>(input: &mut R) -> Result<&[u8], Problem> {
    // Two calls because a borrow that is returned can't be retried; the second returns what the first got.
    while let Err(error) = input.fill_buf() {
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(Problem::Read(error));
        }
    }
    input.fill_buf().map_err(Problem::Read)
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Problem> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Problem::Ambiguous("two extended headers of one kind for one entry")),
    }
}

/// The text of a GNU long name: one NUL at its end, none within.
fn long_text(mut body: Vec<u8>) -> Result<Vec<u8>, Problem> {
    while body.last() == Some(&0) {
        body.pop();
    }
    if body.is_empty() || body.contains(&0) {
        return Err(Problem::Ambiguous("a long name with a NUL in it, or an empty one"));
    }
    Ok(body)
}

fn one_of(
    one: Option<Vec<u8>>,
    other: Option<Vec<u8>>,
    problem: &'static str,
) -> Result<Option<Vec<u8>>, Problem> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(Problem::Ambiguous(problem)),
        (one, other) => Ok(one.or(other)),
    }
}

/// The size that all readers agree on: the extended header says only what the header can't.
fn agreed_size(header: u64, pax: Option<u64>) -> Result<u64, Problem> {
    match pax {
        Some(pax) if pax <= OCTAL_MAX && pax != header => {
            Err(Problem::Ambiguous("the header and the extended header have different sizes"))
        }
        Some(pax) => Ok(pax),
        None => Ok(header),
    }
}

fn kind(header: &Header<'_>, path: &[u8], link: Vec<u8>) -> Result<EntryKind, Problem> {
    let has_slash = path.last() == Some(&b'/');
    let kind = match header.kind() {
        // Before there was a type for directories, a slash told them.
        0 if has_slash => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' if has_slash => {
            return Err(Problem::Ambiguous("a file whose name ends with a slash"));
        }
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink(link),
        b'2' => EntryKind::Symlink(link),
        b'3' => EntryKind::Char(header.device()?),
        b'4' => EntryKind::Block(header.device()?),
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => return Err(Problem::Type(char::from(other))),
    };
    match &kind {
        EntryKind::HardLink(link) | EntryKind::Symlink(link) if link.is_empty() => {
            Err(Problem::Ambiguous("a link without a target"))
        }
        _ => Ok(kind),
    }
}
