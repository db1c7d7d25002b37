//! What a block says is never wrong: a row that has what is needed is not ruled out.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;

use super::need;
use super::section::{Block, decode};
use super::{Builder, LineNeed};
use crate::model::{Commons, LogRow, LogsBuilder, Signal, Tags, level, log};
use crate::storage::FileEntry;
use crate::storage::disk::Disk as _;
use crate::storage::disk::sim::SimDisk;
use crate::storage::files::deleted::Live;
use crate::storage::files::read::Footers;
use crate::storage::files::rows_read::narrow;

/// A row: body, attributes, resource, severity's text and number.
type Row<'a> = (&'a str, &'a str, &'a str, &'a str, i32);

fn batch(rows: &[Row<'_>]) -> RecordBatch {
    let tags = Tags { service: Some(Arc::from("fence")), ..Tags::unassigned() };
    let mut builder = LogsBuilder::new();
    for &(body, attributes, resource, severity_text, severity_number) in rows {
        let row = LogRow {
            body,
            attributes,
            resource,
            severity_text,
            severity_number,
            ..LogRow::default()
        };
        builder.push(&tags, &row);
    }
    builder.finish()
}

fn blocks(batches: &[RecordBatch]) -> Vec<Block> {
    let mut builder = Builder::of(&log::schema()).expect("logs have lines");
    batches.iter().for_each(|batch| builder.push(batch));
    let n_rows = batches.iter().map(RecordBatch::num_rows).sum();
    decode(&Bytes::from(builder.end_group()), n_rows).expect("what was written can be read")
}

fn lines(bodies: &[String]) -> Vec<Block> {
    let rows: Vec<Row<'_>> = bodies.iter().map(|body| (body.as_str(), "{}", "{}", "", 0)).collect();
    blocks(&[batch(&rows)])
}

/// Returns the rows that may meet a need where the column of traces names none.
fn rows_for(need: &LineNeed, blocks: &[Block]) -> Vec<Range<usize>> {
    rows_where(need, blocks, &[])
}

fn rows_where(need: &LineNeed, blocks: &[Block], of_trace: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut of_trace = |_: &str| Ok::<_, Infallible>(of_trace.to_vec());
    need::rows_for(need, blocks, &mut of_trace).unwrap()
}

fn has(found: &[Range<usize>], row: usize) -> bool {
    found.iter().any(|rows| rows.contains(&row))
}

/// Returns a number that looks random.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (n >> 31)
}

fn id(n: u64) -> String {
    format!("{:016x}{:016x}", mix(n), mix(!n))
}

fn access_line(n: u64) -> String {
    format!(
        r#"{{"gen3log": "nginx", "request_id": "{}", "network_client_ip": "10.{}.{}.7", "http_request": "/user/data/download/dg.4503/{:032x}", "response_secs": 0.{:03}}}"#,
        id(n),
        mix(n) % 250,
        mix(n + 1) % 250,
        mix(n * 3),
        n % 1000
    )
}

#[test]
fn most_rows_are_ruled_out_and_never_the_one_that_is_wanted() {
    let n_rows = 30_000;
    let bodies: Vec<String> = (0..n_rows).map(access_line).collect();
    let blocks = lines(&bodies);
    let n_bytes: usize = blocks.iter().map(|block| block.bits.len()).sum();
    let per_row = n_bytes as f64 / n_rows as f64;
    assert!(per_row < 8.0, "{per_row} bytes a row");

    let (mut n_left, n_asked) = (0, 40);
    for n in 0..n_asked {
        let row = mix(n) % n_rows;
        let found = rows_for(&LineNeed::text(id(row).as_bytes()), &blocks);
        assert!(has(&found, usize::try_from(row).unwrap()), "row {row} is ruled out");
        let absent = rows_for(&LineNeed::text(id(n_rows + n).as_bytes()), &blocks);
        n_left += absent.iter().map(ExactSizeIterator::len).sum::<usize>();
    }
    let share = n_left as f64 / (n_rows * n_asked) as f64;
    assert!(share < 0.03, "{share} of the rows are left for an id that is nowhere");
}

#[test]
fn short_lines_that_are_alike_take_few_bytes() {
    let bodies: Vec<String> = (0..20_000).map(|n| format!("GET /_status 200 {}", n % 7)).collect();
    let blocks = lines(&bodies);
    let n_bytes: usize = blocks.iter().map(|block| block.bits.len()).sum();
    assert!(n_bytes <= 256, "{n_bytes} bytes in {} blocks", blocks.len());
    assert!(rows_for(&LineNeed::text(b"unable to reach the database"), &blocks).is_empty());
}

#[test]
fn texts_of_any_kind_are_found() {
    // Whatever stands in a line, and whatever part of it is looked for.
    let strategy =
        prop::collection::vec((".{0,40}", any::<prop::sample::Index>(), 0_usize..40), 1..20);
    proptest!(ProptestConfig::with_cases(64), |(drawn in strategy)| {
        let bodies: Vec<String> = drawn.iter().map(|(body, ..)| body.clone()).collect();
        let blocks = lines(&bodies);
        for (row, (body, start, len)) in drawn.iter().enumerate() {
            let start = start.index(body.len() + 1);
            let part = &body.as_bytes()[start..(start + len).min(body.len())];
            prop_assert!(has(&rows_for(&LineNeed::text(part), &blocks), row), "{body:?}");
            let shouted = String::from_utf8_lossy(part).to_uppercase();
            if shouted.is_ascii() {
                prop_assert!(has(&rows_for(&LineNeed::text(shouted.as_bytes()), &blocks), row));
            }
        }
    });
}

#[test]
fn values_are_looked_for_where_they_must_stand_as_they_are() {
    let wanted = "0d9f3c7ab1e24f6680aa11bb22cc33dd";
    let value = LineNeed::value(wanted.as_bytes());
    for (row, want) in [
        (("nothing of the kind", "{}", "{}", "", 0), false),
        (("id=0d9f3c7ab1e24f6680aa11bb22cc33dd", "{}", "{}", "", 0), true),
        (("x", "{}", r#"{"id":"0d9f3c7ab1e24f6680aa11bb22cc33dd"}"#, "", 0), true),
        // Perhaps there, in another form or another place.
        ((r#"{"id":"\u0030d9f3c7ab1e24f6680aa11bb22cc33dd"}"#, "{}", "{}", "", 0), true),
        (("x", r#"{"id":"y"}"#, "{}", "", 0), true),
    ] {
        let blocks = blocks(&[batch(&[row])]);
        assert_eq!(has(&rows_for(&value, &blocks), 0), want, "{row:?}");
    }
}

#[test]
fn a_trace_is_looked_for_in_its_column_unless_something_else_may_say_it() {
    const ID: &str = "0d9f3c7ab1e24f6680aa11bb22cc33dd";
    let need = LineNeed::trace(ID);
    for (row, want) in [
        (("nothing of the kind", r#"{"pod":"fence-1"}"#, "{}", "", 0), false),
        (("trace=0d9f3c7ab1e24f6680aa11bb22cc33dd", "{}", "{}", "", 0), true),
        (("x", r#"{"trace.id":"y"}"#, "{}", "", 0), true),
        (("x", "{}", r#"{"trace_id":"0d9f3c7ab1e24f6680aa11bb22cc33dd"}"#, "", 0), true),
        ((r#"{"trace_id":"\u0030d9f"}"#, "{}", "{}", "", 0), true),
    ] {
        let blocks = blocks(&[batch(&[row])]);
        assert_eq!(has(&rows_for(&need, &blocks), 0), want, "{row:?}");
    }
    let blocks = blocks(&[batch(&[("x", r#"{"pod":"fence-1"}"#, "{}", "", 0); 9])]);
    assert_eq!(rows_where(&need, &blocks, &[2..3, 7..9]), [2..3, 7..9], "what the column says");
    let both = LineNeed::all([need, LineNeed::text(b"nothing of the kind")]);
    assert!(rows_where(&both, &blocks, std::slice::from_ref(&(2..3))).is_empty());
}

#[test]
fn levels_are_known_from_their_columns_or_not_at_all() {
    let errors = LineNeed::level(level::set_of(|name| name == "error"));
    for (row, want) in [
        (("ERROR", "{}", "{}", "INFO", 0), false),
        (("x", "{}", "{}", "", 9), false),
        (("x", "{}", "{}", "Error", 9), true),
        (("x", "{}", "{}", "", 17), true),
        (("x", "{}", "{}", "", 0), false),
        (("x ERROR", "{}", "{}", "", 0), true),
        (("x", "{}", "{}", "whatever", 0), false),
        // The row's attributes or its stream may say it.
        (("x", r#"{"level":"error"}"#, "{}", "", 0), true),
        (("x", r#"{"level":"error"}"#, "{}", "INFO", 0), false),
        (("x", r#"{"detected_level":"error"}"#, "{}", "INFO", 9), true),
        (("x", "{}", r#"{"detected.level":"error"}"#, "INFO", 9), true),
    ] {
        let blocks = blocks(&[batch(&[row])]);
        assert_eq!(has(&rows_for(&errors, &blocks), 0), want, "{row:?}");
    }
}

#[test]
fn of_rows_without_a_column_of_levels_less_is_known() {
    let errors = LineNeed::level(level::set_of(|name| name == "error"));
    let row = |body, severity| batch(&[(body, "{}", "{}", severity, 0)]);
    for (batch, want) in [(row("x", ""), true), (row("ERROR", "INFO"), false)] {
        let places: Vec<usize> = (0..batch.num_columns() - 1).collect();
        let old = batch.project(&places).unwrap();
        let found = rows_for(&errors, &blocks(&[old]));
        assert_eq!(has(&found, 0), want);
    }
}

#[test]
fn all_and_any_mean_what_they_say() {
    let blocks = lines(&["the first needle here".to_owned(), "the second one".to_owned()]);
    let (first, third) =
        (LineNeed::text(b"the first needle"), LineNeed::text(b"a third one is absent"));
    for (need, want) in [
        (LineNeed::all([first.clone(), third.clone()]), false),
        (LineNeed::any([first.clone(), third.clone()]), true),
        (LineNeed::any([third.clone(), third.clone()]), false),
        (LineNeed::any([third, LineNeed::Nothing]), true),
        (LineNeed::any([]), false),
        (LineNeed::all([]), true),
    ] {
        assert_eq!(!rows_for(&need, &blocks).is_empty(), want, "{need:?}");
    }
}

/// A file as versions wrote it that knew no grams, and as other programs do.
#[test]
fn of_files_without_grams_nothing_is_known() {
    let disk = SimDisk::new();
    let rows = batch(&[("a line of text", "{}", "{}", "", 0); 3]);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let entry = FileEntry {
        path: "old.parquet".to_owned(),
        signal: Signal::Logs,
        commons: Commons::own(),
        day: 0,
        n_rows: 3,
        size_bytes: bytes.len() as u64,
        min_ns: 0,
        max_ns: 0,
        has_exp: false,
        seal: None,
        deletions: Vec::new(),
        live: Live::default(),
    };
    disk.create(&entry.path).unwrap().write_all(&bytes).unwrap();

    let need = LineNeed::text(b"nothing of the kind stands in there");
    let found = narrow(&disk, &Footers::default(), &entry, 0, &need);

    assert_ne!(need, LineNeed::Nothing);
    assert_eq!(found.unwrap(), None);
}

#[test]
fn sections_that_do_not_fit_say_nothing() {
    let mut builder = Builder::of(&log::schema()).unwrap();
    builder.push(&batch(&[("a line of text", "{}", "{}", "", 0); 3]));
    let section = builder.end_group();
    assert!(decode(&Bytes::from(section.clone()), 3).is_some());
    assert!(decode(&Bytes::from(section.clone()), 4).is_none(), "of another row group");
    for len in 0..section.len() {
        assert!(decode(&Bytes::copy_from_slice(&section[..len]), 3).is_none(), "cut at {len}");
    }
    let mut other = section;
    other[3] = b'2';
    assert!(decode(&Bytes::from(other), 3).is_none(), "of another version");
}
