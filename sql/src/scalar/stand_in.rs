//! What calls have in common that stand for an expression of another form: they are shown as that, by `shown` of their own, and take their
//! arguments as they are.

/// These methods of `ScalarUDFImpl`.
macro_rules! stand_in {
    () => {
        fn signature(&self) -> &datafusion::logical_expr::Signature {
            &self.signature
        }

        fn schema_name(&self, args: &[datafusion::logical_expr::Expr]) -> datafusion::common::Result<String> {
            Ok(self.shown(args, |arg| arg.schema_name().to_string()))
        }

        fn display_name(&self, args: &[datafusion::logical_expr::Expr]) -> datafusion::common::Result<String> {
            Ok(self.shown(args, ToString::to_string))
        }

        fn coerce_types(
            &self,
            types: &[arrow::datatypes::DataType],
        ) -> datafusion::common::Result<Vec<arrow::datatypes::DataType>> {
            Ok(types.to_vec())
        }
    };
}

pub(crate) use stand_in;
