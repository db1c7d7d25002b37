//! What can be wrong with the data that tagging is built from.

use std::path::PathBuf;

use crate::base::Kind;

/// Why a tagger could not be built.
#[derive(Debug, thiserror::Error)]
pub enum TaggingError {
    /// `tagging.dir` or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{file}:{line}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, naming the key.
        message: String,
    },
    /// A file in `tagging.dir` that nothing reads: most likely a typing error.
    #[error("{} is none of the files tagging reads: {known}", path.display())]
    UnknownFile {
        /// The file.
        path: PathBuf,
        /// The names that are read.
        known: String,
    },
    /// A name that cannot be the name of a commons.
    #[error("{file}: {source}")]
    CommonsName {
        /// The file or section.
        file: String,
        /// What a name has to be.
        source: crate::model::tags::CommonsError,
    },
    /// A rule of `lines.toml` that cannot be applied.
    #[error("lines.toml: rule {number}: {message}")]
    LineRule {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong with it.
        message: String,
    },
    /// One place or host is claimed by two commons.
    #[error("{what} belongs to {first} and to {second}: remove one of the two entries")]
    Twice {
        /// The place or host.
        what: String,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
}

impl TaggingError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        Kind::BadInput
    }
}
