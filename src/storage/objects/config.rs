//! The `[storage.objects]` section: whether files also go to object storage, and to which.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::units::{HumanDuration, HumanSize};

/// Where files go beside the local disk, which then is a cache of them. The secrets themselves are
/// no part of it: they are read from files and from the environment when the store connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `s3://bucket/prefix`; empty keeps all files on the local disk, and nowhere else.
    pub url: String,
    /// The address of an S3-compatible server, `https://host:port`; empty means Amazon's.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The name of the key; empty takes what the environment gives.
    pub access_key_id: String,
    /// The file that holds the secret of that key and nothing else.
    pub secret_access_key_file: Option<PathBuf>,
    /// The certificates, PEM, of a private authority that the endpoint's certificate is checked
    /// against too.
    pub ca_file: Option<PathBuf>,
    /// What uploaded files, and pieces of files fetched back, may take on the local disk.
    pub cache_max: HumanSize,
    /// Files uploaded at a time.
    pub uploads_max: usize,
    /// How long one request may take.
    pub timeout: HumanDuration,
    /// How long a connection may take to be there.
    pub connect_timeout: HumanDuration,
    /// How often a request that failed is made again before it counts as failed.
    pub retries: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: String::new(),
            endpoint: String::new(),
            region: "us-east-1".to_owned(),
            access_key_id: String::new(),
            secret_access_key_file: None,
            ca_file: None,
            cache_max: HumanSize::from_mib(10 << 10),
            uploads_max: 4,
            timeout: HumanDuration::from_secs(30),
            connect_timeout: HumanDuration::from_secs(5),
            retries: 3,
        }
    }
}

/// The most files that are uploaded at a time: each has a part in memory.
const UPLOADS_MAX: usize = 64;

/// A bucket, and what stands before the path of each file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// Without a `/` at either end; empty is the whole bucket.
    pub prefix: String,
}

impl Place {
    /// Reads `s3://bucket/prefix`.
    pub fn parse(url: &str) -> Option<Self> {
        let (bucket, prefix) = match url.strip_prefix("s3://")?.split_once('/') {
            Some((bucket, prefix)) => (bucket, prefix.trim_end_matches('/')),
            None => (url.strip_prefix("s3://")?, ""),
        };
        let is_bucket = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte)
            });
        let is_part = |part: &str| {
            !part.is_empty()
                && !matches!(part, "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._=-".contains(&byte))
        };
        let is_prefix = prefix.is_empty() || prefix.split('/').all(is_part);
        let place = Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
        (is_bucket && is_prefix).then_some(place)
    }
}

impl Config {
    /// Returns true when files also go to object storage.
    pub fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    /// Returns every mistake that shows only when values are seen together, each begun by its key.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.is_on() {
            return found;
        }
        let mut wrong = |key: &str, what: &str| found.push(format!("storage.objects.{key} {what}"));
        if Place::parse(&self.url).is_none() {
            wrong("url", "must be s3://bucket/prefix, the prefix of letters, digits and . _ = - /");
        }
        let schemes = ["https://", "http://"];
        if !self.endpoint.is_empty() && !schemes.iter().any(|s| self.endpoint.starts_with(s)) {
            wrong("endpoint", "must begin with https:// (or http://, which anyone can listen to)");
        }
        if self.endpoint.contains('@') {
            wrong("endpoint", "must not hold a user name or password: see access_key_id");
        }
        if self.access_key_id.is_empty() != self.secret_access_key_file.is_none() {
            wrong("secret_access_key_file", "and access_key_id go together: set both or none");
        }
        if !(1..=UPLOADS_MAX).contains(&self.uploads_max) {
            wrong("uploads_max", &format!("must be from 1 to {UPLOADS_MAX}"));
        }
        if self.timeout.as_ms() == 0 || self.connect_timeout.as_ms() == 0 {
            wrong("timeout", "and connect_timeout must be more than 0");
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_what_stands_before_the_paths() {
        let read = |url| Place::parse(url).map(|place| (place.bucket, place.prefix));
        let of = |bucket: &str, prefix: &str| Some((bucket.to_owned(), prefix.to_owned()));

        assert_eq!(read("s3://telemetry"), of("telemetry", ""));
        assert_eq!(read("s3://telemetry/"), of("telemetry", ""));
        assert_eq!(read("s3://telemetry/prod/eu/"), of("telemetry", "prod/eu"));
        for wrong in
            ["telemetry", "s3://", "s3://Ab", "gs://telemetry", "s3://tel/../x", "s3://tel//x"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_off_has_no_mistakes_and_what_is_on_is_held_to_its_word() {
        let off = Config { endpoint: "nonsense".to_owned(), ..Config::default() };
        let on = Config { url: "s3://telemetry/prod".to_owned(), ..Config::default() };
        let wrong = Config {
            endpoint: "minio:9000".to_owned(),
            access_key_id: "key".to_owned(),
            uploads_max: 0,
            ..on.clone()
        };

        assert!(off.mistakes().is_empty() && on.mistakes().is_empty());
        let keys: Vec<String> = wrong.mistakes();
        let keys: Vec<&str> = keys.iter().filter_map(|text| text.split(' ').next()).collect();
        let want = ["endpoint", "secret_access_key_file", "uploads_max"];
        assert_eq!(keys, want.map(|key| format!("storage.objects.{key}")));
    }
}
