//! From the section of the configuration to a client that speaks S3. Secrets are read here, and go
//! nowhere but to the client.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};

use super::config::{Config, Place};
use super::remote::Bucket;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file of the section cannot be read.
    #[error("cannot read {} (storage.objects.{key})", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The section does not describe an object store.
    #[error("cannot make a client of object storage of [storage.objects]: {0}")]
    Client(String),
}

/// Returns the bucket that the section names, which is not asked for anything yet; `None` when files
/// stay on the local disk.
pub fn connect(config: &Config) -> Result<Option<Arc<dyn Bucket>>, ConnectError> {
    let Some(place) = Place::parse(&config.url).filter(|_| config.is_on()) else { return Ok(None) };
    // What the environment says of credentials (AWS_…, roles of machines and containers) holds where
    // the section says nothing.
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(place.bucket)
        .with_region(&config.region)
        .with_client_options(client_options(config)?)
        .with_retry(retry(config));
    if !config.endpoint.is_empty() {
        builder = builder.with_endpoint(config.endpoint.trim_end_matches('/'));
    }
    if let Some(path) = &config.secret_access_key_file {
        let secret = read("secret_access_key_file", path)?;
        builder = builder
            .with_access_key_id(&config.access_key_id)
            .with_secret_access_key(String::from_utf8_lossy(&secret).trim());
    }
    let bucket = builder.build().map_err(|error| ConnectError::Client(error.to_string()))?;
    Ok(Some(Arc::new(bucket)))
}

fn client_options(config: &Config) -> Result<ClientOptions, ConnectError> {
    let options = ClientOptions::new()
        .with_allow_http(config.endpoint.starts_with("http://"))
        .with_timeout(config.timeout.0)
        .with_connect_timeout(config.connect_timeout.0);
    let Some(path) = &config.ca_file else { return Ok(options) };
    let certificates = Certificate::from_pem_bundle(&read("ca_file", path)?)
        .map_err(|error| ConnectError::Client(format!("{}: {error}", path.display())))?;
    Ok(certificates.into_iter().fold(options, ClientOptions::with_root_certificate))
}

fn retry(config: &Config) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: config.retries,
        retry_timeout: config.timeout.0,
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|source| ConnectError::File { key, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(secret: &Path) -> Config {
        Config {
            url: "s3://telemetry/prod".to_owned(),
            endpoint: "http://127.0.0.1:9".to_owned(),
            access_key_id: "the-key".to_owned(),
            secret_access_key_file: Some(secret.to_owned()),
            ..Config::default()
        }
    }

    #[test]
    fn nothing_shows_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "hunter2\n").unwrap();
        let config = config(&secret);

        let bucket = connect(&config).unwrap().expect("it is on");

        let shown = format!("{bucket:?} {bucket} {config:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn without_a_url_there_is_no_bucket_and_without_the_secret_an_error_names_its_key() {
        let config = config(Path::new("/there/is/none"));

        assert!(connect(&Config::default()).unwrap().is_none());
        let error = connect(&config).unwrap_err().to_string();
        assert!(error.contains("storage.objects.secret_access_key_file"), "{error}");
    }
}
