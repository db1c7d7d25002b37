//! Which schema and compression a request says it has.
//!
//! The schema is chosen by `Content-Type` alone, as the 2.0 specification demands. Headers that are
//! missing mean 1.0 and snappy, as in Prometheus' own receiver, for senders older than the headers.

use http::{HeaderMap, header};

use crate::ingest::IngestError;

const MEDIA_TYPE: &str = "application/x-protobuf";
const WANTED_TYPE: &str = "`application/x-protobuf`, with `;proto=prometheus.WriteRequest` or \
    `;proto=io.prometheus.write.v2.Request`";

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// `prometheus.WriteRequest`
    V1,
    /// `io.prometheus.write.v2.Request`
    V2,
}

/// Returns which version a request is of; refuses what is neither, or not in snappy.
pub(super) fn version(headers: &HeaderMap) -> Result<Version, IngestError> {
    let content_type = text(headers, &header::CONTENT_TYPE);
    let version = match &*content_type {
        "" => Some(Version::V1),
        content_type => version_of(content_type),
    };
    let Some(version) = version else {
        return Err(IngestError::UnsupportedType { got: content_type, wanted: WANTED_TYPE });
    };
    let encoding = text(headers, &header::CONTENT_ENCODING);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("snappy") {
        return Err(IngestError::UnsupportedEncoding { got: encoding, wanted: "snappy" });
    }
    Ok(version)
}

fn version_of(content_type: &str) -> Option<Version> {
    let mut parts = content_type.split(';').map(str::trim);
    parts.next().filter(|part| part.eq_ignore_ascii_case(MEDIA_TYPE))?;
    let mut version = Version::V1;
    for part in parts {
        let Some((name, value)) = part.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("proto") {
            version = match value.trim().trim_matches('"') {
                "prometheus.WriteRequest" => Version::V1,
                "io.prometheus.write.v2.Request" => Version::V2,
                _ => return None,
            };
        } // Other parameters, a charset say, choose nothing.
    }
    Some(version)
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.map_or(String::new(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_type(content_type: &str, want: Option<Version>) {
        assert_eq!(version_of(content_type), want, "{content_type}");
    }

    #[test]
    fn the_schema_is_the_version() {
        check_type("application/x-protobuf", Some(Version::V1));
        check_type("application/x-protobuf;proto=prometheus.WriteRequest", Some(Version::V1));
        check_type("Application/X-Protobuf; Proto=\"prometheus.WriteRequest\"", Some(Version::V1));
        check_type("application/x-protobuf; charset=utf-8", Some(Version::V1));
        let second = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
        check_type(second, Some(Version::V2));
        check_type(&format!("{second}; charset=utf-8"), Some(Version::V2));
    }

    #[test]
    fn another_schema_is_not_taken() {
        check_type("application/x-protobuf;proto=io.prometheus.write.v3.Request", None);
        check_type("application/x-protobuf;proto=", None);
        check_type("application/x-protobuf;proto=prometheus.writerequest", None);
        check_type("application/json", None);
        check_type("text/plain", None);
    }

    #[track_caller]
    fn check_headers(content_type: Option<&str>, encoding: Option<&str>, want: Option<u16>) {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [(header::CONTENT_TYPE, content_type), (header::CONTENT_ENCODING, encoding)]
        {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        let got = version(&headers).err().map(|error| error.status().as_u16());
        assert_eq!(got, want, "{content_type:?} {encoding:?}");
    }

    #[test]
    fn missing_headers_mean_the_first_version() {
        check_headers(None, None, None);
        check_headers(Some("application/x-protobuf"), None, None);
        check_headers(None, Some("snappy"), None);
    }

    #[test]
    fn what_is_not_supported_is_415() {
        check_headers(None, Some("gzip"), Some(415));
        check_headers(None, Some("identity"), Some(415));
        check_headers(Some("application/json"), Some("snappy"), Some(415));
    }
}
