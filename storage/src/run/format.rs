//! The bytes of a run.
//!
//! ```text
//! "WEIRRUN" and the format (1 byte)
//! blocks: the IPC message of a record batch, then its body
//! footer: column types, then per block where it is, its checksum, epochs, rows per vnode, first and last key
//! length of the footer (u32), XXH3-64 of header and footer (u64)
//! ```
//! Integers are little-endian. Every byte is under a checksum. There is no IPC schema in it: the catalog has that, and with it a
//! run of one row would be twice as large; the types are there so that the wrong schema is refused and not misread.

use super::rows::Rows;
use crate::error::{Error, Result};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::ipc::reader::RecordBatchDecoder;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow::ipc::{CompressionType, MetadataVersion, root_as_message};
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

pub(super) const HEADER: usize = 8;
const TRAILER: usize = 12;
const MAGIC: &[u8; 7] = b"WEIRRUN";
const FORMAT: u8 = 1;
/// Bytes of a key kept in the index: enough to tell keys apart, whatever users put in one.
const KEY_PREFIX: usize = 64;
/// LZ4 makes no more bytes of one: a length beyond it takes another byte for every 255.
const LZ4_RATIO: usize = 255;
/// The offsets of a list have 31 bits, so there are no more elements in a block, and fewer rows.
const ROWS: i64 = i32::MAX as i64;
/// Below this many bytes of rows compression costs more bytes than it saves.
const COMPRESSED: usize = 1024;

pub(super) fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..7].copy_from_slice(MAGIC);
    header[7] = FORMAT;
    header
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Footer {
    pub types: String,
    pub blocks: Vec<Block>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Block {
    /// From the start of the run.
    pub offset: u64,
    pub length: u32,
    /// Length of the IPC message, which the body follows.
    pub message: u32,
    pub checksum: u64,
    /// Lowest and highest epoch.
    pub epochs: (u64, u64),
    /// Vnodes present, ascending, and the rows of each: rows are in this order.
    pub vnodes: Vec<(u16, u32)>,
    /// Keys of the first and last row, cut at [`KEY_PREFIX`] bytes.
    pub keys: (Vec<u8>, Vec<u8>),
}

impl Block {
    pub fn rows(&self) -> u64 {
        self.vnodes.iter().map(|&(_, rows)| u64::from(rows)).sum()
    }
}

/// What the footer remembers of a key.
pub(super) fn key_prefix(key: &[u8]) -> Vec<u8> {
    key[..key.len().min(KEY_PREFIX)].to_vec()
}

impl Footer {
    /// With the trailer, which ends the run.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![];
        put_u32(&mut out, self.types.len());
        out.extend_from_slice(self.types.as_bytes());
        put_u32(&mut out, self.blocks.len());
        for block in &self.blocks {
            out.extend_from_slice(&block.offset.to_le_bytes());
            put_u32(&mut out, block.length as usize);
            put_u32(&mut out, block.message as usize);
            for n in [block.checksum, block.epochs.0, block.epochs.1] {
                out.extend_from_slice(&n.to_le_bytes());
            }
            out.extend_from_slice(&(block.vnodes.len() as u16).to_le_bytes());
            for &(vnode, rows) in &block.vnodes {
                out.extend_from_slice(&vnode.to_le_bytes());
                put_u32(&mut out, rows as usize);
            }
            for key in [&block.keys.0, &block.keys.1] {
                out.push(key.len() as u8);
                out.extend_from_slice(key);
            }
        }
        let checksum = checksum(&header(), &out);
        let length = out.len();
        put_u32(&mut out, length);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Of a whole run. `Err` says what is wrong with it.
    pub fn decode(run: &[u8]) -> Result<Self, String> {
        let (header, rest) = run.split_at_checked(HEADER).ok_or("it is cut short")?;
        if header[..7] != *MAGIC {
            return Err("it does not begin as a run does".into());
        }
        if header[7] != FORMAT {
            return Err(format!(
                "it has format {}; this Weir reads format {FORMAT}: run the version that wrote it",
                header[7]
            ));
        }
        let end = rest.len().checked_sub(TRAILER).ok_or("it is cut short")?;
        let mut trailer = Take(&rest[end..]);
        let (length, sum) = (trailer.u32().ok_or("it is cut short")?, trailer.u64().ok_or("it is cut short")?);
        let start = end.checked_sub(length as usize).ok_or("its footer is longer than it")?;
        let footer = &rest[start..end];
        if checksum(header, footer) != sum {
            return Err("the checksum of its footer does not match".into());
        }
        let footer = Self::parse(footer).ok_or("its footer makes no sense")?;
        match footer.covers(HEADER as u64..(HEADER + start) as u64) {
            true => Ok(footer),
            false => Err("its blocks do not lie one after the other".into()),
        }
    }

    /// Whether the blocks fill `bytes`, each where the one before it ends: then no byte is read, and unpacked, twice.
    fn covers(&self, bytes: Range<u64>) -> bool {
        let next = |at: u64, block: &Block| at.checked_add(block.length.into()).filter(|_| block.offset == at);
        self.blocks.iter().try_fold(bytes.start, next) == Some(bytes.end)
    }

    fn parse(footer: &[u8]) -> Option<Self> {
        let mut take = Take(footer);
        let length = take.u32()? as usize;
        let types = String::from_utf8(take.bytes(length)?.to_vec()).ok()?;
        let mut blocks = vec![];
        for _ in 0..take.u32()? {
            let (offset, length, message) = (take.u64()?, take.u32()?, take.u32()?);
            let (checksum, epochs) = (take.u64()?, (take.u64()?, take.u64()?));
            let mut vnodes = vec![];
            for _ in 0..take.u16()? {
                vnodes.push((take.u16()?, take.u32()?));
            }
            let keys = (take.key()?, take.key()?);
            blocks.push(Block { offset, length, message, checksum, epochs, vnodes, keys });
        }
        take.0.is_empty().then_some(Self { types, blocks })
    }
}

fn checksum(header: &[u8], footer: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(header);
    hash.update(footer);
    hash.digest()
}

fn put_u32(out: &mut Vec<u8>, n: usize) {
    let n = u32::try_from(n).expect("blocks are about a megabyte, and a footer is smaller than what it describes");
    out.extend_from_slice(&n.to_le_bytes());
}

/// Reads from the front; `None` when there is not enough.
struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn key(&mut self) -> Option<Vec<u8>> {
        let [length] = self.array()?;
        self.bytes(length as usize).map(<[u8]>::to_vec)
    }
}

/// The column types as text: part of the format. Names and metadata may change without the bytes changing.
pub(super) fn types(schema: &Schema) -> String {
    schema.fields().iter().map(|f| type_name(f.data_type())).collect::<Vec<_>>().join(";")
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("List({})", type_name(item.data_type())),
        DataType::Struct(fields) => {
            format!("Struct({})", fields.iter().map(|f| type_name(f.data_type())).collect::<Vec<_>>().join(";"))
        }
        other => other.to_string(),
    }
}

/// The schema of the batches in the blocks.
pub(super) fn stored(schema: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("__weight", DataType::Int64, false)));
    fields.push(Arc::new(Field::new("__epoch", DataType::UInt64, false)));
    Arc::new(Schema::new(fields))
}

/// Encodes blocks of one run, one after the other.
pub(super) struct Encoder {
    schema: SchemaRef,
    context: IpcWriteContext,
}

impl Encoder {
    pub fn new(schema: &Schema) -> Self {
        Self { schema: stored(schema), context: IpcWriteContext::default() }
    }

    /// Appends `rows` to `out`; returns the lengths of message and block, and the checksum. `bytes` is about their size.
    pub fn encode(&mut self, rows: Rows, bytes: usize, out: &mut Vec<u8>) -> Result<(u32, u32, u64)> {
        let mut columns: Vec<ArrayRef> = rows.batch.columns().to_vec();
        columns.push(Arc::new(Int64Array::new(rows.weights, None)));
        columns.push(Arc::new(UInt64Array::new(rows.epochs, None)));
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        let compression = (bytes >= COMPRESSED).then_some(CompressionType::LZ4_FRAME);
        // Alignment is for readers that map files; ours decompresses, or copies the little that is not compressed.
        let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?.try_with_compression(compression)?;
        let mut dictionaries = DictionaryTracker::new(true);
        let (extra, data) =
            IpcDataGenerator::default().encode(&batch, &mut dictionaries, &options, &mut self.context)?;
        if !extra.is_empty() {
            return Err(Error::Invalid("dictionaries cannot be stored; unpack them first".into()));
        }
        let start = out.len();
        out.extend_from_slice(&data.ipc_message);
        out.extend_from_slice(&data.arrow_data);
        let length = |n: usize| u32::try_from(n).map_err(|_| Error::Invalid("a row of more than 4 GiB".into()));
        Ok((length(data.ipc_message.len())?, length(out.len() - start)?, xxh3_64(&out[start..])))
    }
}

/// The rows of a block with schema `rows`; `stored` is that schema's [`stored`]. `Err` says what is wrong with it.
pub(super) fn decode(block: &Block, run: &Bytes, rows: &SchemaRef, stored: &SchemaRef) -> Result<Rows, String> {
    unpack(block, &checked(block, run)?, rows, stored)
}

/// The same of the block's own bytes.
pub(super) fn unpack(block: &Block, bytes: &Bytes, rows: &SchemaRef, stored: &SchemaRef) -> Result<Rows, String> {
    if block.message > block.length {
        return Err("a block is shorter than its message".into());
    }
    let batch = decode_batch(bytes, block.message as usize, stored).map_err(|e| e.to_string())?;
    let columns = rows.fields().len();
    let weights = batch.column(columns).as_primitive::<Int64Type>().values().clone();
    let epochs = batch.column(columns + 1).as_primitive::<UInt64Type>().values().clone();
    if batch.num_rows() as u64 != block.rows() {
        return Err("a block has other than the rows it says it has".into());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let own = batch.columns()[..columns].to_vec();
    let batch = RecordBatch::try_new_with_options(rows.clone(), own, &options).map_err(|e| e.to_string())?;
    Ok(Rows { batch, weights, epochs })
}

/// The bytes of a block, which its checksum matches.
pub(super) fn checked(block: &Block, run: &Bytes) -> Result<Bytes, String> {
    let end = block.offset.checked_add(u64::from(block.length)).filter(|&end| end <= run.len() as u64);
    let end = end.ok_or("a block lies outside of it")?;
    let bytes = run.slice(block.offset as usize..end as usize);
    matches(block, &bytes).map(|()| bytes)
}

/// Whether the block's own bytes are those that were written.
pub(super) fn matches(block: &Block, bytes: &[u8]) -> Result<(), String> {
    match xxh3_64(bytes) == block.checksum {
        true => Ok(()),
        false => Err(format!("the checksum of the block at {} does not match", block.offset)),
    }
}

fn decode_batch(bytes: &Bytes, message: usize, stored: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let body = Buffer::from(bytes.slice(message..));
    let message = root_as_message(&bytes[..message]).map_err(|e| ArrowError::IpcError(e.to_string()))?;
    let header = message.header_as_record_batch().ok_or_else(|| ArrowError::IpcError("not a batch".into()))?;
    sound(&header, &body, stored).map_err(|why| ArrowError::IpcError(why.into()))?;
    let (none, version) = (HashMap::new(), message.version());
    RecordBatchDecoder::try_new(&body, header, stored.clone(), &none, &version)?.read_record_batch()
}

/// What Arrow's reader takes on trust: where the buffers lie, how large they say they become, and that a value that may be null has
/// a bit that says so.
fn sound(batch: &ipc::RecordBatch, body: &[u8], schema: &Schema) -> Result<(), &'static str> {
    let compressed = match batch.compression() {
        None => false,
        Some(compression) if compression.codec() == CompressionType::LZ4_FRAME => true,
        Some(_) => return Err("a compression that no run has"),
    };
    let size = |buffer: &ipc::Buffer| {
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let bytes =
            range.and_then(|(offset, length)| body.get(offset..)?.get(..length)).ok_or("a buffer lies outside")?;
        if !compressed || bytes.is_empty() {
            return Ok(bytes.len());
        }
        let (unpacked, packed) = bytes.split_first_chunk().ok_or("a compressed buffer is cut short")?;
        match i64::from_le_bytes(*unpacked) {
            // As it is.
            -1 => Ok(packed.len()),
            size => {
                usize::try_from(size).ok().filter(|&size| size <= packed.len() * LZ4_RATIO).ok_or("a buffer too large")
            }
        }
    };
    let sizes = batch.buffers().into_iter().flatten().map(size).collect::<Result<Vec<_>, _>>()?;
    let (mut nodes, mut sizes) = (batch.nodes().into_iter().flatten(), sizes.into_iter());
    schema.fields().iter().try_for_each(|field| column(field.data_type(), &mut nodes, &mut sizes))?;
    match batch.variadicBufferCounts().is_none_or(|counts| counts.is_empty()) {
        true => Ok(()),
        false => Err("buffers of a type that no run has"),
    }
}

/// Takes the nodes and the sizes of the buffers of one column.
fn column<'a>(
    kind: &DataType,
    nodes: &mut impl Iterator<Item = &'a ipc::FieldNode>,
    sizes: &mut impl Iterator<Item = usize>,
) -> Result<(), &'static str> {
    let node = nodes.next().ok_or("a column is missing")?;
    let mut size = || sizes.next().ok_or("a buffer is missing");
    if !(0..=node.length()).contains(&node.null_count()) || node.length() > ROWS {
        return Err("more nulls than values, or more values than a block has");
    }
    if size()? * 8 < node.length() as usize && node.null_count() > 0 {
        return Err("it is not said which values are null");
    }
    match kind {
        DataType::Struct(fields) => fields.iter().try_for_each(|field| column(field.data_type(), nodes, sizes)),
        DataType::List(item) => {
            offsets(size()?)?;
            column(item.data_type(), nodes, sizes)
        }
        DataType::Utf8 | DataType::Binary => {
            offsets(size()?)?;
            size().map(drop)
        }
        kind if kind.is_primitive() || matches!(kind, DataType::Boolean | DataType::FixedSizeBinary(_)) => {
            size().map(drop)
        }
        _ => Err("a type that no run has"),
    }
}

/// Arrow looks at a buffer of offsets as the 32-bit numbers that it is made of.
fn offsets(size: usize) -> Result<(), &'static str> {
    if size.is_multiple_of(4) { Ok(()) } else { Err("offsets that are cut short") }
}
