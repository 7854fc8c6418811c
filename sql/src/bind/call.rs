//! Calls of functions and aggregates: what is written, and which of PostgreSQL's it means.

use super::kind::held;
use super::{Binder, internal, position};
use crate::bound::{Aggregate, Bound, Expr, Kind, Order, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::functions::{self, Function, Volatility};
use crate::postgres::resolve;
use crate::postgres::types::Oid;
use crate::session::names::folded;
use datafusion::sql::sqlparser::ast::{
    self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, OrderByExpr,
    OrderByOptions, WindowType,
};

/// Functions that are not immutable for PostgreSQL, because they go by the session's time zone or by output functions, and that are the
/// same as long as the session's settings are. All others tell the time, or of catalogs and settings.
const STABLE: &[&str] = &[
    "array_to_json",
    "array_to_string",
    "concat",
    "concat_ws",
    "convert_from",
    "convert_to",
    "date",
    "date_add",
    "date_part",
    "date_subtract",
    "date_trunc",
    "extract",
    "format",
    "json_agg",
    "json_agg_strict",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "jsonb_build_object",
    "make_timestamptz",
    "quote_literal",
    "quote_nullable",
    "time",
    "timestamp",
    "timestamptz",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
];

/// Words of types and of grammar that are functions' names only in quotes.
const WORDS: &[&str] = &[
    "bit",
    "char",
    "extract",
    "interval",
    "json",
    "normalize",
    "numeric",
    "overlaps",
    "position",
    "time",
    "timestamp",
    "varchar",
];

/// The clause that an aggregate's arguments stand in.
pub const AGGREGATE: &str = "aggregate";

/// A call as it is written.
pub struct Written<'a> {
    pub name: String,
    pub position: Option<usize>,
    /// The name is one word without quotes, so that it may be one of grammar.
    is_word: bool,
    is_qualified: bool,
    pub arguments: Vec<&'a ast::Expr>,
    /// `f(*)`
    pub star: bool,
    pub distinct: bool,
    pub filter: Option<&'a ast::Expr>,
    pub order: &'a [OrderByExpr],
    pub over: Option<&'a WindowType>,
}

/// Takes a call apart. NotYet of what has more to it than [`Written`] holds.
pub fn written(function: &ast::Function) -> Bound<Written<'_>> {
    let ast::Function { name, uses_odbc_syntax, parameters, args, filter, null_treatment, over, within_group } =
        function;
    let (word, is_qualified) = match &name.0[..] {
        [word] => (word.as_ident(), false),
        [schema, word] if schema.as_ident().is_some_and(|schema| folded(schema) == "pg_catalog") => {
            (word.as_ident(), true)
        }
        _ => (None, false),
    };
    let Some(word) = word else { return not_yet(format!("function {name}")) };
    let list = match args {
        FunctionArguments::List(list) => list,
        FunctionArguments::None | FunctionArguments::Subquery(_) => return not_yet(name.to_string().to_uppercase()),
    };
    let is_plain = !*uses_odbc_syntax
        && *parameters == FunctionArguments::None
        && null_treatment.is_none()
        && within_group.is_empty();
    if !is_plain {
        return not_yet(format!("this form of calling {name}"));
    }
    let ast::FunctionArgumentList { duplicate_treatment, args, clauses } = list;
    let order: &[OrderByExpr] = match &clauses[..] {
        [] => &[],
        [FunctionArgumentClause::OrderBy(order)] => order,
        _ => return not_yet(format!("this form of calling {name}")),
    };
    let mut call = Written {
        name: folded(word),
        position: position::of_name(name),
        is_word: word.quote_style.is_none() && !is_qualified,
        is_qualified,
        arguments: vec![],
        star: false,
        distinct: *duplicate_treatment == Some(DuplicateTreatment::Distinct),
        filter: filter.as_deref(),
        order,
        over: over.as_ref(),
    };
    for arg in args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => call.arguments.push(expr),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard)
                if args.len() == 1 && !call.distinct && order.is_empty() =>
            {
                call.star = true;
            }
            _ => return not_yet(format!("such an argument of {name}")),
        }
    }
    Ok(call)
}

/// Whether an aggregate has this name.
pub fn is_aggregate(name: &str) -> bool {
    functions::named(name).iter().any(|function| function.kind == functions::Kind::Aggregate)
}

impl Written<'_> {
    /// The name, if it may be a word of grammar: `coalesce`.
    pub fn word(&self) -> Option<&str> {
        self.is_word.then_some(&*self.name)
    }

    /// Whether there is nothing but arguments.
    pub fn is_plain(&self) -> bool {
        !self.star && !self.distinct && self.filter.is_none() && self.order.is_empty() && self.over.is_none()
    }

    /// What is said of an aggregate where none may stand.
    pub fn misplaced(&self, clause: &str) -> Unbound {
        let message = match clause {
            AGGREGATE => "aggregate function calls cannot be nested".to_string(),
            clause => format!("aggregate functions are not allowed in {clause}"),
        };
        self.wrong("42803", message)
    }

    /// Why there is no such function, as of what is written.
    fn missing(&self, why: Unbound) -> Unbound {
        match why {
            Unbound::Wrong(ref error) if !matches!(error.sqlstate, "42883" | "42725" | "42809") => why,
            why if self.is_qualified => position::located(qualified(why), self.position),
            why => position::located(why, self.position),
        }
    }

    /// An aggregate that takes none was called without a star.
    fn starless(&self) -> Unbound {
        let name = &self.name;
        self.wrong("42809", format!("{name}(*) must be used to call a parameterless aggregate function"))
    }

    fn wrong(&self, sqlstate: &'static str, message: String) -> Unbound {
        Unbound::Wrong(position::placed(Error::new(sqlstate, message), self.position))
    }
}

/// Why there is no function of pg_catalog's.
pub fn qualified(why: Unbound) -> Unbound {
    match why {
        Unbound::Wrong(mut error) => {
            if let Some(rest) = error.message.strip_prefix("function ") {
                error.message = format!("function pg_catalog.{rest}");
            }
            Unbound::Wrong(error)
        }
        other => other,
    }
}

/// A function and what is handed to it.
pub struct Chosen {
    pub function: &'static Function,
    pub arguments: Vec<Expr>,
    pub kind: Kind,
}

impl Binder<'_> {
    /// The call of a function that is no aggregate, with its arguments.
    pub(super) fn called(&mut self, written: &Written, arguments: Vec<Expr>) -> Bound<Expr> {
        let name = &written.name;
        if written.is_word && WORDS.contains(&name.as_str()) {
            return not_yet(format!("{}(…)", name.to_uppercase()));
        }
        let given = match (written.star, written.distinct, written.order.is_empty(), written.filter) {
            (true, ..) => Some(format!("{name}(*)")),
            (_, true, ..) => Some("DISTINCT".into()),
            (_, _, false, _) => Some("ORDER BY".into()),
            (.., Some(_)) => Some("FILTER".into()),
            _ => None,
        };
        let expr = self.function(name, arguments).map_err(|why| written.missing(why))?;
        match given {
            Some(given) => {
                Err(written.wrong("42809", format!("{given} specified, but {name} is not an aggregate function")))
            }
            None => Ok(expr),
        }
    }

    /// The same of a name that needs no words of grammar.
    pub(super) fn function(&mut self, name: &str, arguments: Vec<Expr>) -> Bound<Expr> {
        let kinds: Vec<Oid> = arguments.iter().map(|argument| argument.kind().oid).collect();
        let mut arguments = arguments;
        match resolved(name, &kinds)? {
            resolve::Call::Cast(target) => match arguments.pop() {
                // Of a literal it is a cast, of a parameter a call.
                Some(Expr::Parameter { kind: Kind::UNKNOWN, .. }) | None => not_yet(format!("function {name}")),
                Some(argument) => self.cast(argument, target.into()),
            },
            resolve::Call::Function { function, arguments: wanted, result, .. } => {
                if let Some(told) = self.told(function, &arguments)? {
                    return Ok(told);
                }
                let Chosen { function, arguments, kind } = self.chosen(function, arguments, wanted, result)?;
                match function.kind {
                    functions::Kind::Function => Ok(Expr::Call { function, arguments, kind }),
                    functions::Kind::Window => {
                        let message = format!("window function {name} requires an OVER clause");
                        Err(Unbound::Wrong(Error::new("42809", message)))
                    }
                    _ => not_yet(format!("aggregate {name} here")),
                }
            }
        }
    }

    /// The function that is called, whatever it is, of arguments that are bound for it.
    fn meant(&mut self, written: &Written, arguments: Vec<Expr>) -> Bound<Chosen> {
        let name = &written.name;
        let at = |why| written.missing(why);
        let kinds: Vec<Oid> = arguments.iter().map(|argument| argument.kind().oid).collect();
        match resolved(name, &kinds).map_err(at)? {
            resolve::Call::Function { function, arguments: wanted, result, .. } => {
                self.chosen(function, arguments, wanted, result).map_err(at)
            }
            resolve::Call::Cast(_) => not_yet(format!("{name} as a cast")),
        }
    }

    /// The aggregate that is called, of arguments that are bound for it, in no order yet.
    pub(super) fn aggregated(
        &mut self,
        written: &Written,
        arguments: Vec<Expr>,
        filter: Option<Expr>,
    ) -> Bound<Aggregate> {
        let name = &written.name;
        let Chosen { function, arguments, kind } = self.meant(written, arguments)?;
        if function.kind != functions::Kind::Aggregate {
            return not_yet(format!("function {name}"));
        }
        if arguments.is_empty() && !written.star {
            return Err(written.starless());
        }
        Ok(Aggregate { function, arguments, distinct: written.distinct, filter, order: vec![], kind })
    }

    /// The window function or the aggregate that is called with OVER, of arguments that are bound for it.
    pub(super) fn over(&mut self, written: &Written, arguments: Vec<Expr>) -> Bound<Chosen> {
        let name = &written.name;
        let chosen = self.meant(written, arguments)?;
        let is_aggregate = chosen.function.kind == functions::Kind::Aggregate;
        let is_plain = !written.star && !written.distinct && written.filter.is_none() && written.order.is_empty();
        match chosen.function.kind {
            functions::Kind::Aggregate | functions::Kind::Window => {}
            functions::Kind::Function if is_plain && !WORDS.contains(&name.as_str()) => {
                let message = format!("OVER specified, but {name} is not a window function nor an aggregate function");
                return Err(written.wrong("42809", message));
            }
            _ => return not_yet(format!("{name} OVER")),
        }
        let missing = match () {
            _ if written.distinct => "DISTINCT is not implemented for window functions",
            _ if is_aggregate && chosen.arguments.is_empty() && !written.star => return Err(written.starless()),
            _ if !written.order.is_empty() => "aggregate ORDER BY is not implemented for window functions",
            _ if !is_aggregate && written.filter.is_some() => {
                "FILTER is not implemented for non-aggregate window functions"
            }
            _ if !is_aggregate && written.star => return not_yet(format!("{name}(*) OVER")),
            _ => return Ok(chosen),
        };
        Err(written.wrong("0A000", missing.into()))
    }

    /// The order of an aggregate's rows by `by`, which is written so: one of its arguments is what it became.
    pub(super) fn ordered(
        &mut self,
        aggregate: &Aggregate,
        call: &Written,
        by: Expr,
        written: &OrderByExpr,
    ) -> Bound<Order> {
        let OrderByExpr { expr, options: OrderByOptions { asc, nulls_first }, with_fill: None } = written else {
            return not_yet("WITH FILL");
        };
        let same = call.arguments.iter().position(|argument| *argument == expr && by.kind() != Kind::UNKNOWN);
        let by = match same {
            Some(at) if aggregate.arguments[at].has_subquery() => {
                return not_yet("an aggregate that is ordered by the subquery that it is of");
            }
            Some(at) => aggregate.arguments[at].clone(),
            None => self.settled(by)?,
        };
        self.sortable(by.kind()).map_err(|why| position::located(why, position::of(expr)))?;
        if aggregate.distinct && same.is_none() {
            return not_yet("DISTINCT and another ORDER BY in an aggregate");
        }
        let descending = *asc == Some(false);
        Ok(Order { by, descending, nulls_first: nulls_first.unwrap_or(descending) })
    }

    /// 42883 if DISTINCT cannot tell arguments apart.
    pub(super) fn told_apart(&self, aggregate: &Aggregate, call: &Written) -> Bound<()> {
        for (argument, written) in aggregate.arguments.iter().zip(&call.arguments).filter(|_| aggregate.distinct) {
            self.groupable(argument.kind()).map_err(|why| position::located(why, position::of(written)))?;
        }
        Ok(())
    }

    /// A function with arguments of the types it takes.
    fn chosen(
        &mut self,
        function: &'static Function,
        arguments: Vec<Expr>,
        wanted: Vec<Oid>,
        result: Oid,
    ) -> Bound<Chosen> {
        let name = function.name;
        let depends = match function.volatility {
            Volatility::Immutable => false,
            Volatility::Stable => !STABLE.contains(&name),
            Volatility::Volatile => true,
        };
        let is_internal = function.kind == functions::Kind::Function && internal::is_told_by(function);
        if depends || is_internal || function.is_set || name.starts_with("pg_") || name.starts_with("has_") {
            return not_yet(format!("function {name}"));
        }
        let mut found = Vec::with_capacity(arguments.len());
        for (argument, to) in arguments.into_iter().zip(wanted) {
            found.push(self.operand(argument, to)?);
        }
        Ok(Chosen { function, arguments: found, kind: held(result.into())? })
    }
}

/// The function of a name; of what PostgreSQL says it has none, its error.
fn resolved(name: &str, kinds: &[Oid]) -> Bound<resolve::Call> {
    // There may be others of that name, which are Weir's.
    if functions::named(name).is_empty() && crate::postgres::types::named(name).is_none() {
        return not_yet(format!("function {name}"));
    }
    resolve::function(name, kinds).map_err(|error| match error.sqlstate {
        "42883" | "42725" => Unbound::Wrong(error),
        _ => Unbound::NotYet(format!("function {name} of these types")),
    })
}
