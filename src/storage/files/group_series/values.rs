//! The values that a label has in a file, for menus, which ask for the same again and again.
//!
//! They are texts that lie one behind the other, each with the times of its first and last sample: far
//! less than what is known of the series, and so they are kept beside it, up to
//! `storage.values_cache`. A menu of a commons whose series do not fit into `storage.series_cache` would
//! otherwise read the labels of all of its files each time, and one whose series do would walk over
//! labels that lie anywhere in memory. They are of the whole file, because most values of a label are in
//! most of its row groups.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Run;
use crate::model::Labels;

/// What is listed of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Menu<'a> {
    /// The names of their labels.
    Names,
    /// The values of one label.
    Values(&'a str),
}

impl Menu<'_> {
    /// Hands on what is listed of one series.
    pub(in crate::storage) fn of<'l>(self, labels: &'l Labels, take: &mut dyn FnMut(&'l str)) {
        match self {
            Menu::Names => labels.iter().for_each(|(name, _)| take(name)),
            Menu::Values(name) => labels.get(name).into_iter().for_each(take),
        }
    }

    /// Returns what no other menu is called: no label has an empty name.
    pub(super) fn name(self) -> Arc<str> {
        match self {
            Menu::Names => Arc::from(""),
            Menu::Values(name) => Arc::from(name),
        }
    }
}

/// The texts of a menu in one file, each once.
#[derive(Debug, Default)]
pub struct Values {
    /// One text behind the other.
    all: String,
    each: Vec<Value>,
}

/// A text of a menu.
#[derive(Debug)]
struct Value {
    /// Where it ends in all of them.
    end: usize,
    /// The times of the first and the last sample of its series, ms since 1970 UTC.
    times_ms: (i64, i64),
}

impl Values {
    /// Hands on each text and the times of its first and last sample, ms since 1970 UTC.
    pub fn each(&self, take: &mut dyn FnMut(&str, (i64, i64))) {
        let mut from = 0;
        for Value { end, times_ms } in &self.each {
            take(&self.all[from..*end], *times_ms);
            from = *end;
        }
    }

    /// Returns what they take.
    pub(super) fn n_bytes(&self) -> usize {
        size_of::<Self>() + self.all.capacity() + size_of::<Value>() * self.each.capacity()
    }
}

/// The texts of some row groups so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    found: Values,
    /// The place of each in them.
    places: HashMap<String, usize>,
}

impl Gathered {
    /// Adds the texts of the series of a row group.
    pub(super) fn add(&mut self, runs: &[Run], menu: Menu<'_>) {
        for run in runs {
            menu.of(&run.labels, &mut |text| self.add_one(text, (run.min_ms, run.max_ms)));
        }
    }

    fn add_one(&mut self, text: &str, (min_ms, max_ms): (i64, i64)) {
        let Values { all, each } = &mut self.found;
        let place = *self.places.entry_ref(text).or_insert(each.len());
        if let Some(Value { times_ms, .. }) = each.get_mut(place) {
            *times_ms = (times_ms.0.min(min_ms), times_ms.1.max(max_ms));
            return;
        }
        all.push_str(text);
        each.push(Value { end: all.len(), times_ms: (min_ms, max_ms) });
    }

    /// Returns all of them.
    pub(super) fn finish(mut self) -> Values {
        self.found.all.shrink_to_fit();
        self.found.each.shrink_to_fit();
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pairs: &[(&str, &str)], (min_ms, max_ms): (i64, i64)) -> Run {
        let labels = Labels::from_pairs(pairs.iter().copied());
        Run { labels, id: 0, first_row: 0, n_rows: 1, min_ms, max_ms }
    }

    fn found(groups: &[&[Run]], menu: Menu<'_>) -> Vec<(String, (i64, i64))> {
        let (mut gathered, mut all) = (Gathered::default(), Vec::new());
        groups.iter().for_each(|runs| gathered.add(runs, menu));
        gathered.finish().each(&mut |text, times_ms| all.push((text.to_owned(), times_ms)));
        all
    }

    fn owned(all: &[(&str, (i64, i64))]) -> Vec<(String, (i64, i64))> {
        all.iter().map(|(text, times_ms)| ((*text).to_owned(), *times_ms)).collect()
    }

    #[test]
    fn each_value_comes_once_with_the_times_of_all_its_series() {
        let of = |pod: &str, times_ms| run(&[("__name__", "m"), ("pod", pod)], times_ms);
        let bare = run(&[("__name__", "m")], (1, 2));
        let one = [of("b", (5, 6)), of("a", (3, 3)), bare];
        let other = [of("b", (2, 5)), of("ä", (7, 9)), of("", (0, 99))];
        let groups: [&[Run]; 2] = [&one, &other];

        // A label without a text is none.
        let wanted = owned(&[("b", (2, 6)), ("a", (3, 3)), ("ä", (7, 9))]);
        assert_eq!(found(&groups, Menu::Values("pod")), wanted);
        assert_eq!(found(&groups, Menu::Values("__name__")), owned(&[("m", (0, 99))]));
        assert_eq!(found(&groups, Menu::Names), owned(&[("__name__", (0, 99)), ("pod", (2, 9))]));
        assert!(found(&groups, Menu::Values("zone")).is_empty());
    }
}
