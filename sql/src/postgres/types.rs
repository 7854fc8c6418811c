//! PostgreSQL's types: names, numbers, categories.

use super::list::{lines, number, present};
use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

/// A type by PostgreSQL's number for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Oid(pub u32);

pub const BOOL: Oid = Oid(16);
pub const NAME: Oid = Oid(19);
pub const INT2VECTOR: Oid = Oid(22);
pub const TEXT: Oid = Oid(25);
pub const OID: Oid = Oid(26);
pub const OIDVECTOR: Oid = Oid(30);
/// A literal without a type of its own, and NULL.
pub const UNKNOWN: Oid = Oid(705);
pub const RECORD: Oid = Oid(2249);
pub const ANY: Oid = Oid(2276);

/// What kind of thing a type is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Base,
    /// Only of arguments and results of functions.
    Pseudo,
    Range,
    Multirange,
}

/// A type as pg_type has it.
#[derive(Debug)]
pub struct Type {
    pub oid: Oid,
    pub name: &'static str,
    pub kind: Kind,
    /// Types of one category can stand for each other.
    pub category: char,
    /// Chosen before others of its category.
    pub is_preferred: bool,
    /// What an array, or what can be subscripted like one, consists of.
    pub element: Option<Oid>,
    pub array: Option<Oid>,
    /// Bytes; -1: it varies.
    pub length: i16,
    /// How PostgreSQL lays out values, in letters of pg_type.
    pub alignment: char,
    pub storage: char,
    pub collation: Option<u32>,
    pub functions: Functions,
}

/// What knows a type's values: functions of [`super::functions`].
#[derive(Debug)]
pub struct Functions {
    pub input: Option<u32>,
    pub output: Option<u32>,
    pub receive: Option<u32>,
    pub send: Option<u32>,
    /// Of a length or a precision.
    pub modifier_input: Option<u32>,
    pub modifier_output: Option<u32>,
    pub subscript: Option<u32>,
    pub analyze: Option<u32>,
}

impl Functions {
    pub fn all(&self) -> impl Iterator<Item = u32> {
        let Self { input, output, receive, send, modifier_input, modifier_output, subscript, analyze } = *self;
        [input, output, receive, send, modifier_input, modifier_output, subscript, analyze].into_iter().flatten()
    }
}

/// The category of text.
pub const STRING: char = 'S';

struct Types {
    all: Vec<Type>,
    by_oid: HashMap<Oid, usize>,
    by_name: HashMap<&'static str, usize>,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let read = |fields: [&'static str; 19]| {
        let [oid, name, kind, category, preferred, element, array, length, alignment, storage, collation, rest @ ..] =
            fields;
        let [input, output, receive, send, modifier_input, modifier_output, subscript, analyze] =
            rest.map(|field| present(field).map(number));
        Type {
            oid: Oid(number(oid)),
            name,
            kind: match kind {
                "p" => Kind::Pseudo,
                "r" => Kind::Range,
                "m" => Kind::Multirange,
                _ => Kind::Base,
            },
            category: letter(category),
            is_preferred: preferred == "t",
            element: present(element).map(|oid| Oid(number(oid))),
            array: present(array).map(|oid| Oid(number(oid))),
            length: number(length),
            alignment: letter(alignment),
            storage: letter(storage),
            collation: present(collation).map(number),
            functions: Functions { input, output, receive, send, modifier_input, modifier_output, subscript, analyze },
        }
    };
    let all: Vec<Type> = lines(include_str!("types.txt")).map(read).collect();
    let by_oid = all.iter().enumerate().map(|(at, kind)| (kind.oid, at)).collect();
    let by_name = all.iter().enumerate().map(|(at, kind)| (kind.name, at)).collect();
    Types { all, by_oid, by_name }
});

fn letter(field: &str) -> char {
    field.chars().next().expect("a letter")
}

/// All types, by number.
pub fn all() -> &'static [Type] {
    &TYPES.all
}

/// By PostgreSQL's own name: `int4`.
pub fn named(name: &str) -> Option<&'static Type> {
    TYPES.by_name.get(name).map(|at| &TYPES.all[*at])
}

/// A number of a list beside this file.
pub(super) fn of(name: &'static str) -> Oid {
    named(name).expect("lists name types that are listed").oid
}

impl Oid {
    pub fn entry(self) -> Option<&'static Type> {
        TYPES.by_oid.get(&self).map(|at| &TYPES.all[*at])
    }

    /// `None` of a type that is not listed.
    pub fn category(self) -> Option<char> {
        self.entry().map(|kind| kind.category)
    }

    pub fn is_preferred(self) -> bool {
        self.entry().is_some_and(|kind| kind.is_preferred)
    }

    /// Of an array, and of the catalogs' vectors: not of what is subscripted in another way.
    pub fn element(self) -> Option<Oid> {
        let element = self.entry()?.element?;
        (self.is_vector() || element.entry()?.array == Some(self)).then_some(element)
    }

    fn is_vector(self) -> bool {
        self == INT2VECTOR || self == OIDVECTOR
    }

    pub fn array(self) -> Option<Oid> {
        self.entry()?.array
    }
}

/// As SQL writes it: `integer`, `character varying[]`.
impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(element) = self.element().filter(|_| !self.is_vector()) {
            return write!(f, "{element}[]");
        }
        let Some(kind) = self.entry() else { return write!(f, "type {}", self.0) };
        f.write_str(match kind.name {
            "bool" => "boolean",
            "char" => "\"char\"",
            "int2" => "smallint",
            "int4" => "integer",
            "int8" => "bigint",
            "float4" => "real",
            "float8" => "double precision",
            "bpchar" => "character",
            "varchar" => "character varying",
            "time" => "time without time zone",
            "timetz" => "time with time zone",
            "timestamp" => "timestamp without time zone",
            "timestamptz" => "timestamp with time zone",
            "varbit" => "bit varying",
            "any" => "\"any\"",
            name => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_sql_writes_them() {
        for (name, written) in [("_varchar", "character varying[]"), ("int2vector", "int2vector"), ("any", "\"any\"")] {
            assert_eq!(of(name).to_string(), written);
        }
        assert_eq!(Oid(4_000_000_000).to_string(), "type 4000000000");
    }

    #[test]
    fn an_array_and_its_element_name_each_other() {
        for kind in all() {
            let Some(array) = kind.array else { continue };
            assert_eq!(array.element(), Some(kind.oid), "{}", kind.name);
        }
        assert_eq!(INT2VECTOR.element(), Some(of("int2")));
        assert_eq!(of("point").element(), None, "its coordinates can be subscripted, and it is no array");
    }
}
