//! One object of the catalog as catalogs share it.

use super::object::Object;
use super::unread::Unread;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use weir_sql::{Error, Result};
use weir_storage::manifest::Record;

/// An object as catalogs share it: one that is changed copies what it changes, and not the thousands beside it, and only its own record
/// is written anew.
#[derive(Clone, Debug)]
pub struct Shared {
    object: Arc<Object>,
    /// Once a manifest has asked for it.
    record: Arc<OnceLock<Record>>,
    /// What stands in for an object whose record cannot be read.
    unread: Option<Arc<Unread>>,
}

impl Shared {
    /// As a manifest has it.
    pub fn read(record: &Record) -> serde_json::Result<Self> {
        let (object, unread) = match record.read() {
            Ok(object) => (object, None),
            Err(error) => match Unread::of(record, error.to_string()) {
                Some((object, unread)) => (object, Some(Arc::new(unread))),
                None => return Err(error),
            },
        };
        Ok(Self { object: Arc::new(object), record: Arc::new(OnceLock::from(record.clone())), unread })
    }

    /// As a manifest says it: what a start reads as the same object.
    pub fn record(&self) -> Result<Record> {
        if let Some(unread) = &self.unread {
            return Ok(unread.record(self.life));
        }
        if let Some(record) = self.record.get() {
            return Ok(record.clone());
        }
        let record = Record::checked(&*self.object).map_err(|why| {
            let name = format!("{} \"{}\"", self.kind(), self.name);
            Error::internal(format!("what a manifest would say of {name} could not be read by a start")).detail(why)
        })?;
        Ok(self.record.get_or_init(|| record).clone())
    }

    /// Why its record cannot be read, if so: then nothing is to be done with it but to drop it.
    pub fn unread(&self) -> Option<Error> {
        let unread = self.unread.as_ref()?;
        let text = format!("the record of {} \"{}\" cannot be read: {}", self.kind(), self.name, unread.why);
        Some(Error::new("58000", text).hint("Start the version of Weir that wrote it, or drop it with CASCADE."))
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl From<Object> for Shared {
    fn from(object: Object) -> Self {
        Self { object: Arc::new(object), record: Arc::default(), unread: None }
    }
}

impl Deref for Shared {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.object
    }
}

impl DerefMut for Shared {
    fn deref_mut(&mut self) -> &mut Object {
        self.record = Arc::default();
        Arc::make_mut(&mut self.object)
    }
}
