//! Which statements are answered: a query, alone or explained.
//!
//! Every kind of statement that the parser knows is judged here by name. There is no `_`: when an
//! upgrade brings a kind that nobody has judged, this file does not compile.

use datafusion::common::{Result, plan_err};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as S};

/// Refuses what is not a query, before the planner sees it; the plan's gate would refuse it too.
pub(super) fn check(statement: &Statement) -> Result<()> {
    let is_query = match statement {
        Statement::Statement(sql) => is_query(sql),
        Statement::Explain(explain) => match explain.statement.as_ref() {
            Statement::Statement(sql) => is_query(sql),
            Statement::Explain(_)
            | Statement::CreateExternalTable(_)
            | Statement::CopyTo(_)
            | Statement::Reset(_) => false,
        },
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    };
    if is_query {
        Ok(())
    } else {
        plan_err!("only queries are answered: SELECT … or WITH … SELECT …")
    }
}

#[rustfmt::skip] // A list.
fn is_query(statement: &S) -> bool {
    match statement {
        S::Query(query) => only_reads(query),
        S::Analyze(..)
            | S::Set(..)
            | S::Truncate(..)
            | S::Msck(..)
            | S::Insert(..)
            | S::Install { .. }
            | S::Load { .. }
            | S::Directory { .. }
            | S::Case(..)
            | S::If(..)
            | S::While(..)
            | S::Raise(..)
            | S::Call(..)
            | S::Copy { .. }
            | S::CopyIntoSnowflake { .. }
            | S::Open(..)
            | S::Close { .. }
            | S::Update(..)
            | S::Delete(..)
            | S::CreateView(..)
            | S::CreateTable(..)
            | S::CreateVirtualTable { .. }
            | S::CreateIndex(..)
            | S::CreateRole(..)
            | S::CreateSecret { .. }
            | S::CreateServer(..)
            | S::CreatePolicy(..)
            | S::CreateConnector(..)
            | S::CreateOperator(..)
            | S::CreateOperatorFamily(..)
            | S::CreateOperatorClass(..)
            | S::AlterTable(..)
            | S::AlterSchema(..)
            | S::AlterIndex { .. }
            | S::AlterView { .. }
            | S::AlterFunction(..)
            | S::AlterType(..)
            | S::AlterCollation(..)
            | S::AlterOperator(..)
            | S::AlterOperatorFamily(..)
            | S::AlterOperatorClass(..)
            | S::AlterRole { .. }
            | S::AlterPolicy(..)
            | S::AlterConnector { .. }
            | S::AlterSession { .. }
            | S::AttachDatabase { .. }
            | S::AttachDuckDBDatabase { .. }
            | S::DetachDuckDBDatabase { .. }
            | S::Drop { .. }
            | S::DropFunction(..)
            | S::DropDomain(..)
            | S::DropProcedure { .. }
            | S::DropSecret { .. }
            | S::DropPolicy(..)
            | S::DropConnector { .. }
            | S::Declare { .. }
            | S::CreateExtension(..)
            | S::CreateCollation(..)
            | S::DropExtension(..)
            | S::DropOperator(..)
            | S::DropOperatorFamily(..)
            | S::DropOperatorClass(..)
            | S::Fetch { .. }
            | S::Flush { .. }
            | S::Discard { .. }
            | S::ShowFunctions { .. }
            | S::ShowVariable { .. }
            | S::ShowStatus { .. }
            | S::ShowVariables { .. }
            | S::ShowCreate { .. }
            | S::ShowColumns { .. }
            | S::ShowCatalogs { .. }
            | S::ShowDatabases { .. }
            | S::ShowProcessList { .. }
            | S::ShowSchemas { .. }
            | S::ShowCharset(..)
            | S::ShowObjects(..)
            | S::ShowTables { .. }
            | S::ShowViews { .. }
            | S::ShowCollation { .. }
            | S::Use(..)
            | S::StartTransaction { .. }
            | S::Comment { .. }
            | S::Commit { .. }
            | S::Rollback { .. }
            | S::CreateSchema { .. }
            | S::CreateDatabase { .. }
            | S::CreateFunction(..)
            | S::CreateTrigger(..)
            | S::DropTrigger(..)
            | S::CreateProcedure { .. }
            | S::CreateMacro { .. }
            | S::CreateStage { .. }
            | S::Assert { .. }
            | S::Grant(..)
            | S::Deny(..)
            | S::Revoke(..)
            | S::Deallocate { .. }
            | S::Execute { .. }
            | S::Prepare { .. }
            | S::Kill { .. }
            | S::ExplainTable { .. }
            | S::Explain { .. }
            | S::Savepoint { .. }
            | S::ReleaseSavepoint { .. }
            | S::Merge(..)
            | S::Cache { .. }
            | S::UNCache { .. }
            | S::CreateSequence { .. }
            | S::CreateDomain(..)
            | S::CreateType { .. }
            | S::Pragma { .. }
            | S::Lock(..)
            | S::LockTables { .. }
            | S::UnlockTables
            | S::Unload { .. }
            | S::OptimizeTable { .. }
            | S::LISTEN { .. }
            | S::UNLISTEN { .. }
            | S::NOTIFY { .. }
            | S::LoadData { .. }
            | S::RenameTable(..)
            | S::List(..)
            | S::Remove(..)
            | S::RaisError { .. }
            | S::Throw(..)
            | S::Print(..)
            | S::WaitFor(..)
            | S::Return(..)
            | S::ExportData(..)
            | S::CreateUser(..)
            | S::AlterUser(..)
            | S::Vacuum(..)
            | S::Reset(..) => false,
    }
}

/// `WITH … INSERT`, and the like, are queries to the parser.
fn only_reads(query: &Query) -> bool {
    match query.body.as_ref() {
        SetExpr::Select(_)
        | SetExpr::Query(_)
        | SetExpr::SetOperation { .. }
        | SetExpr::Values(_)
        | SetExpr::Table(_) => true,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => false,
    }
}
