//! Writing JSON text straight into a column: attributes, resources and label sets are stored as
//! JSON objects, so that a stranger's reader needs nothing of ours to take them apart.

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    // Most texts need no escape, and to see that takes whole vectors of bytes at a time.
    if !text.bytes().fold(false, |found, byte| found | needs_escape(byte)) {
        out.push_str(text);
        out.push('"');
        return;
    }
    let mut from = 0;
    for (idx, byte) in text.bytes().enumerate() {
        let escape: &str = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x00..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[from..idx]);
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        from = idx + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Appends a number as JSON; what JSON cannot say becomes `"NaN"`, `"Infinity"` or `"-Infinity"`,
/// as in OTLP's own JSON.
pub fn push_f64(out: &mut String, value: f64) {
    if value.is_finite() {
        out.push_str(ryu::Buffer::new().format_finite(value));
    } else if value.is_nan() {
        out.push_str("\"NaN\"");
    } else {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    }
}

/// Returns the JSON object of the given pairs, in their order.
pub fn object<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::with_capacity(256);
    push_object(&mut out, pairs);
    out
}

/// Appends the JSON object of the given pairs, in their order.
pub fn push_object<'a>(out: &mut String, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let mut separator = '{';
    for (name, value) in pairs {
        out.push(separator);
        separator = ',';
        push_string(out, name);
        out.push(':');
        push_string(out, value);
    }
    if separator == '{' {
        out.push('{');
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_quotes_are_escaped() {
        let mut out = String::new();

        push_string(&mut out, "a\"b\\c\n\u{1}é");

        assert_eq!(out, r#""a\"b\\c\n\u0001é""#);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), "a\"b\\c\n\u{1}é");
    }

    #[test]
    fn objects_are_valid_json() {
        assert_eq!(object([]), "{}");
        assert_eq!(object([("a", "1"), ("b", "x\"")]), r#"{"a":"1","b":"x\""}"#);
    }

    #[test]
    fn numbers_come_back_bit_for_bit() {
        for value in [0.1, -0.0, 1e300, 5e-324] {
            let mut out = String::new();
            push_f64(&mut out, value);
            assert_eq!(out.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}
