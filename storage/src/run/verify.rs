//! Whether a run is whole, as far as can be told without its schema: every byte is under a checksum.

use super::format::{Block, Footer, checked};
use super::place::Run;
use crate::error::{Error, Result};
use bytes::Bytes;

/// `object`: all bytes of the object that holds `run`.
pub fn verify(run: &Run, object: &Bytes) -> Result<()> {
    let damaged = |why: &str| Error::Corrupt(format!("run {} at {} is damaged: {why}", run.object, run.offset));
    let end = run.offset.checked_add(run.length).filter(|&end| end <= object.len() as u64);
    let bytes = object.slice(run.offset as usize..end.ok_or_else(|| damaged("it is cut short"))? as usize);
    let footer = Footer::decode(&bytes).map_err(|why| damaged(&why))?;
    for block in &footer.blocks {
        checked(block, &bytes).map_err(|why| damaged(&why))?;
    }
    let rows: u64 = footer.blocks.iter().map(Block::rows).sum();
    if rows != run.rows {
        return Err(damaged(&format!("it has {rows} rows and should have {}", run.rows)));
    }
    Ok(())
}
