//! The `value` of metrics, which files hold as decimals where they can.
//!
//! A question sees one column; a scan of files reads those that it is made of, and a projection
//! above the scan puts them together. Files of before values were decimals have the one column.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::is_not_null;
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{Result, exec_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use crate::model::decimal::{self, DIGITS, DOUBLE, SCALE, VALUE};

/// What a value is made of, in the order of the function's arguments.
const PARTS: [&str; 4] = [VALUE, DIGITS, SCALE, DOUBLE];

/// Returns the columns that files of metrics may have, for rows of `schema`.
pub(super) fn in_files(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().flat_map(|field| match field.name().as_str() {
        VALUE => parts().to_vec(),
        _ => vec![Arc::clone(field)],
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// No file has all of them, so each may be missing.
fn parts() -> [FieldRef; 4] {
    let types = [DataType::Float64, DataType::Int64, DataType::Int32, DataType::Float64];
    let mut fields = PARTS.into_iter().zip(types);
    std::array::from_fn(|_| {
        let (name, data_type) = fields.next().expect("there are four of both");
        Arc::new(Field::new(name, data_type, true))
    })
}

/// Returns the names of the columns that a scan reads for these.
pub(super) fn to_read<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    names.flat_map(|name| if name == VALUE { PARTS.to_vec() } else { vec![name] }).collect()
}

/// Puts values together above a scan of the columns that [`to_read`] names for `names`.
pub(super) fn joined<'n>(
    scan: Arc<dyn ExecutionPlan>,
    names: impl Iterator<Item = &'n str>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = scan.schema();
    let column = |name: &str| -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Column::new_with_schema(name, &schema)?))
    };
    let exprs = names.map(|name| {
        let expr = if name == VALUE {
            let parts = PARTS.into_iter().map(column).collect::<Result<Vec<_>>>()?;
            let join = Arc::new(ScalarUDF::new_from_impl(Join {
                signature: Signature::any(PARTS.len(), Volatility::Immutable),
            }));
            let options = Arc::new(ConfigOptions::default());
            Arc::new(ScalarFunctionExpr::try_new(join, parts, &schema, options)?)
        } else {
            column(name)?
        };
        Ok(ProjectionExpr { expr, alias: name.to_owned() })
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(exprs, scan)?))
}

/// The function of the projection; no statement can call it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Join {
    signature: Signature,
}

impl ScalarUDFImpl for Join {
    fn name(&self) -> &'static str {
        "value_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(VALUE, DataType::Float64, false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let parts = ColumnarValue::values_to_arrays(&args.args)?;
        let [whole, digits, scales, doubles] = parts.as_slice() else {
            return exec_err!("a value has four parts");
        };
        Ok(ColumnarValue::Array(join(whole, digits, scales, doubles)?))
    }
}

fn join(
    whole: &ArrayRef,
    digits: &ArrayRef,
    scales: &ArrayRef,
    doubles: &ArrayRef,
) -> Result<ArrayRef> {
    if whole.null_count() == 0 {
        return Ok(Arc::clone(whole));
    }
    let joined = decimal::join(digits.as_primitive(), scales.as_primitive(), doubles);
    if whole.null_count() == whole.len() {
        return Ok(joined);
    }
    // Rows of files with one column and of files with three have met in one batch.
    Ok(zip(&is_not_null(whole)?, whole, &joined)?)
}
