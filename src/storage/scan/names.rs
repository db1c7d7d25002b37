//! The label sets of series with samples in a range, and the names and values of labels, without the
//! samples.

use hashbrown::HashSet;

use super::histograms::Form;
use super::plan::{Found, OfCommons, Plan, Wanted, commons_of};
use super::{SERIES_LIMIT, Scan};
use crate::model::{Commons, Labels, Matcher};
use crate::storage::files::group_series::{
    GroupSeries, Menu, Place, Values, find_groups, find_values,
};
use crate::storage::files::read::Selection;
use crate::storage::head::CommonsHead;
use crate::storage::head::metrics::MetricsHead;
use crate::storage::snapshot::Snapshot;
use crate::storage::{FileEntry, ReadError, SeriesRequest};

/// Rows of series whose samples have to be looked at, at a time.
const BLOCK_ROWS: usize = 1 << 20;

impl Snapshot {
    /// Returns the labels of the matching series with at least one sample in the range, sorted.
    pub fn series(&self, request: &SeriesRequest<'_>) -> Result<Vec<Labels>, ReadError> {
        let mut found = self.series_unsorted(request)?;
        found.sort();
        Ok(found)
    }

    /// The same in any order, each label set once.
    pub fn series_unsorted(&self, request: &SeriesRequest<'_>) -> Result<Vec<Labels>, ReadError> {
        self.series_of(&commons_of(self, request.matchers), request, SERIES_LIMIT)
    }

    /// Returns the commons that a question is about, for one that looks at one after the other.
    pub fn commons_asked(&self, matchers: &[Matcher]) -> Vec<Commons> {
        commons_of(self, matchers)
    }

    /// Returns the series of some commons, all of which the scope covers, likewise; `series_limit` is the
    /// key that is named when they are more than `series_max`.
    pub fn series_of(
        &self,
        commons: &[Commons],
        request: &SeriesRequest<'_>,
        series_limit: &'static str,
    ) -> Result<Vec<Labels>, ReadError> {
        self.series_wanted(commons, request, Wanted::all(series_limit))
    }

    /// Returns as many of the series as are enough, whichever they are and in any order, or all when they
    /// are fewer; the others are not looked at. `series_limit` is the key of `series_max`, which holds for
    /// those of one commons that have to be looked at.
    pub fn some_series(
        &self,
        request: &SeriesRequest<'_>,
        enough: usize,
        series_limit: &'static str,
    ) -> Result<Vec<Labels>, ReadError> {
        let mut found = Vec::new();
        for commons in self.commons_asked(request.matchers) {
            if found.len() == enough {
                break;
            }
            let wanted = Wanted { enough: Some(enough - found.len()), series_limit };
            found.extend(self.series_wanted(&[commons], request, wanted)?);
            found.truncate(enough);
        }
        Ok(found)
    }

    fn series_wanted(
        &self,
        commons: &[Commons],
        request: &SeriesRequest<'_>,
        wanted: Wanted,
    ) -> Result<Vec<Labels>, ReadError> {
        let enough = wanted.enough.unwrap_or(usize::MAX);
        loop {
            let mut plan = self.plan_of(Form::Seen, commons, request, wanted)?;
            let mut found: Vec<Labels> = Vec::new();
            for of in &mut plan.commons {
                take_certain(of, (request.start_ms, request.end_ms), &mut found);
            }
            match self.add_uncertain(request, plan, (&mut found, enough)) {
                Err(error) if error.leaves_out() => {} // Noted: once more without it.
                added => return added.map(|()| found),
            }
        }
    }

    /// Returns what a menu lists of the matching series with at least one sample in the range, each text
    /// once, in any order. Series are looked at one by one where nothing else tells; of each commons at most
    /// `series_max`, and `series_limit` is the key of that.
    pub fn menu(
        &self,
        menu: Menu<'_>,
        request: &SeriesRequest<'_>,
        series_limit: &'static str,
    ) -> Result<Vec<String>, ReadError> {
        let mut texts = Texts { menu, found: HashSet::new() };
        let is_any = request.matchers.iter().all(|matcher| matcher.name == "commons");
        for commons in self.commons_asked(request.matchers) {
            if !is_any || !self.add_known(&commons, request, &mut texts)? {
                let found = self.series_of(&[commons], request, series_limit)?;
                found.iter().for_each(|labels| menu.of(labels, &mut |text| texts.take(text)));
            }
        }
        Ok(texts.found.into_iter().collect())
    }

    /// Adds what is known of all series of a commons without a look at each; returns false when there may
    /// be more.
    fn add_known(
        &self,
        commons: &Commons,
        request: &SeriesRequest<'_>,
        texts: &mut Texts<'_>,
    ) -> Result<bool, ReadError> {
        loop {
            match self.add_of_commons(commons, (request.start_ms, request.end_ms), texts) {
                Err(error) => self.leave_out(error)?,
                is_all => return is_all,
            }
        }
    }

    fn add_of_commons(
        &self,
        commons: &Commons,
        range: (i64, i64),
        texts: &mut Texts<'_>,
    ) -> Result<bool, ReadError> {
        let mut unsure = Vec::new();
        for entry in self.metrics_files(commons, range) {
            self.go_on()?;
            if entry.has_exp || entry.deleted().is_some() {
                return Ok(false);
            }
            let mut of_file = HashSet::new();
            let values = self.in_file(commons, (&entry, range), |place| {
                find_values(self.disk(), self.footers(), place, texts.menu)
            })?;
            texts.add_values(&values, range, &mut of_file);
            if !of_file.is_empty() {
                unsure.push((entry, of_file));
            }
        }
        for head in self.heads(commons) {
            self.go_on()?;
            if !texts.add_head(&head, range) {
                return Ok(false);
            }
        }
        for (entry, of_file) in unsure {
            if !self.add_unsure(commons, (&entry, range), of_file, texts)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks at the series of a file for texts whose samples lie before the range and after it; returns
    /// false when only the samples can tell.
    fn add_unsure(
        &self,
        commons: &Commons,
        (entry, range): (&FileEntry, (i64, i64)),
        mut unsure: HashSet<String>,
        texts: &mut Texts<'_>,
    ) -> Result<bool, ReadError> {
        unsure.retain(|text| !texts.found.contains(text));
        if unsure.is_empty() {
            return Ok(true);
        }
        let groups = self.in_file(commons, (entry, range), |place| {
            find_groups(self.disk(), self.footers(), place)
        })?;
        let mut around = HashSet::new();
        for (_, series) in groups {
            texts.add_runs(&series, range, &mut unsure, &mut around);
        }
        Ok(!around.iter().any(|text| unsure.contains(text)))
    }

    /// Returns what `find` finds in a file of a commons, whatever the series are.
    fn in_file<T>(
        &self,
        commons: &Commons,
        (entry, range): (&FileEntry, (i64, i64)),
        find: impl FnOnce(&Place<'_>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let selection = Selection { matchers: &[], start_ms: range.0, end_ms: range.1 };
        let registered = self.registered(commons);
        let known = |id| registered.as_ref()?.registry.read().labels_of_id(id);
        let is_over = || self.is_stopped();
        find(&Place { entry, selection, known: &known, is_over: &is_over })
    }

    fn add_uncertain(
        &self,
        request: &SeriesRequest<'_>,
        mut plan: Plan,
        (found, enough): (&mut Vec<Labels>, usize),
    ) -> Result<(), ReadError> {
        plan.commons.retain(|of| !of.series.is_empty());
        if plan.commons.is_empty() {
            return Ok(());
        }
        let mut scan = Scan::new(self, request, plan, (false, Form::Seen));
        while found.len() < enough
            && let Some(block) = scan.next_block(BLOCK_ROWS)?
        {
            found.extend(block.into_iter().map(|series| series.labels));
        }
        Ok(())
    }
}

/// The texts of a menu.
struct Texts<'a> {
    menu: Menu<'a>,
    found: HashSet<String>,
}

impl Texts<'_> {
    fn take(&mut self, text: &str) {
        if !text.is_empty() && !self.found.contains(text) {
            self.found.insert(text.to_owned());
        }
    }

    /// Adds the texts of series that have a sample in the range for sure, and to `unsure` those whose
    /// samples lie before it and after it.
    fn add_values(
        &mut self,
        values: &Values,
        (start_ms, end_ms): (i64, i64),
        unsure: &mut HashSet<String>,
    ) {
        values.each(&mut |text, (min_ms, max_ms)| {
            if self.found.contains(text) || max_ms < start_ms || end_ms < min_ms {
                return;
            }
            let is_certain = start_ms <= min_ms || max_ms <= end_ms;
            let texts = if is_certain { &mut self.found } else { &mut *unsure };
            texts.insert(text.to_owned());
        });
    }

    /// Adds those of the unsure texts of which a series has a sample in the range for sure, and to `around`
    /// those of which one has samples before it and after it.
    fn add_runs(
        &mut self,
        group: &GroupSeries,
        (start_ms, end_ms): (i64, i64),
        unsure: &mut HashSet<String>,
        around: &mut HashSet<String>,
    ) {
        // A text has many series: mostly the first that has it is in the range.
        let is_in = |ms| start_ms <= ms && ms <= end_ms;
        let mut runs = group.runs().iter();
        while !unsure.is_empty()
            && let Some(run) = runs.next()
        {
            if is_in(run.min_ms) || is_in(run.max_ms) {
                self.menu.of(&run.labels, &mut |text| self.found.extend(unsure.take(text)));
            } else if run.min_ms < start_ms && end_ms < run.max_ms {
                self.menu.of(&run.labels, &mut |text| {
                    if unsure.contains(text) {
                        around.insert(text.to_owned());
                    }
                });
            }
        }
    }

    fn add_head(&mut self, head: &CommonsHead, range: (i64, i64)) -> bool {
        let registry = head.entry.registry.read();
        let metrics = head.metrics.read();
        let Some(times_ms) = metrics.time_range_ms() else { return true };
        let mut look = Look { metrics: &metrics, range, times_ms, is_certain: true };
        match self.menu {
            Menu::Names => {
                for (name, series) in registry.listed_names() {
                    if !self.found.contains(name) && look.has_sample(series) {
                        self.take(name);
                    }
                }
            }
            Menu::Values(name) => {
                for (value, series) in registry.listed(name) {
                    if !self.found.contains(value) && look.has_sample(series.iter().copied()) {
                        self.take(value);
                    }
                }
            }
        }
        look.is_certain
    }
}

/// A look at which series of a head have samples in a range.
struct Look<'a> {
    metrics: &'a MetricsHead,
    range: (i64, i64),
    times_ms: (i64, i64),
    /// False when for some that is not known without their samples.
    is_certain: bool,
}

impl Look<'_> {
    /// Returns true when one of the series has a sample in the range for sure.
    fn has_sample(&mut self, series: impl Iterator<Item = u32>) -> bool {
        let (start_ms, end_ms) = self.range;
        let is_whole = start_ms <= self.times_ms.0 && self.times_ms.1 <= end_ms;
        let mut is_any = false;
        for slot in series.filter_map(|series_idx| self.metrics.find(series_idx)) {
            is_any = true;
            let chunk = self.metrics.chunk(slot);
            let is_in = is_whole || (start_ms <= chunk.last_ms() && chunk.last_ms() <= end_ms);
            if is_in && !chunk.is_empty() {
                return true;
            }
        }
        self.is_certain &= !is_any; // Histograms, or samples before the last.
        false
    }
}

/// Takes the series out that have a sample in the range for sure, and leaves those of which the samples
/// must be looked at.
fn take_certain(of: &mut OfCommons, range: (i64, i64), found: &mut Vec<Labels>) {
    let is_certain =
        |one: &Found| one.is_certain || of.heads.iter().any(|head| one.is_in(head, range));
    let is_left: Vec<bool> = of.series.iter().map(|one| !is_certain(one)).collect();
    let mut place_of = vec![0; is_left.len()];
    let mut n_left = 0;
    for (place, is_left) in place_of.iter_mut().zip(&is_left) {
        *place = n_left;
        n_left += u32::from(*is_left);
    }
    for (_, pieces) in &mut of.files {
        pieces.retain(|piece| is_left[piece.place as usize]);
        pieces.iter_mut().for_each(|piece| piece.place = place_of[piece.place as usize]);
    }
    of.files.retain(|(_, pieces)| !pieces.is_empty());
    let series = std::mem::take(&mut of.series);
    let registry = of.heads.first().map(|head| head.entry.registry.read());
    for (mut one, is_left) in series.into_iter().zip(is_left) {
        if is_left {
            of.series.push(one);
        } else {
            found.push(one.take_labels(registry.as_deref()));
        }
    }
}
