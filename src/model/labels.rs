//! The identity of a series: a sorted set of name-value pairs, packed into one allocation.
//!
//! The bytes are `name_len u16 | name | value_len u16 | value` (little-endian) for each pair, in
//! byte order of the names, each name once, no empty name and no empty value. The same bytes go
//! into the write-ahead log and are hashed for the series id, so they are a format: see
//! `docs/file-formats.md`.

use std::cmp::Ordering;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";
/// How a set begins whose first label is the metric.
const PACKED_METRIC_NAME: &[u8] = b"\x08\0__name__";
/// The label of the one series that stands for all of its metric that a limit refused.
pub const OVERFLOW: &str = "__overflow__";
/// The longest name or value that the packed form can hold.
pub const LABEL_BYTES_MAX: usize = u16::MAX as usize;

/// A sorted, duplicate-free label set. Cloning costs one counter.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

impl Labels {
    /// Returns the label set without labels.
    pub fn empty() -> Self {
        Self(Arc::from([]))
    }

    /// Returns the set of the given pairs in any order; empty values are left out, and of two
    /// pairs with one name the later wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// Returns the set of the given pairs, which are sorted on the way; empty values are left out, and
    /// of two pairs with one name one is taken.
    pub fn from_few(pairs: &mut [(&str, &str)]) -> Self {
        pairs.sort_unstable();
        let mut packed = Vec::with_capacity(pairs.iter().map(|(n, v)| 4 + n.len() + v.len()).sum());
        let mut last_name = "";
        for &(name, value) in pairs.iter() {
            let (name, value) = (cut(name), cut(value));
            if name != last_name && !value.is_empty() {
                push_packed(&mut packed, name);
                push_packed(&mut packed, value);
                last_name = name;
            }
        }
        Self(Arc::from(packed))
    }

    /// Returns true when somebody else holds the same set in the same place.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Reads packed bytes back, or returns `None` when they are not a label set.
    pub fn from_packed(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut last_name: &[u8] = b"";
        while !rest.is_empty() {
            let (name, value);
            (name, rest) = split_packed(rest)?;
            (value, rest) = split_packed(rest)?;
            std::str::from_utf8(name).ok()?;
            std::str::from_utf8(value).ok()?;
            if name <= last_name || value.is_empty() {
                return None;
            }
            last_name = name;
        }
        Some(Self(Arc::from(bytes)))
    }

    /// Returns the packed bytes.
    pub fn packed(&self) -> &[u8] {
        &self.0
    }

    /// Returns the series id: xxh3-64 of the packed bytes.
    pub fn series_id(&self) -> u64 {
        xxh3_64(&self.0)
    }

    /// Returns the value of `name`, or `None`; an absent label and an empty one are the same.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut rest: &[u8] = &self.0;
        loop {
            let (found, value);
            (found, rest) = split_packed(rest)?;
            (value, rest) = split_packed(rest)?;
            match found.cmp(name.as_bytes()) {
                Ordering::Less => {}
                Ordering::Equal => return std::str::from_utf8(value).ok(),
                Ordering::Greater => return None, // Names ascend.
            }
        }
    }

    /// Returns the metric name, or the empty string.
    pub fn metric(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// Returns true when no name of a label comes before that of the metric. Among such sets the order by
    /// metric is that of all labels.
    pub fn begins_with_metric(&self) -> bool {
        self.0.starts_with(PACKED_METRIC_NAME)
    }

    /// Compares by metric, and by all labels where that is the same: the order of series in files.
    pub fn cmp_by_metric(&self, other: &Self) -> Ordering {
        if self.begins_with_metric() && other.begins_with_metric() {
            return self.cmp(other);
        }
        self.metric().cmp(other.metric()).then_with(|| self.cmp(other))
    }

    /// Walks the pairs in byte order of their names.
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.0 }
    }

    /// Returns the number of labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns true when there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a set with only the labels that `keep` wants.
    pub fn retain(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        let mut packed = Vec::with_capacity(self.0.len());
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            push_packed(&mut packed, name);
            push_packed(&mut packed, value);
        }
        Self(Arc::from(packed))
    }

    /// Returns the set without `__name__`.
    pub fn without_metric(&self) -> Self {
        self.retain(|name| name != METRIC_NAME)
    }

    /// Returns a builder that starts from this set.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }
}

impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

/// Prints the set as PromQL would: `up{job="a"}`.
impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.metric())?;
        let mut separator = "{";
        for (name, value) in self.iter().filter(|(name, _)| *name != METRIC_NAME) {
            write!(f, "{separator}{name}={value:?}")?;
            separator = ", ";
        }
        match (separator, self.metric()) {
            (", ", _) => f.write_str("}"),
            (_, "") => f.write_str("{}"),
            _ => Ok(()),
        }
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Pair by pair, as Prometheus sorts series.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        cmp_packed(&self.0, &other.0)
    }
}

/// Compares two label sets by their packed bytes, pair by pair.
///
/// Series that meet in a sort share most of their labels, so the equal bytes are stepped over as
/// bytes, and only the text in which they part is looked at.
pub fn cmp_packed(a: &[u8], b: &[u8]) -> Ordering {
    let n_equal = n_equal_bytes(a, b);
    if n_equal == a.len().min(b.len()) {
        return a.len().cmp(&b.len()); // One begins with all pairs of the other.
    }
    let mut at = 0;
    while let Some((text, _)) = split_packed(&a[at..]) {
        let end = at + 2 + text.len();
        if end > n_equal {
            break;
        }
        at = end;
    }
    let text = |packed| split_packed(packed).map(|(text, _)| text);
    text(&a[at..]).cmp(&text(&b[at..]))
}

fn n_equal_bytes(a: &[u8], b: &[u8]) -> usize {
    const STRIDE: usize = 32;
    let strides = a.chunks_exact(STRIDE).zip(b.chunks_exact(STRIDE));
    let from = STRIDE * strides.take_while(|(a, b)| a == b).count();
    from + a[from..].iter().zip(&b[from..]).take_while(|(a, b)| a == b).count()
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::from_pairs(pairs)
    }
}

/// Walks the pairs of a [`Labels`].
#[derive(Debug, Clone)]
pub struct LabelsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = split_packed(self.rest)?;
        let (value, rest) = split_packed(rest)?;
        self.rest = rest;
        // Checked when the bytes were packed or read back; the check here costs less than the
        // memory it walks over.
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
    }
}

fn split_packed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))
}

fn push_packed(packed: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).expect("the builder cuts names and values to fit");
    packed.extend_from_slice(&len.to_le_bytes());
    packed.extend_from_slice(text.as_bytes());
}

/// Collects labels in any order. Names and values past [`LABEL_BYTES_MAX`] are cut; the limits at
/// the door are far below.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Returns a builder without labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a label, replacing an earlier one; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        let (name, value) = (cut(name), cut(value));
        let place = self.pairs.iter().position(|(n, _)| n == name);
        match (place, value.is_empty() || name.is_empty()) {
            (Some(idx), true) => drop(self.pairs.swap_remove(idx)),
            (Some(idx), false) => value.clone_into(&mut self.pairs[idx].1),
            (None, true) => {}
            (None, false) => self.pairs.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes a label if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| n != name);
        self
    }

    /// Returns the value set for `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Walks the pairs in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Keeps the pairs that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) -> &mut Self {
        self.pairs.retain(|(n, v)| keep(n, v));
        self
    }

    /// Returns the sorted, packed set.
    pub fn build(&self) -> Labels {
        let mut order: Vec<&(String, String)> = self.pairs.iter().collect();
        order.sort_unstable();
        let n_bytes = order.iter().map(|(n, v)| 4 + n.len() + v.len()).sum();
        let mut packed = Vec::with_capacity(n_bytes);
        for (name, value) in order {
            push_packed(&mut packed, name);
            push_packed(&mut packed, value);
        }
        Labels(Arc::from(packed))
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LABEL_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_and_the_last_of_a_name_wins() {
        let labels = Labels::from_pairs([("b", "1"), ("a", "2"), ("b", "3"), ("c", "")]);

        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
    }

    #[test]
    fn few_pairs_make_the_same_set_as_a_builder() {
        let mut pairs = [("b", "1"), ("__name__", "up"), ("c", ""), ("a", "2"), ("B", "x")];

        let labels = Labels::from_few(&mut pairs);

        assert_eq!(labels, Labels::from_pairs(pairs));
        assert_eq!(
            ["B", "a", "c", "d"].map(|name| labels.get(name)),
            [Some("x"), Some("2"), None, None]
        );
        assert!(!labels.is_shared() && labels.clone().is_shared());
    }

    #[test]
    fn packed_bytes_are_read_back() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "node")]);

        assert_eq!(Labels::from_packed(labels.packed()), Some(labels));
    }

    #[test]
    fn damaged_bytes_are_not_a_label_set() {
        let packed = Labels::from_pairs([("b", "1"), ("a", "2")]).packed().to_vec();

        assert_eq!(Labels::from_packed(&packed[..packed.len() - 1]), None);
        assert_eq!(Labels::from_packed(&[1, 0, 0xff, 1, 0, b'x']), None, "not UTF-8");
        assert_eq!(
            Labels::from_packed(&[1, 0, b'b', 1, 0, b'1', 1, 0, b'a', 1, 0, b'2']),
            None,
            "unsorted"
        );
    }

    #[test]
    fn prints_as_promql() {
        let up = Labels::from_pairs([("__name__", "up"), ("job", "a\"b")]);

        assert_eq!(up.to_string(), r#"up{job="a\"b"}"#);
        assert_eq!(Labels::empty().to_string(), "{}");
        assert_eq!(Labels::from_pairs([("__name__", "up")]).to_string(), "up");
    }

    #[test]
    fn order_is_pair_by_pair() {
        let short = Labels::from_pairs([("a", "1")]);
        let long = Labels::from_pairs([("a", "1"), ("b", "1")]);
        let other = Labels::from_pairs([("a", "10")]);

        assert!(short < long && long < other);
    }

    #[test]
    fn order_of_packed_bytes_is_the_order_of_pairs() {
        let texts = ["a", "b", "ab", "aa", "abcdefghijklmnopqrstuvwxyz0123456789", "z"];
        let mut all = vec![Labels::empty()];
        for (idx, first) in texts.iter().enumerate() {
            for second in texts {
                let shared = "x".repeat(300);
                all.push(Labels::from_pairs([("a", *first), ("b", &shared), ("c", second)]));
                all.push(Labels::from_pairs([(*first, second), ("b", &shared)]));
                all.push(Labels::from_pairs([("a", &shared[..idx * 50 + 1]), ("d", second)]));
            }
        }

        for a in &all {
            for b in &all {
                assert_eq!(a.cmp(b), a.iter().cmp(b.iter()), "{a} and {b}");
            }
        }
    }

    #[test]
    fn order_by_metric_is_that_of_all_labels_where_the_metric_comes_first() {
        let mut all = Vec::new();
        for metric in ["", "up", "up_total", "down"] {
            for (name, value) in
                [("A", "x"), ("__aa__", "x"), ("__o__", "x"), ("a", ""), ("a", "x")]
            {
                all.push(Labels::from_pairs([("__name__", metric), (name, value), ("b", "x")]));
            }
        }

        for a in &all {
            for b in &all {
                let wanted = a.metric().cmp(b.metric()).then_with(|| a.iter().cmp(b.iter()));
                assert_eq!(a.cmp_by_metric(b), wanted, "{a:?} and {b:?}");
            }
        }
        let firsts = all.iter().filter(|labels| labels.begins_with_metric());
        assert_eq!(firsts.count(), 9, "with a metric, and A and __aa__ before it");
    }
}
