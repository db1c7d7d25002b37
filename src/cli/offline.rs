//! Questions to a data directory without a server. To be filled when the store can be opened for
//! reading alone: each function returns the body that the server would have sent.

use std::path::Path;

use super::CliError;

fn not_yet(data_dir: &Path) -> CliError {
    let dir = data_dir.display();
    CliError::failed(format!(
        "a data directory cannot be asked without a server yet: \
         run `commonwatch serve --data-dir {dir}`, and ask that"
    ))
}

/// Returns the answer to a SQL statement in the format of `accept`.
pub(super) fn sql(data_dir: &Path, _query: &str, _accept: &str) -> Result<Vec<u8>, CliError> {
    Err(not_yet(data_dir))
}

/// Returns the answer to `path` (`/api/v1/query` or `query_range`) with a form's parameters.
pub(super) fn promql(
    data_dir: &Path,
    _path: &str,
    _parameters: &[(&str, String)],
) -> Result<Vec<u8>, CliError> {
    Err(not_yet(data_dir))
}
