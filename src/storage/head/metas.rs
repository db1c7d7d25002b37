//! What is known of the series of a commons beside their labels, each distinct value once.
//!
//! A commons has a handful of (kind, temporality, unit, rule). A sender can make up a unit for each
//! series all the same, so a value is found by its hash and leaves with its last series.

use hashbrown::HashMap;

use crate::model::SeriesMeta;

#[derive(Debug)]
struct Counted {
    meta: SeriesMeta,
    n_series: u32,
}

/// Distinct metas by index.
#[derive(Debug, Default)]
pub struct Metas {
    all: Vec<Counted>,
    by_meta: HashMap<SeriesMeta, u32>,
    free: Vec<u32>,
}

impl Metas {
    /// Returns the index of a meta, which has one series more now.
    pub fn take(&mut self, meta: &SeriesMeta) -> u32 {
        if let Some(&idx) = self.by_meta.get(meta) {
            self.all[idx as usize].n_series += 1;
            return idx;
        }
        let counted = Counted { meta: meta.clone(), n_series: 1 };
        let idx = match self.free.pop() {
            Some(idx) => {
                self.all[idx as usize] = counted;
                idx
            }
            None => {
                self.all.push(counted);
                u32::try_from(self.all.len() - 1).expect("there are fewer metas than series")
            }
        };
        self.by_meta.insert(meta.clone(), idx);
        idx
    }

    /// Says that a series of this meta is gone.
    pub fn give_back(&mut self, idx: u32) {
        let counted = &mut self.all[idx as usize];
        counted.n_series -= 1;
        if counted.n_series == 0 {
            self.by_meta.remove(&counted.meta);
            self.free.push(idx);
        }
    }

    /// Returns the meta at an index.
    pub fn get(&self, idx: u32) -> &SeriesMeta {
        &self.all[idx as usize].meta
    }

    /// Returns the number of distinct metas.
    pub fn len(&self) -> usize {
        self.by_meta.len()
    }

    /// Returns true when there is no series.
    pub fn is_empty(&self) -> bool {
        self.by_meta.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn unit(text: &str) -> SeriesMeta {
        SeriesMeta { unit: Arc::from(text), ..SeriesMeta::default() }
    }

    #[test]
    fn a_meta_leaves_with_its_last_series() {
        let mut metas = Metas::default();
        let (s, by) = (metas.take(&unit("s")), metas.take(&unit("By")));
        assert_eq!((metas.take(&unit("s")), metas.len()), (s, 2));

        metas.give_back(s);
        assert_eq!(metas.get(s), &unit("s"));
        metas.give_back(s);

        assert_eq!((metas.len(), metas.take(&unit("1")), metas.get(by)), (1, s, &unit("By")));
    }
}
