//! How a plan is stored: nodes as a list, in which each comes after its inputs and names them by their places, and all expressions of
//! all nodes as another. However deep a plan is, its JSON is not, so that no decoder's limit is met by what was written.
//!
//! Plans of the first version are nested. They are read as well, as far as they are not too deep for a decoder of JSON.

use super::{Aggregate, JoinKind, Node, Operator, Plan, VERSION};
use crate::catalog::RelationId;
use crate::error::{Error, Result};
use crate::scalar::flat::{Flat, Place, Reader, Writer};
use crate::types::Column;
use serde::{Deserialize, Serialize, Serializer};

#[derive(Serialize)]
struct Stored {
    version: u32,
    scalars: Vec<Flat>,
    /// The last one is the root.
    nodes: Vec<FlatNode>,
    key: Option<Vec<usize>>,
}

/// A plan of either version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    version: u32,
    #[serde(default)]
    scalars: Vec<Flat>,
    #[serde(default)]
    nodes: Vec<FlatNode>,
    #[serde(default)]
    root: Option<Node>,
    key: Option<Vec<usize>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlatNode {
    operator: FlatOperator,
    columns: Vec<Column>,
}

/// As [`Operator`]; inputs are places of nodes, expressions places of scalars.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum FlatOperator {
    Scan {
        relation: RelationId,
        name: String,
        projection: Vec<usize>,
    },
    Values {
        rows: Vec<Vec<Place>>,
    },
    Map {
        input: Place,
        filter: Option<Place>,
        project: Vec<Place>,
    },
    Join {
        kind: JoinKind,
        left: Place,
        right: Place,
        keys: Vec<(usize, usize)>,
        null_equal: bool,
        residual: Option<Place>,
    },
    Reduce {
        input: Place,
        group: Vec<usize>,
        aggregates: Vec<Aggregate>,
    },
    Distinct {
        input: Place,
    },
    Union {
        inputs: Vec<Place>,
    },
    Negate {
        input: Place,
    },
    Threshold {
        input: Place,
    },
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Stored::from(self).serialize(serializer)
    }
}

impl From<&Plan> for Stored {
    fn from(plan: &Plan) -> Self {
        let (mut scalars, mut nodes, mut places) = (Writer::default(), vec![], vec![]);
        let mut open = vec![(&plan.root, false)];
        while let Some((node, ready)) = open.pop() {
            let inputs = node.inputs();
            if !ready && !inputs.is_empty() {
                open.push((node, true));
                open.extend(inputs.into_iter().rev().map(|input| (input, false)));
                continue;
            }
            let own = places.split_off(places.len() - inputs.len());
            nodes.push(FlatNode { operator: flat(&node.operator, own, &mut scalars), columns: node.columns.clone() });
            places.push(nodes.len() - 1);
        }
        Self { version: VERSION, scalars: scalars.finish(), nodes, key: plan.key.clone() }
    }
}

/// `inputs` are the places of [`Node::inputs`].
fn flat(operator: &Operator, inputs: Vec<Place>, scalars: &mut Writer) -> FlatOperator {
    let mut places = inputs.iter().copied();
    let mut next = || places.next().expect("as many places as inputs");
    match operator {
        Operator::Scan { relation, name, projection } => {
            FlatOperator::Scan { relation: *relation, name: name.clone(), projection: projection.clone() }
        }
        Operator::Values { rows } => FlatOperator::Values { rows: rows.iter().map(|row| scalars.all(row)).collect() },
        Operator::Map { filter, project, .. } => FlatOperator::Map {
            input: next(),
            filter: filter.as_ref().map(|filter| scalars.add(filter)),
            project: scalars.all(project),
        },
        Operator::Join { kind, keys, null_equal, residual, .. } => FlatOperator::Join {
            kind: *kind,
            left: next(),
            right: next(),
            keys: keys.clone(),
            null_equal: *null_equal,
            residual: residual.as_ref().map(|residual| scalars.add(residual)),
        },
        Operator::Reduce { group, aggregates, .. } => {
            FlatOperator::Reduce { input: next(), group: group.clone(), aggregates: aggregates.clone() }
        }
        Operator::Distinct { .. } => FlatOperator::Distinct { input: next() },
        Operator::Union { .. } => FlatOperator::Union { inputs },
        Operator::Negate { .. } => FlatOperator::Negate { input: next() },
        Operator::Threshold { .. } => FlatOperator::Threshold { input: next() },
    }
}

impl TryFrom<Read> for Plan {
    type Error = String;

    fn try_from(read: Read) -> std::result::Result<Self, String> {
        let Read { version, scalars, nodes, root, key } = read;
        let flat = scalars.len() + nodes.len();
        let root = match (version, root) {
            (1, Some(root)) if flat == 0 => Ok(root),
            (VERSION, None) => nested(Reader::new(scalars).map_err(|e| e.message)?, nodes),
            (1 | VERSION, _) => Err(Error::internal(format!("a plan of version {version} is incomplete"))),
            (other, _) => Err(Error::internal(format!("a plan has version {other}; this Weir reads up to {VERSION}"))),
        };
        Ok(Self { root: root.map_err(|e| e.message)?, key })
    }
}

fn nested(mut scalars: Reader, nodes: Vec<FlatNode>) -> Result<Node> {
    let mut ready: Vec<Option<Node>> = vec![];
    for FlatNode { operator, columns } in nodes {
        let operator = whole(operator, &mut ready, &mut scalars)?;
        ready.push(Some(Node { operator, columns }));
    }
    let root = ready.pop().flatten().ok_or_else(|| Error::internal("a stored plan without nodes"))?;
    scalars.finish()?;
    match ready.iter().position(Option::is_some) {
        None => Ok(root),
        Some(place) => Err(Error::internal(format!("stored node {place} is part of nothing"))),
    }
}

fn whole(operator: FlatOperator, ready: &mut [Option<Node>], scalars: &mut Reader) -> Result<Operator> {
    let mut node = |place: Place| {
        let found = ready.get_mut(place).and_then(Option::take);
        found.ok_or_else(|| Error::internal(format!("stored node {place} is not there or used twice")))
    };
    Ok(match operator {
        FlatOperator::Scan { relation, name, projection } => Operator::Scan { relation, name, projection },
        FlatOperator::Values { rows } => {
            Operator::Values { rows: rows.into_iter().map(|row| scalars.all(row)).collect::<Result<_>>()? }
        }
        FlatOperator::Map { input, filter, project } => Operator::Map {
            input: Box::new(node(input)?),
            filter: filter.map(|place| scalars.take(place)).transpose()?,
            project: scalars.all(project)?,
        },
        FlatOperator::Join { kind, left, right, keys, null_equal, residual } => Operator::Join {
            kind,
            left: Box::new(node(left)?),
            right: Box::new(node(right)?),
            keys,
            null_equal,
            residual: residual.map(|place| scalars.take(place)).transpose()?,
        },
        FlatOperator::Reduce { input, group, aggregates } => {
            Operator::Reduce { input: Box::new(node(input)?), group, aggregates }
        }
        FlatOperator::Distinct { input } => Operator::Distinct { input: Box::new(node(input)?) },
        FlatOperator::Union { inputs } => {
            Operator::Union { inputs: inputs.into_iter().map(node).collect::<Result<_>>()? }
        }
        FlatOperator::Negate { input } => Operator::Negate { input: Box::new(node(input)?) },
        FlatOperator::Threshold { input } => Operator::Threshold { input: Box::new(node(input)?) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::Scalar;
    use crate::types::Type;
    use serde_json::json;

    fn column() -> Column {
        Column { name: "a".into(), kind: Type::Int4, nullable: true }
    }

    fn scan() -> Node {
        let operator = Operator::Scan { relation: RelationId(7), name: "t".into(), projection: vec![0] };
        Node { operator, columns: vec![column()] }
    }

    fn map(input: Node, value: Scalar) -> Node {
        let operator = Operator::Map { input: Box::new(input), filter: None, project: vec![value] };
        Node { operator, columns: vec![column()] }
    }

    /// `a + a + …` as nested calls, `count` of them.
    fn calls(count: usize) -> Scalar {
        let a = || Scalar::Column { index: 0, kind: Type::Int4 };
        (0..count).fold(a(), |sum, _| Scalar::Call {
            function: "+".into(),
            arguments: vec![sum, a()],
            kind: Type::Int4,
        })
    }

    fn bytes(plan: &Plan) -> Vec<u8> {
        // As a start does it: by way of a value, with the decoder's own limit.
        let value: serde_json::Value = serde_json::from_slice(&serde_json::to_vec(plan).unwrap()).unwrap();
        serde_json::to_vec(&value).unwrap()
    }

    #[test]
    fn a_plan_of_any_depth_is_read_as_it_was_written() {
        for count in [0, 40, 1_000, 10_000] {
            let plan = Plan { root: map(scan(), calls(count)), key: Some(vec![0]) };
            let written = bytes(&plan);
            let read: Plan = serde_json::from_slice(&written).unwrap();
            assert_eq!(bytes(&read), written);
            let Operator::Map { project, .. } = &read.root.operator else { panic!("{:?}", read.root.operator) };
            assert_eq!(project[0].depth(), count + 1);
        }
        let deep = (0..300).fold(scan(), |input, _| map(input, calls(1)));
        let plan = Plan { root: deep, key: None };
        assert_eq!(serde_json::from_slice::<Plan>(&bytes(&plan)).unwrap(), plan);
    }

    #[test]
    fn a_nested_plan_of_the_first_version_is_read() {
        let a = json!({"Column": {"index": 0, "kind": "Int4"}});
        let columns = json!([{"name": "a", "kind": "Int4", "nullable": true}]);
        let scan = json!({"operator": {"Scan": {"relation": 7, "name": "t", "projection": [0]}}, "columns": columns});
        let sum = json!({"Call": {"function": "+", "arguments": [a, a], "kind": "Int4"}});
        let map = json!({"Map": {"input": scan, "filter": null, "project": [sum]}});
        let old = json!({"version": 1, "root": {"operator": map, "columns": columns}, "key": null});
        let expected = Plan { root: super::tests::map(super::tests::scan(), calls(1)), key: None };
        assert_eq!(serde_json::from_value::<Plan>(old).unwrap(), expected);
    }

    #[test]
    fn what_is_not_a_plan_is_refused() {
        let good = serde_json::to_value(Plan { root: map(scan(), calls(1)), key: None }).unwrap();
        let changed = |path: &str, value: serde_json::Value| {
            let mut plan = good.clone();
            *plan.pointer_mut(path).unwrap() = value;
            serde_json::from_value::<Plan>(plan).unwrap_err().to_string()
        };
        assert!(changed("/version", json!(3)).contains("version 3"));
        assert!(changed("/version", json!(1)).contains("incomplete"));
        assert!(changed("/nodes", json!([])).contains("without nodes"));
        assert!(changed("/nodes/1/operator/Map/input", json!(1)).contains("is not there"));
        assert!(changed("/nodes/1/operator/Map/project", json!([2, 2])).contains("used twice"));
        assert!(changed("/nodes/1/operator/Map/project", json!([])).contains("part of nothing"));
        assert!(changed("/scalars/2/Call/arguments", json!([2, 3])).contains("is not there"));
        assert!(changed("/scalars/2", json!({"Frobnicate": {}})).contains("unknown variant"));
    }
}
