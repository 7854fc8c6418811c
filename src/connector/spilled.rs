//! Rows in a file of the spill folder: what a large transaction of DML has written, until its tables take it.
//!
//! They are read one batch at a time, by each worker for itself: so what is in memory of them beside the tables is a batch per worker,
//! however large the transaction is. A file has no name and stays open: nobody can take it away from a transaction that has committed.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use weir_sql::{Error, Result};
use weir_storage::delta::size;

/// Rows of one batch in a file. Clones share the file, which goes with the last of those that are in it.
#[derive(Clone, Debug)]
pub struct Spilled {
    file: Arc<File>,
    /// Of the file's batches.
    index: usize,
    /// Of the whole batch.
    rows: usize,
    bytes: usize,
    /// Those that are meant; `None`: all of it.
    some: Option<BooleanBuffer>,
}

impl Spilled {
    pub fn rows(&self) -> usize {
        self.some.as_ref().map_or(self.rows, BooleanBuffer::count_set_bits)
    }

    /// About what they take in memory.
    pub fn bytes(&self) -> usize {
        match &self.some {
            None => self.bytes,
            Some(some) => self.bytes / self.rows.max(1) * some.count_set_bits(),
        }
    }

    /// Of the batch only these rows.
    pub fn only(self, some: BooleanBuffer) -> Self {
        assert_eq!(some.len(), self.rows, "a bit per row");
        let is_all = some.count_set_bits() == self.rows;
        Self { some: (!is_all).then_some(some), ..self }
    }

    pub fn read(&self) -> Result<RecordBatch> {
        let some = |rows: RecordBatch| match &self.some {
            None => Ok(rows),
            Some(some) => filter_record_batch(&rows, &BooleanArray::new(some.clone(), None)),
        };
        read(&self.file, self.index).and_then(some).map_err(lost)
    }
}

/// Writes batches of one schema to a file in `folder`.
pub fn spill(folder: &Path, batches: &[RecordBatch]) -> Result<Vec<Spilled>> {
    let Some(first) = batches.first() else { return Ok(vec![]) };
    let file = tempfile::tempfile_in(folder).map_err(|error| lost(error.into()))?;
    let written = || -> std::result::Result<(), ArrowError> {
        let mut writer = FileWriter::try_new(BufWriter::new(&file), &first.schema())?;
        batches.iter().try_for_each(|rows| writer.write(rows))?;
        writer.finish()
    };
    written().map_err(lost)?;
    let file = Arc::new(file);
    let spilled = |(index, rows): (usize, &RecordBatch)| Spilled {
        file: file.clone(),
        index,
        rows: rows.num_rows(),
        bytes: size(rows),
        some: None,
    };
    Ok(batches.iter().enumerate().map(spilled).collect())
}

/// A place in a file that others read as well.
struct Reading<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Reading<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(to, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Reading<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.file.metadata()?.len(), by),
        };
        self.at = from.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

fn read(file: &File, index: usize) -> std::result::Result<RecordBatch, ArrowError> {
    let mut reader = FileReader::try_new(BufReader::new(Reading { file, at: 0 }), None)?;
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

    fn rows(values: &[i32]) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(values.to_vec())) as _)]).expect("a batch")
    }

    #[test]
    fn some_rows_of_a_batch_are_read_and_counted_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut all = spill(folder.path(), &[rows(&[1, 2, 3, 4]), rows(&[5])]).expect("a file");
        let (last, first) = (all.pop().expect("two"), all.pop().expect("two"));
        let some = first.clone().only(BooleanBuffer::from(vec![false, true, false, true]));
        assert_eq!(some.read().expect("there"), rows(&[2, 4]));
        assert_eq!((some.rows(), some.bytes() * 2), (2, first.bytes()));
        let whole = first.only(BooleanBuffer::new_set(4));
        assert_eq!((whole.rows(), whole.read().expect("there")), (4, rows(&[1, 2, 3, 4])));
        assert_eq!(last.read().expect("there"), rows(&[5]));
        assert!(spill(folder.path(), &[]).expect("nothing to write").is_empty());
        assert_eq!(folder.path().read_dir().expect("a folder").count(), 0, "it has no name");
        last.file.set_len(12).expect("shorter");
        assert_eq!(last.read().expect_err("it is damaged").sqlstate, "58030");
    }
}
