//! Maps of files with holes: which part of the file the stored bytes are.

use super::header;
use super::{Problem, pax};
use crate::limits;

/// Where the stored bytes of a sparse file belong.
///
/// Invariant: regions ascend, don't overlap, and end within `real_size`; their lengths add up to the stored size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparseMap {
    /// The size of the file with its holes.
    pub real_size: u64,
    /// Offset and length of each piece of data.
    pub regions: Vec<(u64, u64)>,
}

impl SparseMap {
    /// Checks what an archive says about a file of `stored` bytes.
    pub(super) fn new(real_size: u64, mut regions: Vec<(u64, u64)>, stored: u64) -> Result<Self, Problem> {
        let mut end = 0_u64;
        let mut total = 0_u64;
        for &(offset, length) in &regions {
            if offset < end {
                return Err(Problem::Sparse("regions overlap"));
            }
            end = offset.checked_add(length).ok_or(Problem::Sparse("a region wraps around"))?;
            total = total.checked_add(length).ok_or(Problem::Sparse("regions wrap around"))?;
        }
        if end > real_size || i64::try_from(real_size).is_err() {
            return Err(Problem::Sparse("a region beyond the end of the file"));
        }
        if total != stored {
            return Err(Problem::Sparse("the regions are not what is stored"));
        }
        // Writers end the map with an empty region when the file ends in a hole.
        regions.retain(|&(_, length)| length > 0);
        Ok(Self { real_size, regions })
    }

    /// Adds the regions of a block of an old GNU header: pairs of twelve bytes, empty ones at the end.
    pub(super) fn add_gnu(regions: &mut Vec<(u64, u64)>, block: &[u8]) -> Result<(), Problem> {
        let field = |bytes: &[u8]| header::number(bytes).and_then(|number| u64::try_from(number).ok());
        let mut is_over = false;
        for pair in block.chunks_exact(24) {
            if pair[0] == 0 && pair[12] == 0 {
                is_over = true;
                continue;
            }
            let region = field(&pair[..12]).zip(field(&pair[12..]));
            match region {
                Some(region) if !is_over => push(regions, region)?,
                _ => return Err(Problem::Sparse("the map")),
            }
        }
        Ok(())
    }
}

/// The map of format 1.0, which comes first in the data: decimal lines, padded to blocks.
#[derive(Default)]
pub(super) struct MapReader {
    expected: Option<usize>,
    numbers: Vec<u64>,
    line: Vec<u8>,
}

impl MapReader {
    /// Takes one block; says whether the map is complete.
    pub fn take(&mut self, block: &[u8]) -> Result<bool, Problem> {
        for &byte in block {
            if self.is_complete() {
                // The rest of the last block is padding.
                if byte != 0 {
                    return Err(Problem::Sparse("the map's padding"));
                }
                continue;
            }
            if byte != b'\n' {
                // Without this the memory for a line without an end would be as large as the archive.
                if self.line.len() == pax::DECIMAL_MAX {
                    return Err(Problem::Sparse("the map"));
                }
                self.line.push(byte);
                continue;
            }
            let number = pax::decimal(&self.line).map_err(|_| Problem::Sparse("the map"))?;
            self.line.clear();
            match self.expected {
                None => self.expected = Some(region_count(number)?),
                Some(_) => self.numbers.push(number),
            }
        }
        Ok(self.is_complete())
    }

    fn is_complete(&self) -> bool {
        self.expected.is_some_and(|count| self.numbers.len() == 2 * count)
    }

    pub fn into_regions(self) -> Vec<(u64, u64)> {
        self.numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

fn region_count(number: u64) -> Result<usize, Problem> {
    match usize::try_from(number) {
        Ok(count) if count <= limits::SPARSE_REGIONS => Ok(count),
        _ => Err(too_many()),
    }
}

fn push(regions: &mut Vec<(u64, u64)>, region: (u64, u64)) -> Result<(), Problem> {
    if regions.len() == limits::SPARSE_REGIONS {
        return Err(too_many());
    }
    regions.push(region);
    Ok(())
}

fn too_many() -> Problem {
    Problem::Limit { what: "regions of a sparse file", limit: limits::SPARSE_REGIONS as u64 }
}
