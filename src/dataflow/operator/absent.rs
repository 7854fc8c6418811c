//! In the place of an operator that could not be built. Its relation has failed, so nothing is ever asked of it; but the dataflow around it
//! has to be the same on every worker.

use super::{Operator, Piece, Route};
use weir_sql::{Error, Result};
use weir_storage::arrangement::Arrangement;
use weir_storage::{Delta, Epoch};

pub struct Absent {
    pub inputs: usize,
}

impl Operator for Absent {
    fn routes(&self) -> Vec<Route> {
        vec![Route::Stay; self.inputs]
    }

    fn arrangements(&self) -> &[Arrangement] {
        &[]
    }

    fn begin(&mut self, _: Epoch, _: Vec<Vec<Delta>>) -> Result<()> {
        Err(Error::internal("an operator that was not built was given rows"))
    }

    fn poll(&mut self, _: usize) -> Result<Piece> {
        Ok(Piece::Done)
    }
}
