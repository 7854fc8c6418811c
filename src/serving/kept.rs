//! Rows that a transaction has written and not committed yet: in memory up to a bound, beyond it in files of the spill folder, which go
//! with the rows.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempPath;
use weir_sql::{Error, Result};
use weir_storage::delta::size;

/// A batch of rows.
pub enum Kept {
    Here(RecordBatch),
    /// One of the batches of a file.
    There(Arc<TempPath>, usize),
}

impl Kept {
    /// Reads what is in a file.
    pub fn rows(&self) -> Result<RecordBatch> {
        match self {
            Kept::Here(rows) => Ok(rows.clone()),
            Kept::There(file, index) => read(file, *index).map_err(lost),
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Kept::Here(rows) => size(rows),
            Kept::There(..) => 0,
        }
    }
}

/// Moves batches of one schema that are in memory to a file in `folder`.
pub fn spill<'a>(folder: &Path, kept: impl Iterator<Item = &'a mut Kept>) -> Result<()> {
    let mut here: Vec<&mut Kept> = kept.filter(|kept| matches!(kept, Kept::Here(_))).collect();
    let Some(schema) = here.first().map(|kept| kept.rows()).transpose()?.map(|rows| rows.schema()) else {
        return Ok(());
    };
    let file = tempfile::Builder::new().prefix("rows-").tempfile_in(folder).map_err(|e| lost(e.into()))?;
    let (file, path) = file.into_parts();
    let written = || {
        let mut writer = FileWriter::try_new(BufWriter::new(file), &schema)?;
        for kept in &here {
            if let Kept::Here(rows) = kept {
                writer.write(rows)?;
            }
        }
        writer.finish()
    };
    written().map_err(lost)?;
    let path = Arc::new(path);
    here.iter_mut().enumerate().for_each(|(index, kept)| **kept = Kept::There(path.clone(), index));
    Ok(())
}

fn read(file: &Path, index: usize) -> std::result::Result<RecordBatch, ArrowError> {
    let mut reader = FileReader::try_new(BufReader::new(File::open(file)?), None)?;
    reader.set_index(index)?;
    reader.next().unwrap_or_else(|| Err(ArrowError::IpcError("it is shorter than it was".into())))
}

fn lost(error: ArrowError) -> Error {
    let text = format!("the rows of a transaction cannot be kept in the spill folder: {error}");
    match error {
        ArrowError::IoError(_, error) => Error::io(&error, text),
        _ => Error::new("58030", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;

    fn rows(values: std::ops::Range<i32>) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from_iter_values(values)) as _)]).expect("a batch")
    }

    #[test]
    fn what_is_spilled_is_read_again_and_its_file_goes_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut kept: Vec<Kept> = (0..3).map(|n| Kept::Here(rows(0..n + 1))).collect();
        spill(folder.path(), kept.iter_mut()).expect("a file");
        assert!(kept.iter().all(|kept| kept.bytes() == 0));
        for (n, kept) in (0..).zip(&kept) {
            assert_eq!(kept.rows().expect("still there"), rows(0..n + 1));
        }
        let files = || std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(files(), 1);
        drop(kept);
        assert_eq!(files(), 0);
    }
}
