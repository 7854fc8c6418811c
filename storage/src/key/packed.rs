//! Byte strings laid end to end: what encoded keys are kept in.

use crate::error::{Error, Result};

/// `len` byte strings in one buffer; all of one width, or each with its own end.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
    len: usize,
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    Fixed(usize),
    /// `len + 1` offsets into the bytes.
    Offsets(Vec<u32>),
}

impl Default for Packed {
    fn default() -> Self {
        Self::fixed(0, 0, vec![])
    }
}

impl Packed {
    /// Panics if the sizes do not fit.
    pub fn fixed(len: usize, width: usize, bytes: Vec<u8>) -> Self {
        assert_eq!(bytes.len(), len * width, "{len} strings of {width} bytes");
        Self { bytes, len, layout: Layout::Fixed(width) }
    }

    /// Panics if `offsets` is empty or does not end at the end of `bytes`.
    pub fn variable(offsets: Vec<u32>, bytes: Vec<u8>) -> Self {
        assert_eq!(offsets.last().map(|&o| o as usize), Some(bytes.len()), "offsets end where the bytes end");
        Self { bytes, len: offsets.len() - 1, layout: Layout::Offsets(offsets) }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        match &self.layout {
            Layout::Fixed(width) => &self.bytes[row * width..][..*width],
            Layout::Offsets(offsets) => &self.bytes[offsets[row] as usize..offsets[row + 1] as usize],
        }
    }

    /// The strings at `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Result<Self> {
        match &self.layout {
            Layout::Fixed(width) => {
                let mut bytes = Vec::with_capacity(rows.len() * width);
                rows.iter().for_each(|&row| bytes.extend_from_slice(self.get(row as usize)));
                Ok(Self::fixed(rows.len(), *width, bytes))
            }
            Layout::Offsets(_) => {
                let mut offsets = Offsets::new(rows.len());
                for &row in rows {
                    offsets.push(self.get(row as usize).len() as u64)?;
                }
                let mut bytes = Vec::with_capacity(offsets.total());
                rows.iter().for_each(|&row| bytes.extend_from_slice(self.get(row as usize)));
                Ok(Self::variable(offsets.finish(), bytes))
            }
        }
    }

    /// Rows `start .. start + len`, copied.
    pub fn slice(&self, start: usize, len: usize) -> Self {
        match &self.layout {
            Layout::Fixed(width) => Self::fixed(len, *width, self.bytes[start * width..][..len * width].to_vec()),
            Layout::Offsets(offsets) => {
                let base = offsets[start];
                let end = offsets[start + len];
                let offsets = offsets[start..=start + len].iter().map(|o| o - base).collect();
                Self::variable(offsets, self.bytes[base as usize..end as usize].to_vec())
            }
        }
    }

    /// All of `parts`, in order. Parts are of one layout, as they come from the same columns.
    pub fn concat(parts: &[&Packed]) -> Result<Self> {
        let len = parts.iter().map(|p| p.len).sum();
        let bytes = parts.iter().map(|p| p.bytes.as_slice()).collect::<Vec<_>>().concat();
        match parts.first().map(|p| &p.layout) {
            None => Ok(Self::default()),
            Some(Layout::Fixed(width)) => Ok(Self::fixed(len, *width, bytes)),
            Some(Layout::Offsets(_)) => {
                let mut offsets = Offsets::new(len);
                for part in parts {
                    for row in 0..part.len {
                        offsets.push(part.get(row).len() as u64)?;
                    }
                }
                Ok(Self::variable(offsets.finish(), bytes))
            }
        }
    }

    /// Memory held, in bytes.
    pub fn memory(&self) -> usize {
        let offsets = if let Layout::Offsets(offsets) = &self.layout { offsets.capacity() * 4 } else { 0 };
        self.bytes.capacity() + offsets
    }
}

/// Adds up lengths to offsets, refusing what 32 bits cannot address.
pub(crate) struct Offsets {
    offsets: Vec<u32>,
    total: u64,
}

impl Offsets {
    pub fn new(len: usize) -> Self {
        let mut offsets = Vec::with_capacity(len + 1);
        offsets.push(0);
        Self { offsets, total: 0 }
    }

    pub fn push(&mut self, length: u64) -> Result<()> {
        self.total += length;
        let end = u32::try_from(self.total)
            .map_err(|_| Error::Invalid("the keys of one batch pass 4 GiB; use smaller batches".into()))?;
        self.offsets.push(end);
        Ok(())
    }

    pub fn total(&self) -> usize {
        self.total as usize
    }

    pub fn starts(&self) -> &[u32] {
        &self.offsets[..self.offsets.len() - 1]
    }

    pub fn finish(self) -> Vec<u32> {
        self.offsets
    }
}
