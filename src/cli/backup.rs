//! `commonwatch backup`, `restore` and `check`: a store copied, put back, and looked through.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, ServerArgs};
use super::table::Table;
use super::{CliError, block_on, offline};
use crate::base::clock::{Clock as _, SystemClock};
use crate::base::units::HumanSize;
use crate::storage::RealDisk;
use crate::storage::backup::{self, BackupError, Checks, Finding};
use crate::storage::state;

/// Where a store lies until it is whole, below its data directory: that may be the root of a volume, which
/// has no other name, and beside which nothing can be written.
const STAGING: &str = "restoring";
/// The file whose lock a store has.
const LOCK: &str = "lock";

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The folder to write; it must not be there yet, or be empty
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The data directory of the server
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
    /// No server is running on the data directory
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The folder that `backup` wrote
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The data directory to make; it must not be there yet, or be empty
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// A data directory, with or without a server on it, or a folder that `backup` wrote
    #[arg(value_name = "DIR", default_value = "data")]
    folder: PathBuf,
    /// Write what was found as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn back_up(args: &BackupArgs, out: &mut dyn Write) -> Result<(), CliError> {
    must_be_new(&args.to, "--to")?;
    if !args.data_dir.join("parquet").is_dir() {
        // Before the server is asked: its snapshot would stay where we do not find it.
        let message = format!(
            "{} is no data directory: say with --data-dir where the server keeps its files",
            args.data_dir.display()
        );
        return Err(CliError::usage(message));
    }
    let taken = block_on(take_snapshot(args))?;
    let folder = folder_of(args, &taken)?;
    let copied = copy(&folder, &args.to);
    // The links would keep the bytes of what is removed or deleted from now on.
    let removed = fs::remove_dir_all(&folder);
    let copied = copied?;
    let size = HumanSize(copied.n_bytes);
    writeln!(out, "backed up {} files, {size}, to {}", copied.n_files, args.to.display())?;
    if let Err(error) = removed {
        let message = format!("cannot remove the snapshot {}: {error}", folder.display());
        return Err(CliError::failed(message));
    }
    let left_out: Vec<&str> =
        taken["leftOut"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if left_out.is_empty() {
        return Ok(());
    }
    let message = format!("the backup lacks damaged files: {}", left_out.join(", "));
    Err(CliError::failed(message))
}

/// Returns where the snapshot is that the server says it has taken.
fn folder_of(args: &BackupArgs, taken: &Value) -> Result<PathBuf, CliError> {
    let name = taken["name"].as_str().unwrap_or_default();
    if !backup::is_name(name) {
        return Err(CliError::failed("the server named no snapshot"));
    }
    let folder = args.data_dir.join(backup::DIR).join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let message = format!(
        "{} is not there: is {} the data directory of the server that was asked? Remove the \
         snapshot {name} from that server's {}: it keeps the bytes of what is removed",
        folder.display(),
        args.data_dir.display(),
        backup::DIR
    );
    Err(CliError::failed(message))
}

async fn take_snapshot(args: &BackupArgs) -> Result<Value, CliError> {
    let ask = async |client: Client| {
        let client = client.patient();
        let answer = client.send("POST", "/api/v1/admin/tsdb/snapshot", &[], String::new()).await?;
        let answer = super::ask::parse(&answer.into_body()?)?;
        Ok(answer["data"].clone())
    };
    if args.offline {
        return offline::with_server(&args.data_dir, ask).await;
    }
    ask(Client::new(&args.server)?).await
}

fn copy(from: &Path, to: &Path) -> Result<backup::Copied, CliError> {
    let made_at = chrono::DateTime::from_timestamp_millis(SystemClock::new().now_ms());
    let made_at = made_at.unwrap_or_default().to_rfc3339();
    let disk = RealDisk::open(to).map_err(|error| cannot("write to", to, &error))?;
    let copied = backup::back_up(&RealDisk::open_read_only(from), &disk, made_at);
    drop(disk);
    // It kept others out of the folder; a backup has no use for it.
    drop(fs::remove_file(to.join(LOCK)));
    copied.map_err(|error| failed(&error))
}

pub(super) fn restore(args: &RestoreArgs, out: &mut dyn Write) -> Result<(), CliError> {
    must_be_new(&args.data_dir, "--data-dir")?;
    if !args.from.is_dir() {
        return Err(CliError::failed(format!("there is no backup {}", args.from.display())));
    }
    let was_there = args.data_dir.is_dir();
    // Its lock keeps servers out: one that starts on half a store takes what is there for strays.
    let disk = RealDisk::open(&args.data_dir);
    let disk = disk.map_err(|error| cannot("write to", &args.data_dir, &error))?;
    let restored = restore_into(&args.from, &args.data_dir);
    if restored.is_err() {
        drop(fs::remove_dir_all(args.data_dir.join(STAGING)));
        drop(fs::remove_file(args.data_dir.join(LOCK)));
        if !was_there {
            drop(fs::remove_dir(&args.data_dir));
        }
    }
    drop(disk);
    let restored = restored?;
    let size = HumanSize(restored.n_bytes);
    let to = args.data_dir.display();
    writeln!(out, "restored {} files, {size}, to {to}", restored.n_files)?;
    Ok(())
}

/// Restores below the data directory, and moves what is whole up.
fn restore_into(from: &Path, data_dir: &Path) -> Result<backup::Copied, CliError> {
    let staging = data_dir.join(STAGING);
    let disk = RealDisk::open(&staging).map_err(|error| cannot("write to", &staging, &error))?;
    let restored = backup::restore(&RealDisk::open_foreign(from), &disk);
    let restored = restored.map_err(|error| failed(&error))?;
    drop(disk);
    move_up(&staging, data_dir)
        .map_err(|error| cannot("move the restored store into", data_dir, &error))?;
    Ok(restored)
}

/// Moves all there is one folder up. The files of data are the last: without them there is no store yet.
fn move_up(staging: &Path, data_dir: &Path) -> io::Result<()> {
    fs::remove_file(staging.join(LOCK))?;
    let names = fs::read_dir(staging)?.map(|entry| Ok(entry?.file_name()));
    let mut names: Vec<OsString> = names.collect::<io::Result<_>>()?;
    names.sort_by_key(|name| name == "parquet");
    for name in names {
        fs::rename(staging.join(&name), data_dir.join(&name))?;
    }
    fs::remove_dir(staging)?;
    File::open(data_dir)?.sync_all()
}

fn must_be_new(folder: &Path, what: &str) -> Result<(), CliError> {
    // A volume of its own has this from the start.
    let is_something = |entry: &io::Result<fs::DirEntry>| {
        !entry.as_ref().is_ok_and(|entry| entry.file_name() == "lost+found")
    };
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.find(is_something) {
            None => Ok(()),
            Some(_) => {
                let message =
                    format!("{what}: {} is not empty, and stays as it is", folder.display());
                Err(CliError::usage(message))
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot("look into", folder, &error)),
    }
}

pub(super) fn check(args: &CheckArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let folder = &args.folder;
    if !folder.join("parquet").is_dir() {
        let message = format!("{} is no data directory and no backup", folder.display());
        return Err(CliError::failed(message));
    }
    // A backup comes from somebody else; a data directory may have its parts on other disks.
    let is_backup = folder.join(backup::LISTING).exists();
    let open = if is_backup { RealDisk::open_foreign } else { RealDisk::open_read_only };
    let disk = open(folder);
    let checks = backup::check(&disk, &mut |_| {});
    let mut checks = checks.map_err(|error| CliError::failed(error.to_string()))?;
    if let Err(what) = state::look_through(&folder.join(backup::STATE)) {
        let path = backup::STATE.to_owned();
        checks.findings.push(Finding { path, what, is_damage: true });
    }
    if args.json {
        writeln!(out, "{}", as_json(&checks))?;
    } else {
        write_findings(&checks, out)?;
    }
    let n_damaged = checks.findings.iter().filter(|finding| finding.is_damage).count();
    match n_damaged {
        0 => Ok(()),
        n => Err(CliError::failed(format!("{n} of the files are damaged"))),
    }
}

fn write_findings(checks: &Checks, out: &mut dyn Write) -> Result<(), CliError> {
    if !checks.findings.is_empty() {
        let row = |finding: &Finding| {
            let kind = if finding.is_damage { "damaged" } else { "look at" };
            vec![json!(kind), json!(finding.path), json!(finding.what)]
        };
        let columns = ["", "file", "what"].map(str::to_owned).to_vec();
        Table { columns, rows: checks.findings.iter().map(row).collect() }.write_aligned(out)?;
    }
    let (n_files, n_rows, size) = (checks.n_files, checks.n_rows, HumanSize(checks.n_bytes));
    writeln!(out, "{n_files} files, {size}, {n_rows} rows were read and are whole")?;
    Ok(())
}

fn as_json(checks: &Checks) -> Value {
    let finding = |finding: &Finding| json!({ "path": finding.path, "what": finding.what, "damaged": finding.is_damage });
    json!({
        "files": checks.n_files,
        "bytes": checks.n_bytes,
        "rows": checks.n_rows,
        "findings": checks.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn cannot(action: &str, folder: &Path, error: &io::Error) -> CliError {
    CliError::failed(format!("cannot {action} {}: {error}", folder.display()))
}

fn failed(error: &BackupError) -> CliError {
    CliError::of(error.kind(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_snapshot_is_asked_for_where_there_is_no_data_directory() {
        let folder = tempfile::tempdir().unwrap();
        let args = BackupArgs {
            to: folder.path().join("to"),
            data_dir: folder.path().to_owned(),
            offline: false,
            // Nobody answers there, which would be another error.
            server: ServerArgs::at("http://127.0.0.1:1".to_owned()),
        };

        let error = back_up(&args, &mut Vec::<u8>::new()).unwrap_err();

        assert_eq!(error.exit_code, 2);
        assert!(error.message.contains("is no data directory"), "{}", error.message);
    }
}
