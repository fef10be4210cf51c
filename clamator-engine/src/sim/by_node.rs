//! [`ByNode`]: something for each process of a run.
//!
//! A map whose keys are small and dense, looked into at every step: a place for each number.

use alloc::vec::Vec;

use super::network::NodeId;

/// Something for each process, by its number.
#[derive(Debug)]
pub(super) struct ByNode<T>(Vec<Option<T>>);

impl<T> Default for ByNode<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByNode<T> {
    pub(super) fn get(&self, node: NodeId) -> Option<&T> {
        self.0.get(place(node))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut T> {
        self.0.get_mut(place(node))?.as_mut()
    }

    pub(super) fn insert(&mut self, node: NodeId, value: T) {
        *self.place_of(node) = Some(value);
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        if let Some(place) = self.0.get_mut(place(node)) {
            *place = None;
        }
    }

    /// All, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &T)> {
        let nodes = (0..).map(NodeId::new);
        nodes.zip(&self.0).filter_map(|(node, value)| Some((node, value.as_ref()?)))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = NodeId> {
        self.iter().map(|(node, _)| node)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    fn place_of(&mut self, node: NodeId) -> &mut Option<T> {
        let place = place(node);
        if self.0.len() <= place {
            self.0.resize_with(place + 1, || None);
        }
        #[expect(clippy::indexing_slicing, reason = "the place was made if it was missing")]
        &mut self.0[place]
    }
}

impl<T: Default> ByNode<T> {
    /// What is there for this process; as new where nothing is.
    pub(super) fn of(&mut self, node: NodeId) -> &mut T {
        self.place_of(node).get_or_insert_default()
    }
}

fn place(node: NodeId) -> usize {
    usize::try_from(node.number()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_place_is_made_where_it_is_missing_and_is_empty_once_more_after_its_end() {
        let mut numbers = ByNode::default();
        let [first, third] = [0, 2].map(NodeId::new);
        numbers.insert(third, 3);
        *numbers.of(first) += 1;
        assert_eq!(numbers.iter().collect::<Vec<_>>(), vec![(first, &1), (third, &3)]);
        numbers.remove(third);
        numbers.remove(NodeId::new(9));
        assert_eq!(numbers.get(third), None);
        assert_eq!(numbers.get_mut(NodeId::new(1)), None);
        assert_eq!(numbers.keys().collect::<Vec<_>>(), vec![first]);
    }
}
