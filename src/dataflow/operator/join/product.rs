//! The weights of pairs, which are products.
//!
//! Mostly all weights are so small that no product can be beyond what a weight can say, which is known from the largest
//! ones alone. If it is not, it matters how often a row was there before: a pair that comes to be beyond is an error
//! from then on, and its row goes.

use crate::dataflow::operator::weight;
use weir_sql::Result;
use weir_storage::Delta;
use weir_storage::arrangement::{Arrangement, Matches};

/// How often the rows of a slice were there before, if that has to be known.
pub(super) type Before = Option<Vec<i64>>;

/// `own` has what was before `rows` of its side, `other` what they are paired with.
pub(super) fn before(own: &Arrangement, rows: &Delta, other: &Arrangement) -> Result<Before> {
    let most = rows.weights().iter().fold(0, |most, weight| weight.unsigned_abs().max(most));
    let own_most = u128::from(most) + own.heaviest() as u128;
    if own_most * other.heaviest() as u128 <= i64::MAX as u128 {
        return Ok(None);
    }
    own.weights(rows.rows()).map(Some).map_err(crate::dataflow::internal)
}

/// What some pairs change.
pub(super) struct Products {
    /// Of the rows. Of a pair that is beyond, only as much as can be said.
    pub weights: Vec<i64>,
    /// Of the errors of pairs that are beyond; empty if there are none.
    pub errors: Vec<i64>,
}

impl Products {
    pub fn of(rows: &Delta, before: &Before, matches: &Matches) -> Self {
        let pairs = || matches.probes.iter().map(|&row| row as usize).zip(&matches.weights);
        let Some(before) = before else {
            let weights = pairs().map(|(row, other)| rows.weights()[row] * other).collect();
            return Self { weights, errors: vec![] };
        };
        let change = |(row, &other): (usize, &i64)| {
            let (old, other) = (i128::from(before[row]), i128::from(other));
            let (weight, error) =
                weight::change(old * other, (old + i128::from(rows.weights()[row])).saturating_mul(other));
            (weight + error * i64::MAX, error)
        };
        let (weights, errors): (Vec<i64>, Vec<i64>) = pairs().map(change).unzip();
        let errors = if errors.iter().all(|&error| error == 0) { vec![] } else { errors };
        Self { weights, errors }
    }

    /// The weights without those of pairs that are beyond.
    pub fn counted(&self, pairs: &[u32]) -> Vec<i64> {
        let error = |pair: usize| self.errors.get(pair).copied().unwrap_or(0);
        pairs.iter().map(|&pair| self.weights[pair as usize] - error(pair as usize) * i64::MAX).collect()
    }
}
