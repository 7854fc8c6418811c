//! Join: pairs of rows that agree on the keys and satisfy the residual; outer, semi, anti and mark joins beside.
//!
//! Both sides are kept, indexed by their key. An epoch's input is taken slice by slice: first the left side's against the right
//! as of the epoch before, then the right side's against the left as of this epoch. Each slice is a whole step from one state of
//! the two sides to the next, so that the answers add up whatever changes together: dL × R(e-1) + L(e) × dR. A slice goes
//! through the stages of [`Stage`], each of which stops when the budget is spent.
//!
//! A row's matches matter for what the output has of it by itself ([`kind`]). Without a residual all rows of a key have a match
//! or none has, and only a key's coming and going on the other side changes that: a hot key costs O(1) per change unless it
//! flips. With one, matches are counted per row ([`matches`]). Rows with a NULL in the key match nothing and are not kept.

mod kind;
mod matches;
mod product;
mod residual;
#[cfg(test)]
mod tests;
mod walk;

use self::kind::{Side, alone, by_itself, pairs};
use self::matches::{Entry, Touched};
use self::product::{Before, Products};
use self::residual::Residual;
use self::walk::Walk;
use super::group::firsts;
use super::step::{BATCH, Out, Slices, Steps, batch, internal, take, weights};
use super::{Route, Specs, weight};
use crate::dataflow::errors::RowErrors;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use std::collections::VecDeque;
use std::sync::Arc;
use weir_sql::Result;
use weir_sql::plan::JoinKind;
use weir_sql::scalar::Scalar;
use weir_storage::arrangement::{Arrangement, Kind, Matches, Spec};
use weir_storage::key::{Keys, row_hashes};
use weir_storage::{Delta, Epoch};

/// What a join is, as the plan says it.
pub(super) struct JoinSpec<'a> {
    pub kind: JoinKind,
    /// Left, right.
    pub inputs: [SchemaRef; 2],
    pub keys: &'a [(usize, usize)],
    pub null_equal: bool,
    pub residual: Option<&'a Scalar>,
    pub output: SchemaRef,
}

pub(super) struct Join {
    kind: JoinKind,
    keys: [Vec<usize>; 2],
    null_equal: bool,
    residual: Option<Residual>,
    /// Left columns, then right columns.
    pairs: SchemaRef,
    output: SchemaRef,
    arrangements: Vec<Arrangement>,
    /// Index of the arrangement that counts a side's matches.
    matches: [Option<usize>; 2],
    epoch: Epoch,
    inputs: VecDeque<(Side, Slices)>,
    part: Option<Part>,
}

/// A slice of one side's input on its way.
struct Part {
    side: Side,
    rows: Delta,
    keys: Keys,
    before: Before,
    /// For each row the weight of its matches, as far as they have been found.
    matched: Vec<i128>,
    touched: Touched,
    stage: Stage,
}

enum Stage {
    /// Pairing the rows with the other side.
    Pairs(Walk),
    /// All pairs are known: the rows themselves, and their way into the arrangement.
    Own,
    /// Rows of the other side whose key came (or went) on this side.
    Flips { keys: Keys, came: Vec<bool>, walk: Walk },
    /// Rows of the other side whose number of matches changed.
    Touched,
}

impl JoinSpec<'_> {
    fn key(&self, side: Side) -> Vec<usize> {
        let of = |&(left, right): &(usize, usize)| if side == Side::Left { left } else { right };
        self.keys.iter().map(of).collect()
    }

    /// Whether matches are counted per row of `side`.
    fn counts(&self, side: Side) -> bool {
        self.residual.is_some() && alone(self.kind, side)
    }

    pub fn check(&self) -> Result<()> {
        self.residual.map_or(Ok(()), |condition| Residual::new(condition, &self.pairs()).map(drop))
    }

    /// Left columns, then right columns.
    fn pairs(&self) -> SchemaRef {
        let fields = self.inputs.iter().flat_map(|schema| schema.fields().iter().cloned());
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// By which columns each of the arrangements is placed: the join key, wherever it stands.
    pub fn placed(&self) -> Vec<Vec<usize>> {
        let counted = [Side::Left, Side::Right].into_iter().filter(|&side| self.counts(side));
        let counts = counted.map(|_| (0..self.keys.len()).collect());
        [self.key(Side::Left), self.key(Side::Right)].into_iter().chain(counts).collect()
    }

    /// The sides, then what counts the matches of the left and of the right.
    pub fn specs(&self) -> Specs {
        let bag = |side: Side| Spec { kind: Kind::Bag, schema: self.inputs[side.index()].clone(), key: self.key(side) };
        let counted = [Side::Left, Side::Right].into_iter().filter(|&side| self.counts(side));
        let counts = counted.map(|side| matches::spec(&self.inputs[side.index()], &self.key(side)));
        [bag(Side::Left), bag(Side::Right)].into_iter().chain(counts).collect()
    }
}

impl Join {
    pub fn new(spec: JoinSpec, arrangements: Vec<Arrangement>) -> Result<Self> {
        let pairs = spec.pairs();
        let left = spec.counts(Side::Left).then_some(2);
        let right = spec.counts(Side::Right).then_some(2 + usize::from(left.is_some()));
        Ok(Self {
            kind: spec.kind,
            keys: [spec.key(Side::Left), spec.key(Side::Right)],
            null_equal: spec.null_equal,
            residual: spec.residual.map(|condition| Residual::new(condition, &pairs)).transpose()?,
            pairs,
            output: spec.output,
            arrangements,
            matches: [left, right],
            epoch: Epoch::ZERO,
            inputs: VecDeque::new(),
            part: None,
        })
    }

    fn rows(&self, side: Side) -> &Arrangement {
        &self.arrangements[side.index()]
    }

    fn matches(&self, side: Side) -> Option<&Arrangement> {
        self.matches[side.index()].map(|index| &self.arrangements[index])
    }

    fn key_columns(&self, side: Side, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.keys[side.index()].iter().map(|&column| rows.column(column).clone()).collect()
    }

    /// The next slice of input, if there is one; rows with a NULL in the key are done at once.
    fn start(&mut self, budget: usize, out: &mut Out) -> Result<Option<usize>> {
        let Some((side, slices)) = self.inputs.front_mut() else { return Ok(None) };
        let side = *side;
        let Some(rows) = slices.next(budget) else {
            self.inputs.pop_front();
            return self.start(budget, out);
        };
        let work = rows.len();
        let keys = Keys::of(rows.rows(), &self.keys[side.index()]).map_err(internal)?;
        let (rows, keys) = self.matchable(side, rows, keys, out)?;
        let paired = pairs(self.kind) || self.residual.is_some();
        let stage = match paired {
            true => Stage::Pairs(Walk::default()),
            false => Stage::Own,
        };
        let before = if paired { product::before(self.rows(side), &rows, self.rows(side.other()))? } else { None };
        let matched = vec![0; rows.len()];
        self.part = Some(Part { side, rows, keys, before, matched, touched: Touched::default(), stage });
        Ok(Some(work))
    }

    /// `rows` without those that can match nothing.
    fn matchable(&self, side: Side, rows: Delta, keys: Keys, out: &mut Out) -> Result<(Delta, Keys)> {
        let is_null = |&row: &u32| keys.has_null(row as usize);
        let all = 0..rows.len() as u32;
        if self.null_equal || !all.clone().any(|row| is_null(&row)) {
            return Ok((rows, keys));
        }
        let (null, rest): (Vec<u32>, Vec<u32>) = all.partition(is_null);
        if alone(self.kind, side) {
            self.emit(side, &take(rows.rows(), &null)?, weights(&rows, &null), false, out)?;
        }
        let keys = keys.take(&rest).map_err(internal)?;
        Ok((Delta::new(take(rows.rows(), &rest)?, weights(&rows, &rest)), keys))
    }

    fn emit(&self, side: Side, rows: &RecordBatch, weights: Vec<i64>, matched: bool, out: &mut Out) -> Result<()> {
        if let Some(rows) = by_itself(self.kind, side, rows, matched, &self.output)? {
            out.rows(Delta::new(rows, weights));
        }
        Ok(())
    }

    /// Rows of `side`, some of them having a match and some not.
    fn emit_each(&self, side: Side, rows: &Delta, matched: impl Fn(usize) -> bool, out: &mut Out) -> Result<()> {
        let (with, without): (Vec<u32>, Vec<u32>) = (0..rows.len() as u32).partition(|&row| matched(row as usize));
        for (chosen, matched) in [(with, true), (without, false)] {
            self.emit(side, &take(rows.rows(), &chosen)?, weights(rows, &chosen), matched, out)?;
        }
        Ok(())
    }

    /// Rows of `side` that have got a match, or have lost their last.
    fn emit_flips(&self, side: Side, rows: &Delta, came: impl Fn(usize) -> bool, out: &mut Out) -> Result<()> {
        self.emit_each(side, rows, &came, out)?;
        self.emit_each(side, &rows.negate(), |row| !came(row), out)
    }

    /// One bounded piece of [`Stage::Pairs`].
    fn pair(&self, part: &mut Part, budget: usize, out: &mut Out) -> Result<Option<usize>> {
        let Stage::Pairs(walk) = &mut part.stage else { unreachable!("called in this stage") };
        let other = self.rows(part.side.other()).latest();
        let Some((matches, work)) = walk.next(&other, &part.keys, budget) else {
            part.stage = Stage::Own;
            return Ok(Some(0));
        };
        if !matches.is_empty() {
            let theirs = other.gather(&matches, None).map_err(internal)?;
            self.join(part, &matches, theirs, out)?;
        }
        Ok(Some(work))
    }

    /// Puts the rows of `matches` together and judges them.
    fn join(&self, part: &mut Part, matches: &Matches, theirs: RecordBatch, out: &mut Out) -> Result<()> {
        let ours = take(part.rows.rows(), &matches.probes)?;
        let (left, right) = if part.side == Side::Left { (&ours, &theirs) } else { (&theirs, &ours) };
        let columns = left.columns().iter().chain(right.columns()).cloned().collect();
        let products = Products::of(&part.rows, &part.before, matches);
        let joined = batch(&self.pairs, columns, matches.len())?;
        let Some(residual) = &self.residual else {
            for (&row, &weight) in matches.probes.iter().zip(&matches.weights) {
                part.matched[row as usize] += i128::from(weight);
            }
            return self.emit_pairs(joined, products, None, out);
        };
        let mut failed = RowErrors::new("join");
        let judged = Delta::new(joined.clone(), products.weights.clone());
        let chosen = residual.matching(&judged, &mut failed)?;
        out.errors(failed);
        for &pair in &chosen {
            part.matched[matches.probes[pair as usize] as usize] += i128::from(matches.weights[pair as usize]);
        }
        if alone(self.kind, part.side.other()) {
            let own = |&pair: &u32| part.rows.weights()[matches.probes[pair as usize] as usize];
            part.touched.add(&take(&theirs, &chosen)?, &chosen.iter().map(own).collect::<Vec<_>>())?;
        }
        if pairs(self.kind) {
            self.emit_pairs(joined, products, Some(&chosen), out)?;
        }
        Ok(())
    }

    /// `chosen` of the pairs, or all.
    fn emit_pairs(&self, pairs: RecordBatch, products: Products, chosen: Option<&[u32]>, out: &mut Out) -> Result<()> {
        let all: Vec<u32>;
        let chosen = match chosen {
            None if products.errors.is_empty() => {
                let len = pairs.num_rows();
                out.rows(Delta::new(batch(&self.output, pairs.columns().to_vec(), len)?, products.weights));
                return Ok(());
            }
            Some(chosen) => chosen,
            None => {
                all = (0..pairs.num_rows() as u32).collect();
                &all
            }
        };
        let pairs = take(&pairs, chosen)?;
        if !products.errors.is_empty() {
            let mut failed = RowErrors::new("join");
            let errors: Vec<i64> = chosen.iter().map(|&pair| products.errors[pair as usize]).collect();
            weight::report(&pairs, &errors, &mut failed)?;
            out.errors(failed);
        }
        let rows = batch(&self.output, pairs.columns().to_vec(), pairs.num_rows())?;
        out.rows(Delta::new(rows, products.counted(chosen)));
        Ok(())
    }

    /// [`Stage::Own`]: what the output has of the rows by themselves; then they enter the arrangement, and what that means for
    /// the other side is the next stage.
    fn settle(&self, part: &mut Part, out: &mut Out) -> Result<Option<Stage>> {
        let (side, other) = (part.side, part.side.other());
        if alone(self.kind, side) {
            if !pairs(self.kind) && self.residual.is_none() {
                let found = self.rows(other).latest().contains(&part.keys);
                self.emit_each(side, &part.rows, |row| found[row], out)?;
            } else {
                self.emit_each(side, &part.rows, |row| part.matched[row] > 0, out)?;
            }
        }
        if self.residual.is_none() && alone(self.kind, other) {
            return self.flipped(part).map(Some);
        }
        self.rows(side).apply(self.epoch, &part.rows).map_err(crate::dataflow::internal)?;
        if let Some(counts) = self.matches(side) {
            let hashes = row_hashes(part.rows.rows()).map_err(internal)?;
            let keys = self.key_columns(side, part.rows.rows());
            // The arrangement has just taken the same sum.
            matches::update(counts, self.epoch, keys, &hashes, |row, old| Entry {
                weight: old.weight + part.rows.weights()[row],
                matches: part.matched[row],
            })?;
        }
        Ok(self.matches(other).map(|_| Stage::Touched))
    }

    /// Applies the rows; the keys that they made come or go are the next stage.
    fn flipped(&self, part: &Part) -> Result<Stage> {
        let rows = self.rows(part.side);
        let keys = part.keys.take(&firsts(&part.keys)).map_err(internal)?;
        let before = rows.latest().contains(&keys);
        rows.apply(self.epoch, &part.rows).map_err(crate::dataflow::internal)?;
        let after = rows.latest().contains(&keys);
        let flips: Vec<u32> = (0..keys.len() as u32).filter(|&k| before[k as usize] != after[k as usize]).collect();
        let came = flips.iter().map(|&key| after[key as usize]).collect();
        Ok(Stage::Flips { keys: keys.take(&flips).map_err(internal)?, came, walk: Walk::default() })
    }

    /// One bounded piece of [`Stage::Flips`].
    fn flip(&self, part: &mut Part, budget: usize, out: &mut Out) -> Result<Option<usize>> {
        let Stage::Flips { keys, came, walk } = &mut part.stage else { unreachable!("called in this stage") };
        let other = part.side.other();
        let snapshot = self.rows(other).latest();
        let Some((matches, work)) = walk.next(&snapshot, keys, budget) else { return Ok(None) };
        let rows = snapshot.gather(&matches, None).map_err(internal)?;
        let rows = Delta::new(rows, matches.weights.clone());
        self.emit_flips(other, &rows, |row| came[matches.probes[row] as usize], out)?;
        Ok(Some(work))
    }

    /// One bounded piece of [`Stage::Touched`].
    fn touch(&self, part: &mut Part, budget: usize, out: &mut Out) -> Result<Option<usize>> {
        let other = part.side.other();
        let counts = self.matches(other).expect("rows are touched where matches are counted");
        let Some((rows, hashes, changes)) = part.touched.next(budget.min(BATCH))? else { return Ok(None) };
        let keys = self.key_columns(other, &rows);
        let entries = matches::update(counts, self.epoch, keys, &hashes, |row, old| Entry {
            matches: old.matches + changes[row],
            ..old
        })?;
        let after = |row: usize| entries[row].matches + changes[row];
        let flipped = |&row: &u32| (entries[row as usize].matches > 0) != (after(row as usize) > 0);
        let flips: Vec<u32> = (0..hashes.len() as u32).filter(flipped).collect();
        let weights: Vec<i64> = flips.iter().map(|&row| entries[row as usize].weight).collect();
        let rows = Delta::new(take(&rows, &flips)?, weights);
        self.emit_flips(other, &rows, |row| after(flips[row] as usize) > 0, out)?;
        Ok(Some(hashes.len()))
    }

    /// Goes on with `part`: the work done, and whether there is more.
    fn advance(&self, part: &mut Part, budget: usize, out: &mut Out) -> Result<(usize, bool)> {
        let done = match &part.stage {
            Stage::Pairs(_) => self.pair(part, budget, out)?,
            Stage::Own => match self.settle(part, out)? {
                Some(stage) => {
                    part.stage = stage;
                    Some(part.rows.len())
                }
                None => return Ok((part.rows.len(), false)),
            },
            Stage::Flips { .. } => self.flip(part, budget, out)?,
            Stage::Touched => self.touch(part, budget, out)?,
        };
        Ok((done.unwrap_or(0), done.is_some()))
    }
}

impl Steps for Join {
    fn routes(&self) -> Vec<Route> {
        self.keys.iter().cloned().map(Route::Key).collect()
    }

    fn arrangements(&self) -> &[Arrangement] {
        &self.arrangements
    }

    fn schema(&self) -> &SchemaRef {
        &self.output
    }

    fn begin(&mut self, epoch: Epoch, inputs: Vec<Vec<Delta>>) -> Result<()> {
        self.epoch = epoch;
        self.inputs = [Side::Left, Side::Right].into_iter().zip(inputs.into_iter().map(Slices::new)).collect();
        Ok(())
    }

    fn step(&mut self, budget: usize, out: &mut Out) -> Result<Option<usize>> {
        let Some(mut part) = self.part.take() else { return self.start(budget, out) };
        let (work, more) = self.advance(&mut part, budget, out)?;
        if more {
            self.part = Some(part);
        }
        Ok(Some(work))
    }
}
