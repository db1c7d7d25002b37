//! Where in its JSON a line keeps what its labels are named after.
//!
//! The label `a_b` may be `{"a_b":…}`, `{"a":{"b":…}}` or `{"a-b":…}`. Logs Drilldown has to know which to
//! ask for one of them alone (`| json a_b="a.b"`), so the keys are told as they stand in the line.

use std::collections::BTreeMap;

use super::json::{DEPTH_MAX, Flow, JsonError, Value, members, push_part};

/// The keys that lead to each value, by the label that `json` makes of it.
pub(in super::super) type Places = BTreeMap<String, Vec<String>>;

/// The longest keys that are told, together: every value below a key repeats it.
const PLACE_BYTES_MAX: usize = 1_024;

/// Returns where the values of a line are, as far as it can be read. Of those of one name it is the first.
pub(in super::super) fn json_places(line: &str) -> Places {
    let mut walk = Walk::default();
    // What was found before a fault counts.
    let _: Result<Flow, JsonError> = walk.object(line, DEPTH_MAX);
    walk.found
}

#[derive(Default)]
struct Walk {
    name: String,
    keys: Vec<String>,
    found: Places,
}

impl Walk {
    fn object(&mut self, text: &str, depth_left: usize) -> Result<Flow, JsonError> {
        if depth_left == 0 {
            return Err(JsonError::TooDeep);
        }
        members(text, &mut |key, value| {
            let n_name = self.name.len();
            self.keys.push(key.to_string());
            if !matches!(value, Value::Null | Value::Array(_)) {
                push_part(&mut self.name, &key)?;
                self.value(value, depth_left)?;
            }
            self.keys.pop();
            self.name.truncate(n_name);
            Ok(Flow::On)
        })
    }

    fn value(&mut self, value: Value<'_>, depth_left: usize) -> Result<Flow, JsonError> {
        if let Value::Object(inner) = value {
            return self.object(inner, depth_left - 1);
        }
        let n_bytes: usize = self.keys.iter().map(String::len).sum();
        if n_bytes <= PLACE_BYTES_MAX && !self.found.contains_key(&self.name) {
            self.found.insert(self.name.clone(), self.keys.clone());
        }
        Ok(Flow::On)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, want: &[(&str, &str)]) {
        let places = json_places(line);
        let found: Vec<_> = places.iter().map(|(name, keys)| (&**name, keys.join("|"))).collect();
        let found: Vec<_> = found.iter().map(|(name, keys)| (*name, keys.as_str())).collect();
        assert_eq!(found, want, "{line}");
    }

    #[test]
    fn keys_are_told_as_they_stand_in_the_line() {
        check(r#"{"a":1,"b-c":{"d e":true,"f":[1]}}"#, &[("a", "a"), ("b_c_d_e", "b-c|d e")]);
        check(r#"{"a":{"b":1},"a_b":2,"n":null}"#, &[("a_b", "a|b")]);
        check(r#"{"a":1,"b":"cut"#, &[("a", "a")]);
        check("no JSON", &[]);
        let spaces = " ".repeat(1_100);
        check(&format!(r#"{{"{spaces}":{{"a":1}},"b":2}}"#), &[("b", "b")]);
    }
}
