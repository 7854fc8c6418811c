//! Arrays of one dimension with lower bound 1 from their text: `{1,NULL,"a \"quoted\" one"}`.

use super::error::ValueError;
use arrow::array::builder::NullBufferBuilder;
use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use weir_sql::types::Type;

/// The column of the elements, whatever they are.
pub trait Elements {
    /// On `Err` nothing has been appended.
    fn append(&mut self, text: &[u8]) -> Result<(), ValueError>;
    fn append_null(&mut self);
    /// The column so far; it is empty afterwards.
    fn finish(&mut self) -> ArrayRef;
}

pub struct Builder<E> {
    field: FieldRef,
    elements: E,
    /// Elements in `elements`.
    open: usize,
    /// Elements of whole arrays that were set aside when a later array was rejected half way.
    aside: Vec<ArrayRef>,
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
    /// An element without its quotes and escapes.
    scratch: Vec<u8>,
}

fn invalid() -> ValueError {
    ValueError::invalid("array")
}

impl<E: Elements> Builder<E> {
    /// `elements` are of type `element`.
    pub fn new(element: &Type, elements: E) -> Self {
        let DataType::List(field) = Type::Array(Box::new(element.clone())).arrow() else {
            unreachable!("an array is a list");
        };
        Self {
            field,
            elements,
            open: 0,
            aside: vec![],
            offsets: vec![0],
            valid: NullBufferBuilder::new(0),
            scratch: vec![],
        }
    }

    pub fn append(&mut self, text: &[u8]) -> Result<(), ValueError> {
        let before = self.open;
        if let Err(reject) = self.append_elements(text) {
            let elements = self.elements.finish();
            self.aside.push(elements.slice(0, before));
            self.open = 0;
            return Err(reject);
        }
        let end = self.end() + (self.open - before) as i32;
        self.offsets.push(end);
        self.valid.append_non_null();
        Ok(())
    }

    pub fn append_null(&mut self) {
        self.offsets.push(self.end());
        self.valid.append_null();
    }

    pub fn finish(&mut self) -> ListArray {
        let mut elements = self.elements.finish();
        if !self.aside.is_empty() {
            self.aside.push(elements);
            let parts: Vec<&dyn Array> = self.aside.iter().map(AsRef::as_ref).collect();
            elements = concat(&parts).expect("parts of one column have one type");
            self.aside.clear();
        }
        self.open = 0;
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        ListArray::new(self.field.clone(), offsets, elements, self.valid.finish())
    }

    fn end(&self) -> i32 {
        *self.offsets.last().expect("offsets begin with 0")
    }

    fn append_elements(&mut self, text: &[u8]) -> Result<(), ValueError> {
        if text.first() == Some(&b'[') {
            return Err(ValueError::new("0A000", "an array whose lower bound is not 1 cannot be held"));
        }
        let mut rest = text.strip_prefix(b"{").ok_or_else(invalid)?;
        if rest == b"}" {
            return Ok(());
        }
        loop {
            rest = match rest.first().ok_or_else(invalid)? {
                b'{' => return Err(ValueError::new("0A000", "an array of several dimensions cannot be held")),
                b'"' => self.append_quoted(&rest[1..])?,
                _ => self.append_bare(rest)?,
            };
            match rest.split_first().ok_or_else(invalid)? {
                (b',', after) => rest = after,
                (b'}', []) => return Ok(()),
                _ => return Err(invalid()),
            }
        }
    }

    /// Up to the next `,` or `}`, which is left.
    fn append_bare<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], ValueError> {
        let len = text.iter().position(|c| matches!(c, b',' | b'}')).ok_or_else(invalid)?;
        let (element, rest) = text.split_at(len);
        if element == b"NULL" {
            self.elements.append_null();
        } else if element.is_empty() || element.contains(&b'\\') || element.contains(&b'"') {
            // What Postgres quotes when it writes.
            return Err(invalid());
        } else {
            self.elements.append(element)?;
        }
        self.open += 1;
        Ok(rest)
    }

    /// Up to the closing quote, which is gone.
    fn append_quoted<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], ValueError> {
        self.scratch.clear();
        let mut at = 0;
        loop {
            match text.get(at).ok_or_else(invalid)? {
                b'"' => break,
                b'\\' => {
                    self.scratch.push(*text.get(at + 1).ok_or_else(invalid)?);
                    at += 2;
                }
                c => {
                    self.scratch.push(*c);
                    at += 1;
                }
            }
        }
        self.elements.append(&self.scratch)?;
        self.open += 1;
        Ok(&text[at + 1..])
    }
}
