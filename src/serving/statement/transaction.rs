//! BEGIN, COMMIT, ROLLBACK, savepoints; SET and RESET; statements with nothing to do.

use super::Outcome;
use crate::serving::session::{READ_ONLY, Session};
use crate::serving::transaction::{Block, Transaction};
use crate::serving::variable::Variables;
use weir_sql::{Error, Result};

impl Session {
    pub(super) fn begin(&mut self, read_only: Option<bool>) -> Result<Outcome> {
        if self.block.is_explicit() {
            self.warning("25001", "there is already a transaction in progress");
            self.restrict(read_only)?;
            return Ok(Outcome::Done("BEGIN".into()));
        }
        // What was sent before BEGIN in the same message belongs to the block.
        let mut transaction = match std::mem::take(&mut self.block) {
            Block::Implicit(transaction) => transaction,
            _ => self.new_transaction(),
        };
        transaction.read_only = read_only.unwrap_or(self.variables.on("default_transaction_read_only"));
        transaction.variables = self.variables.clone();
        self.block = Block::Explicit(transaction);
        Ok(Outcome::Done("BEGIN".into()))
    }

    /// SET TRANSACTION, or (`session`) what it is from the next transaction on.
    pub(super) fn set_transaction(&mut self, read_only: Option<bool>, session: bool) -> Result<Outcome> {
        match read_only {
            Some(read_only) if session => {
                let value = if read_only { "on" } else { "off" };
                self.reports.extend(self.variables.set("default_transaction_read_only", Some(value))?);
            }
            _ if !session && !self.block.is_explicit() => {
                self.warning("25P01", "SET TRANSACTION can only be used in transaction blocks");
            }
            _ => self.restrict(read_only)?,
        }
        Ok(Outcome::Done("SET".into()))
    }

    /// Makes the transaction read-only, or, while it has done nothing, no longer.
    fn restrict(&mut self, read_only: Option<bool>) -> Result<()> {
        let Some(read_only) = read_only else { return Ok(()) };
        let transaction = self.transaction()?;
        if transaction.read_only && !read_only && transaction.bound.is_some() {
            return Err(Error::new("25001", "transaction read-write mode must be set before any query"));
        }
        transaction.read_only = read_only;
        Ok(())
    }

    pub(super) async fn end(&mut self) -> Result<Outcome> {
        match self.block {
            Block::Failed(_) => Ok(self.abandon()),
            Block::Explicit(_) => {
                self.commit().await?;
                self.portals.clear();
                Ok(Outcome::Done("COMMIT".into()))
            }
            Block::Idle | Block::Implicit(_) => {
                self.commit().await?;
                self.warning("25P01", "there is no transaction in progress");
                Ok(Outcome::Done("COMMIT".into()))
            }
        }
    }

    pub(super) fn abandon(&mut self) -> Outcome {
        if !self.block.is_explicit() {
            self.warning("25P01", "there is no transaction in progress");
        }
        self.rollback();
        self.portals.clear();
        Outcome::Done("ROLLBACK".into())
    }

    pub(super) fn save(&mut self, name: &str) -> Result<Outcome> {
        let variables = self.variables.clone();
        self.explicit("SAVEPOINT")?.save(name.to_string(), variables);
        Ok(Outcome::Done("SAVEPOINT".into()))
    }

    pub(super) fn release(&mut self, name: &str) -> Result<Outcome> {
        self.explicit("RELEASE SAVEPOINT")?.release(name)?;
        Ok(Outcome::Done("RELEASE".into()))
    }

    pub(super) fn roll_back_to(&mut self, name: &str) -> Result<Outcome> {
        let variables = self.explicit("ROLLBACK TO SAVEPOINT")?.roll_back_to(name)?;
        self.restore(variables);
        self.block = match std::mem::take(&mut self.block) {
            Block::Failed(transaction) => Block::Explicit(transaction),
            other => other,
        };
        Ok(Outcome::Done("ROLLBACK".into()))
    }

    /// The transaction of a block, also of one that failed.
    fn explicit(&mut self, what: &str) -> Result<&mut Transaction> {
        match &mut self.block {
            Block::Explicit(transaction) | Block::Failed(transaction) => Ok(transaction),
            Block::Idle | Block::Implicit(_) => {
                Err(Error::new("25P01", format!("{what} can only be used in transaction blocks")))
            }
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<Outcome> {
        let tag = || Ok(Outcome::Done("SET".into()));
        if value.is_none() && name == "all" {
            self.reports = self.variables.reset_all();
            return tag();
        }
        if name == READ_ONLY {
            let read_only = match value {
                Some(value) => Variables::checked(name, value)? == "on",
                None => self.variables.on("default_transaction_read_only"),
            };
            return self.set_transaction(Some(read_only), false);
        }
        if local {
            let before = self.variables.get(name)?.to_string();
            let Block::Explicit(transaction) = &mut self.block else {
                self.warning("25P01", "SET LOCAL can only be used in transaction blocks");
                return tag();
            };
            transaction.local.push((name.to_string(), before));
        }
        let reported = self.variables.set(name, value)?;
        self.reports.extend(reported);
        tag()
    }

    pub(super) fn accept(&mut self, tag: &'static str) -> Outcome {
        if matches!(tag, "DISCARD ALL" | "DEALLOCATE ALL") {
            self.prepared.clear();
        }
        if tag == "DISCARD ALL" {
            self.portals.clear();
            self.reports = self.variables.reset_all();
        }
        Outcome::Done(tag.into())
    }
}
