//! LogQL's text and its tree: lexing, parsing, printing.
//!
//! The text's length and nesting are checked before the parser, which recurses, sees it; operators
//! are counted while it parses, because each is a level of the tree. Everything that can be wrong
//! without data is found here or while the pipeline is built, and said in Loki's words.

pub mod ast;
mod lexer;
mod metric;
mod parser;
mod pipeline;
mod pretty;
mod print;

pub use ast::{Expr, LogExpr, MetricExpr};
pub(super) use parser::DEPTH_MAX;
pub use parser::{ParseLimits, parse, parse_log, parse_selector, parse_selectors};
