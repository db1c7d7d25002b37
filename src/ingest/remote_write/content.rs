//! Which schema and compression a request says it has.
//!
//! The schema is chosen by `Content-Type` alone, as the 2.0 specification demands. Headers that are
//! missing mean 1.0 and snappy, as in Prometheus' own receiver, for senders older than the headers.

use http::{HeaderMap, header};

use crate::ingest::IngestError;

const MEDIA_TYPE: &str = "application/x-protobuf";
const WANTED_TYPE: &str =
    "`application/x-protobuf` or `application/x-protobuf;proto=prometheus.WriteRequest`";

/// Refuses what is not remote write 1.0 in snappy.
pub(super) fn check(headers: &HeaderMap) -> Result<(), IngestError> {
    let content_type = text(headers, &header::CONTENT_TYPE);
    if !content_type.is_empty() && !is_write_request(&content_type) {
        return Err(IngestError::UnsupportedType { got: content_type, wanted: WANTED_TYPE });
    }
    let encoding = text(headers, &header::CONTENT_ENCODING);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("snappy") {
        return Err(IngestError::UnsupportedEncoding { got: encoding, wanted: "snappy" });
    }
    Ok(())
}

fn is_write_request(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let is_media_type = parts.next().is_some_and(|part| part.eq_ignore_ascii_case(MEDIA_TYPE));
    let is_schema = |part: &str| match part.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("proto") => {
            value.trim().trim_matches('"') == "prometheus.WriteRequest"
        }
        // Other parameters, a charset say, choose nothing.
        _ => true,
    };
    is_media_type && parts.all(is_schema)
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.map_or(String::new(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_type(content_type: &str, want: bool) {
        assert_eq!(is_write_request(content_type), want, "{content_type}");
    }

    #[test]
    fn remote_write_1_is_taken() {
        check_type("application/x-protobuf", true);
        check_type("application/x-protobuf;proto=prometheus.WriteRequest", true);
        check_type("Application/X-Protobuf; Proto=\"prometheus.WriteRequest\"", true);
        check_type("application/x-protobuf; charset=utf-8", true);
    }

    #[test]
    fn another_schema_is_not() {
        check_type("application/x-protobuf;proto=io.prometheus.write.v2.Request", false);
        check_type("application/x-protobuf;proto=", false);
        check_type("application/x-protobuf;proto=prometheus.writerequest", false);
        check_type("application/json", false);
        check_type("text/plain", false);
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
        let got = check(&headers).err().map(|error| error.status().as_u16());
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
