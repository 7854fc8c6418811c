//! PREPARE, EXECUTE and DEALLOCATE as statements. EXECUTE puts its arguments into the statement's text.

use super::Outcome;
use crate::serving::query::rewrite::cast;
use crate::serving::query::template;
use crate::serving::session::Session;
use datafusion::sql::sqlparser::ast::{self, DataType, Expr, Ident, ObjectName, Value, VisitMut, VisitorMut};
use std::ops::ControlFlow;
use weir_sql::session::names::folded;
use weir_sql::statement::{Parsed, Statement, written};
use weir_sql::types::Type;
use weir_sql::{Error, Result};

impl Session {
    pub(super) async fn prepare_named(
        &mut self,
        name: &Ident,
        types: &[DataType],
        statement: &ast::Statement,
    ) -> Result<Outcome> {
        let name = folded(name);
        self.prepared.check(&name)?;
        let mut declared = vec![];
        for kind in types {
            declared.push(Some(self.type_of(kind).await?));
        }
        let text = written(statement);
        let statement = match statement.clone() {
            ast::Statement::Query(query) => Statement::Query(query),
            ast::Statement::Insert(insert) => Statement::Insert(Box::new(insert)),
            ast::Statement::Delete(delete) => Statement::Delete(Box::new(delete)),
            update @ ast::Statement::Update(_) => Statement::Update(Box::new(update)),
            _ => return Err(Error::syntax("only SELECT, INSERT, UPDATE and DELETE can be prepared")),
        };
        let prepared = self.described(Parsed { statement, text, offset: 0 }, &declared).await?;
        self.prepared.insert(name, prepared)?;
        Ok(Outcome::Done("PREPARE".into()))
    }

    /// What a type's name means: asked of the planner, which knows all of them.
    async fn type_of(&mut self, kind: &DataType) -> Result<Type> {
        let value = cast(Expr::Value(Value::Null.into()), &kind.to_string());
        let query = self.readable(&template::constant(value)?)?;
        let planner = self.planner()?;
        let columns = planner.describe(&query).await?;
        let column = columns.into_iter().next().ok_or_else(|| Error::internal("a cast without a column"))?;
        Ok(column.wire_type.kind)
    }

    /// The statement of that name, with `arguments` in the places of its parameters.
    pub(super) fn filled_in(&self, name: &ObjectName, arguments: &[Expr]) -> Result<Parsed> {
        let name = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
        let missing = || Error::new("26000", format!("prepared statement \"{name}\" does not exist"));
        let prepared = self.prepared.get(&name).ok_or_else(missing)?;
        let (given, wanted) = (arguments.len(), prepared.parameters.len());
        if given != wanted {
            return Err(Error::new("42601", format!("wrong number of parameters for prepared statement \"{name}\""))
                .detail(format!("Expected {wanted} parameters but got {given}.")));
        }
        let typed = arguments.iter().zip(&prepared.parameters);
        let mut fill = Fill(typed.map(|(argument, kind)| cast(argument.clone(), &kind.written())).collect());
        let Some(mut parsed) = prepared.parsed.clone() else { return Err(missing()) };
        match &mut parsed.statement {
            Statement::Query(query) => drop(query.visit(&mut fill)),
            Statement::Insert(insert) => drop(insert.visit(&mut fill)),
            Statement::Update(update) => drop(update.visit(&mut fill)),
            Statement::Delete(delete) => drop(delete.visit(&mut fill)),
            _ => {}
        }
        Ok(parsed)
    }

    pub(super) fn deallocate(&mut self, name: &Ident) -> Result<Outcome> {
        let name = folded(name);
        match self.prepared.remove(&name) {
            Some(_) => Ok(Outcome::Done("DEALLOCATE".into())),
            None => Err(Error::new("26000", format!("prepared statement \"{name}\" does not exist"))),
        }
    }
}

struct Fill(Vec<Expr>);

impl VisitorMut for Fill {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
            && let Some(number) = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok())
            && let Some(argument) = self.0.get(number.wrapping_sub(1))
        {
            *expr = argument.clone();
        }
        ControlFlow::Continue(())
    }
}
