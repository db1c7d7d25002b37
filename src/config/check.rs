//! What only shows when all values are known: keys that exclude each other, tokens, open doors.

use super::memory;
use super::mistake::{ConfigError, Origin};
use super::sources::{Merged, Sources};
use super::{Config, ConfigFile, alerting};
use crate::auth::TokenTable;
use crate::notify::Policy;
use crate::server::{ListenAddr, Tls};
use crate::storage;

pub(super) fn check(mut merged: Merged, sources: Sources) -> Result<Config, ConfigError> {
    let mut file = merged.file.clone();
    memory::fit(&mut file, |key| merged.origins.contains_key(key));
    for message in room_mistakes(&file) {
        let (key, rest) = message.split_once(' ').unwrap_or((message.as_str(), ""));
        let origin = merged.origin_of(key);
        merged.fault(origin, key, rest.to_owned());
    }
    let tokens = check_tokens(&mut merged, &file);
    let tls = check_tls(&mut merged, &file);
    let (policy, signer) = alerting::check(&mut merged, &file.alerting);
    let policy = policy.unwrap_or_else(|| Policy::from(&file.alerting));
    alerting::check_targets(&mut merged, &file.alerting, &policy);
    // With a mistake in a token there would be a second complaint of the same cause.
    if merged.mistakes.is_empty() && tokens.is_empty() {
        check_open_doors(&mut merged, &file);
    }
    if !merged.mistakes.is_empty() {
        merged.mistakes.sort_by_key(|mistake| line_of(&mistake.origin));
        return Err(ConfigError::Mistakes(merged.mistakes));
    }
    let is_loopback_only = file.server.is_loopback_only();
    let allow_private_targets = file.alerting.allow_private_targets.unwrap_or(is_loopback_only);
    Ok(Config {
        sections: file,
        tokens,
        tls,
        allow_private_targets,
        policy: policy.into(),
        signer,
        sources,
    })
}

fn line_of(origin: &Origin) -> usize {
    match origin {
        Origin::Line { line, .. } => *line,
        Origin::Variable(_) | Origin::Flag(_) | Origin::Default => usize::MAX,
    }
}

/// Asks each room for the mistakes in its section; each begins with `section.key` and a space.
fn room_mistakes(file: &ConfigFile) -> Vec<String> {
    let of_storage = [marks_out_of_order(&file.storage), file.storage.mistakes()].concat();
    [file.server.mistakes(), of_storage, file.query.mistakes()].concat()
}

fn marks_out_of_order(storage: &storage::Config) -> Vec<String> {
    let mut found = Vec::new();
    if storage.head_firm < storage.head_soft {
        found.push("storage.head_firm must not be below storage.head_soft".to_owned());
    }
    if storage.head_hard < storage.head_firm {
        found.push("storage.head_hard must not be below storage.head_firm".to_owned());
    }
    found
}

fn check_tokens(merged: &mut Merged, file: &ConfigFile) -> TokenTable {
    TokenTable::check(&file.auth).unwrap_or_else(|mistakes| {
        for mistake in mistakes {
            let element = format!("auth.tokens[{}]", mistake.token_idx);
            let key = format!("{element}.{}", mistake.key);
            let places = [&key, &element, "auth.tokens"].map(|place| merged.origin_of(place));
            let known = places.into_iter().find(|origin| *origin != Origin::Default);
            merged.fault(known.unwrap_or(Origin::Default), &key, mistake.message);
        }
        TokenTable::default()
    })
}

fn check_tls(merged: &mut Merged, file: &ConfigFile) -> Option<Tls> {
    Tls::load(&file.server).unwrap_or_else(|mistakes| {
        for mistake in mistakes {
            let key = format!("server.{}", mistake.key);
            let origin = merged.origin_of(&key);
            merged.fault(origin, &key, mistake.message);
        }
        None
    })
}

fn check_open_doors(merged: &mut Merged, file: &ConfigFile) {
    for (key, address) in file.server.listeners() {
        if !address.is_loopback() {
            let full = format!("server.{key}");
            let origin = merged.origin_of(&full);
            merged.fault(origin, &full, open_door(address));
        }
    }
}

fn open_door(address: &ListenAddr) -> String {
    format!(
        "{address} can be reached from other machines, and no token is configured: anyone could \
         read and write everything. Listen on 127.0.0.1, or add a token to the configuration:\n    \
         [[auth.tokens]]\n    name = \"admin\"\n    role = \"admin\"\n    read = [\"*\"]\n    \
         write = \"any\"\n    token_file = \"admin.token\"  # made by: \
         (umask 077; openssl rand -base64 32 > admin.token)"
    )
}
