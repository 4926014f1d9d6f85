//! The order of steps: who comes after whom, cycles, ancestors.

use std::collections::BTreeSet;

/// For each step the steps it comes directly after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Graph(Vec<BTreeSet<usize>>);

impl Graph {
    /// Takes edges as `after[step]`. Edges to steps that do not exist are dropped.
    pub(crate) fn new(after: Vec<BTreeSet<usize>>) -> Self {
        let steps = after.len();
        Self(
            after
                .into_iter()
                .map(|set| set.into_iter().filter(|before| *before < steps).collect())
                .collect(),
        )
    }

    pub(crate) fn after(&self, step: usize) -> Option<&BTreeSet<usize>> {
        self.0.get(step)
    }

    /// Returns the steps in an order in which each stands behind those it comes after, otherwise as they are numbered;
    /// `None` if steps wait for each other.
    pub(crate) fn order(&self) -> Option<Vec<usize>> {
        let mut placed = BTreeSet::new();
        let mut order = Vec::with_capacity(self.0.len());
        while order.len() < self.0.len() {
            let ready = |(step, before): &(usize, &BTreeSet<usize>)| {
                !placed.contains(step) && before.is_subset(&placed)
            };
            let (next, _) = self.0.iter().enumerate().find(ready)?;
            placed.insert(next);
            order.push(next);
        }
        Some(order)
    }

    /// Numbers the steps anew, `order` naming the old number of each.
    pub(crate) fn renumbered(&self, order: &[usize]) -> Self {
        let number = |old: &usize| order.iter().position(|known| known == old);
        let after = |old: &usize| {
            self.after(*old)
                .into_iter()
                .flatten()
                .filter_map(number)
                .collect()
        };
        Self(order.iter().map(after).collect())
    }

    /// Drops the edges that follow from others, so that graphs of the same order are equal.
    pub(crate) fn reduced(&self) -> Self {
        let ancestors = self.ancestors();
        let follows = |before: &usize, all: &BTreeSet<usize>| {
            all.iter()
                .any(|other| ancestors.get(*other).is_some_and(|above| above.contains(before)))
        };
        let kept = |all: &BTreeSet<usize>| {
            all.iter()
                .filter(|before| !follows(before, all))
                .copied()
                .collect()
        };
        Self(self.0.iter().map(kept).collect())
    }

    /// Returns the cycles found, each as the steps along it; a step appears in at most one.
    pub(crate) fn cycles(&self) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        let mut removed = BTreeSet::new();
        loop {
            let open = self.unordered(&removed);
            let Some(start) = open.first() else { return found };
            let cycle = self.walk_back(*start, &open);
            removed.extend(cycle.iter().copied());
            found.push(cycle);
        }
    }

    /// Returns the steps that have no place in any order, those in `removed` left out.
    fn unordered(&self, removed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut open: BTreeSet<usize> = (0..self.0.len()).filter(|step| !removed.contains(step)).collect();
        loop {
            let ready: Vec<usize> = open
                .iter()
                .copied()
                .filter(|step| self.after(*step).is_none_or(|before| before.is_disjoint(&open)))
                .collect();
            if ready.is_empty() {
                return open;
            }
            open.retain(|step| !ready.contains(step));
        }
    }

    /// Each step in `open` comes after another one in `open`: going back must meet a step twice.
    fn walk_back(&self, start: usize, open: &BTreeSet<usize>) -> Vec<usize> {
        let mut way = vec![start];
        let mut at = start;
        while let Some(before) = self
            .after(at)
            .and_then(|before| before.intersection(open).next().copied())
        {
            if let Some(begin) = way.iter().position(|step| *step == before) {
                let mut cycle = way.split_off(begin);
                cycle.reverse();
                return cycle;
            }
            way.push(before);
            at = before;
        }
        way
    }

    /// Returns for each step all steps that must have succeeded before it starts.
    pub(crate) fn ancestors(&self) -> Vec<BTreeSet<usize>> {
        (0..self.0.len())
            .map(|step| {
                let mut known = BTreeSet::new();
                let mut open: Vec<usize> = self.after(step).into_iter().flatten().copied().collect();
                while let Some(before) = open.pop() {
                    if known.insert(before) {
                        open.extend(self.after(before).into_iter().flatten());
                    }
                }
                known
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(after: &[&[usize]]) -> Graph {
        Graph::new(after.iter().map(|set| set.iter().copied().collect()).collect())
    }

    #[test]
    fn a_chain_has_no_cycle_and_all_before_as_ancestors() {
        let chain = graph(&[&[], &[0], &[1], &[2]]);
        assert_eq!(chain.cycles(), Vec::<Vec<usize>>::new());
        assert_eq!(chain.ancestors()[3], BTreeSet::from([0, 1, 2]));
    }

    #[test]
    fn branches_are_not_each_others_ancestors() {
        let diamond = graph(&[&[], &[0], &[0], &[1, 2]]);
        assert!(diamond.cycles().is_empty());
        assert_eq!(diamond.ancestors()[1], BTreeSet::from([0]));
        assert_eq!(diamond.ancestors()[2], BTreeSet::from([0]));
        assert_eq!(diamond.ancestors()[3], BTreeSet::from([0, 1, 2]));
    }

    #[test]
    fn every_cycle_is_found_once() {
        assert_eq!(graph(&[&[0]]).cycles(), vec![vec![0]]);
        let two = graph(&[&[1], &[0], &[3], &[2], &[0]]);
        assert_eq!(two.cycles().iter().map(Vec::len).collect::<Vec<_>>(), vec![2, 2]);
    }

    #[test]
    fn steps_behind_a_cycle_are_not_called_part_of_it() {
        let graph = graph(&[&[2], &[0], &[1], &[2]]);
        let cycles = graph.cycles();
        assert_eq!(cycles.len(), 1);
        assert!(!cycles[0].contains(&3));
        assert_eq!(cycles[0].len(), 3);
    }

    #[test]
    fn the_order_changes_no_more_than_it_must() {
        assert_eq!(graph(&[&[], &[0], &[1]]).order(), Some(vec![0, 1, 2]));
        assert_eq!(graph(&[&[2], &[], &[1]]).order(), Some(vec![1, 2, 0]));
        assert_eq!(graph(&[&[], &[], &[]]).order(), Some(vec![0, 1, 2]));
        assert_eq!(graph(&[&[1], &[0]]).order(), None);
        let again = graph(&[&[2], &[], &[1]]).renumbered(&[1, 2, 0]);
        assert_eq!(again, graph(&[&[], &[0], &[1]]));
    }

    #[test]
    fn an_edge_that_follows_from_others_is_dropped() {
        let chain = graph(&[&[], &[0], &[1]]);
        assert_eq!(graph(&[&[], &[0], &[0, 1]]).reduced(), chain);
        assert_eq!(chain.reduced(), chain);
        let diamond = graph(&[&[], &[0], &[0], &[1, 2]]);
        assert_eq!(graph(&[&[], &[0], &[0], &[0, 1, 2]]).reduced(), diamond);
    }

    #[test]
    fn edges_into_nowhere_are_dropped() {
        assert!(graph(&[&[7]]).cycles().is_empty());
    }
}
