//! Sorting and gathering without a copy of the whole algorithm for every type.
//!
//! The standard library's stable sort is 5 KB of machine code for each type that is sorted, and
//! collecting into a `BTreeMap` or `BTreeSet` brings one along: half a megabyte in all, for lists of a
//! dozen items. Here indices are sorted, by one copy of it; what is done for each type is small.

use std::cmp::Ordering;

/// Stable sorting of any list.
pub trait Order<T> {
    /// Sorts by comparison.
    fn order_by(&mut self, compare: impl FnMut(&T, &T) -> Ordering);

    /// Sorts by a key, which is made anew for each comparison.
    fn order_by_key<K: Ord>(&mut self, mut key: impl FnMut(&T) -> K) {
        self.order_by(|a, b| key(a).cmp(&key(b)));
    }

    /// Sorts by the items themselves.
    fn order(&mut self)
    where
        T: Ord,
    {
        self.order_by(T::cmp);
    }
}

impl<T> Order<T> for [T] {
    fn order_by(&mut self, mut compare: impl FnMut(&T, &T) -> Ordering) {
        let mut from = ordered(self.len(), &mut |a, b| compare(&self[a], &self[b]));
        // `from[i]` is where the item comes from that belongs to `i`: each cycle of moves by swaps.
        for i in 0..from.len() {
            let mut at = i;
            while from[at] != i {
                let next = from[at];
                self.swap(at, next);
                from[at] = at;
                at = next;
            }
            from[at] = at;
        }
    }
}

/// Indices of a list of `len` items in their order.
fn ordered(len: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..len).collect();
    indices.sort_by(|a, b| compare(*a, *b));
    indices
}

/// Collecting item by item.
pub trait Gather: Iterator + Sized {
    /// What `collect` gives, for sets and maps that keep their own order.
    fn gather<C: Default + Extend<Self::Item>>(self) -> C {
        let mut gathered = C::default();
        gathered.extend(self);
        gathered
    }
}

impl<I: Iterator> Gather for I {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// As the standard library does it, stability included.
        #[test]
        fn it_is_the_same_order(list in proptest::collection::vec((0_u8..9, 0_u32..1000), 0..60)) {
            let (mut ours, mut theirs) = (list.clone(), list.clone());
            ours.order_by_key(|item| item.0);
            theirs.sort_by_key(|item| item.0);
            prop_assert_eq!(&ours, &theirs);
            ours.order();
            theirs.sort_by(Ord::cmp);
            prop_assert_eq!(ours, theirs);
            let map: BTreeMap<u8, u32> = list.iter().copied().collect();
            prop_assert_eq!(list.into_iter().gather::<BTreeMap<u8, u32>>(), map);
        }
    }
}
