//! Names as Prometheus had them before they could be any text: what stands without quotes in its
//! languages, and what older scrapers can read.

/// Returns true for letters, digits, `_` and `:` that do not begin with a digit.
pub fn is_metric_name(name: &str) -> bool {
    is_name(name, |byte| matches!(byte, b'_' | b':'))
}

/// Returns true for letters, digits and `_` that do not begin with a digit.
pub fn is_label_name(name: &str) -> bool {
    is_name(name, |byte| byte == b'_')
}

fn is_name(name: &str, is_sign: impl Fn(u8) -> bool) -> bool {
    let begins_well = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    begins_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_sign(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, of_metric: bool, of_label: bool) {
        assert_eq!((is_metric_name(name), is_label_name(name)), (of_metric, of_label), "{name}");
    }

    #[test]
    fn labels_have_no_colon_and_nothing_begins_with_a_digit() {
        check("up", true, true);
        check("_a1", true, true);
        check("job:up:sum", true, false);
        check(":a", true, false);
        for name in ["", "1a", "a-b", "a.b", "é", "a b"] {
            check(name, false, false);
        }
    }
}
