//! [`Node`]: a run of neighbouring entries, the unit in which a stream is trimmed approximately.
//!
//! Redis packs entries into listpacks and starts a new one after 100 entries or 4096 bytes
//! (`stream-node-max-entries`, `stream-node-max-bytes`). How long a stream is after `MAXLEN ~`
//! depends on where those borders lie, so sizes are counted here byte by byte as Redis encodes
//! them. Not the encoding itself. A deleted entry keeps its place and its bytes until its node
//! is gone.
//!
//! <https://github.com/antirez/listpack/blob/master/listpack.md>

use alloc::vec::Vec;

use bytes::Bytes;

use crate::reply::Fields;
use crate::stream_id::StreamId;

const BYTES_MAX: usize = 4096;
const ENTRIES_MAX: usize = 100;

/// Header and end mark of a listpack.
const LISTPACK_FRAME: usize = 7;

/// Entries in the order of their ids, at least one of them not deleted.
#[derive(Clone, Debug)]
pub(super) struct Node {
    bytes: usize,
    /// `None` for a deleted entry.
    entries: Vec<(StreamId, Option<Fields>)>,
    /// Id and field names of the entry that started the node: what the others leave out if equal.
    first: StreamId,
    live: usize,
    names: Vec<Bytes>,
}

impl Node {
    /// Starts a node with this entry.
    pub(super) fn new(id: StreamId, fields: Fields) -> Self {
        let names: Vec<Bytes> = fields.iter().map(|(name, _)| name.clone()).collect();
        // Number of entries, number of deleted entries, number of fields, names, end mark.
        let bytes = LISTPACK_FRAME
            + 3 * integer(0)
            + integer(signed(names.len()))
            + names.iter().map(|name| text(name)).sum::<usize>();
        let mut node = Self { bytes, entries: Vec::new(), first: id, live: 0, names };
        node.push(id, fields);
        node
    }

    /// Tells whether an entry with these fields still belongs here, and not into a new node.
    pub(super) fn takes(&self, fields: &Fields) -> bool {
        let raw = fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.bytes + raw < BYTES_MAX && self.entries.len() < ENTRIES_MAX
    }

    /// Appends an entry, whose id must be greater than all others.
    pub(super) fn push(&mut self, id: StreamId, fields: Fields) {
        self.bytes += self.size(id, &fields);
        self.live += 1;
        self.entries.push((id, Some(fields)));
    }

    /// Deletes an entry. Tells whether it was there.
    pub(super) fn remove(&mut self, id: StreamId) -> bool {
        let Ok(place) = self.place(id) else { return false };
        let removed =
            self.entries.get_mut(place).is_some_and(|(_, fields)| fields.take().is_some());
        self.live -= usize::from(removed);
        removed
    }

    /// Tells how many entries are not deleted.
    pub(super) const fn len(&self) -> usize {
        self.live
    }

    /// Finds an entry.
    pub(super) fn find(&self, id: StreamId) -> Option<&Fields> {
        let (_, fields) = self.entries.get(self.place(id).ok()?)?;
        fields.as_ref()
    }

    /// Tells the greatest id that is not deleted.
    pub(super) fn last(&self) -> Option<StreamId> {
        self.entries.iter().rev().find(|(_, fields)| fields.is_some()).map(|(id, _)| *id)
    }

    /// Tells whether an entry, deleted or not, has this id or a greater one.
    pub(super) fn reaches(&self, id: StreamId) -> bool {
        self.entries.last().is_some_and(|(last, _)| *last >= id)
    }

    /// Lists the entries from this id on.
    pub(super) fn from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, &Fields)> {
        let place = self.place(start).unwrap_or_else(|place| place);
        let entries = self.entries.get(place..).unwrap_or_default();
        entries.iter().filter_map(|(id, fields)| Some((*id, fields.as_ref()?)))
    }

    /// Lists the ids of the entries that are not deleted.
    pub(super) fn ids(&self) -> impl Iterator<Item = StreamId> {
        self.entries.iter().filter(|(_, fields)| fields.is_some()).map(|(id, _)| *id)
    }

    fn place(&self, id: StreamId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&id, |(id, _)| *id)
    }

    /// Bytes of an entry: flags, id relative to the first, names unless all are the first's,
    /// values, number of elements.
    fn size(&self, id: StreamId, fields: &Fields) -> usize {
        let same = fields.iter().map(|(name, _)| name).eq(&self.names);
        let mut elements = 3 + fields.len();
        let mut bytes = integer(0)
            + integer(id.ms.wrapping_sub(self.first.ms).cast_signed())
            + integer(id.seq.wrapping_sub(self.first.seq).cast_signed())
            + fields.iter().map(|(_, value)| text(value)).sum::<usize>();
        if !same {
            elements += fields.len() + 1;
            bytes += integer(signed(fields.len()))
                + fields.iter().map(|(name, _)| text(name)).sum::<usize>();
        }
        bytes + integer(signed(elements))
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Bytes of an integer in a listpack.
const fn integer(number: i64) -> usize {
    element(match number {
        0..=127 => 1,
        -4096..=4095 => 2,
        -0x8000..=0x7fff => 3,
        -0x80_0000..=0x7f_ffff => 4,
        -0x8000_0000..=0x7fff_ffff => 5,
        _ => 9,
    })
}

/// Bytes of a string in a listpack, where what looks like an integer is one.
fn text(text: &[u8]) -> usize {
    if let Some(number) = number(text) {
        return integer(number);
    }
    element(match text.len() {
        len @ 0..=63 => 1 + len,
        len @ 64..=4095 => 2 + len,
        len => 5 + len,
    })
}

/// Bytes of an element, which ends in its own length.
const fn element(len: usize) -> usize {
    len + match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// Reads an integer as Redis writes it: no sign but `-`, no leading zeros.
fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn fields(pairs: &[(&'static str, &'static str)]) -> Fields {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        pairs.iter().map(|(name, value)| (bytes(name), bytes(value))).collect()
    }

    fn id(seq: u64) -> StreamId {
        StreamId::new(1, seq)
    }

    #[test]
    fn integers_and_strings_have_the_size_of_their_listpack_encoding() {
        let sizes = [
            (&b"0"[..], 2),
            (b"127", 2),
            (b"128", 3),
            (b"-1", 3),
            (b"-4097", 4),
            (b"32768", 5),
            (b"8388608", 6),
            (b"2147483648", 10),
            (b"-9223372036854775808", 10),
            (b"9223372036854775808", 21),
            (b"01", 4),
            (b"-0", 4),
            (b"+1", 4),
            (b"", 2),
            (&[b'x'; 63], 65),
            (&[b'x'; 64], 67),
            (&[b'x'; 125], 128),
            (&[b'x'; 126], 130),
            (&[b'x'; 4096], 4103),
        ];
        for (bytes, size) in sizes {
            assert_eq!(text(bytes), size, "{bytes:?}");
        }
    }

    #[test]
    fn an_entry_with_the_first_entrys_names_is_smaller() {
        let mut node = Node::new(id(1), fields(&[("name", "x")]));
        assert_eq!(node.bytes, 7 + 2 + 2 + 2 + 6 + 2 + (2 + 2 + 2 + 3 + 2));
        let before = node.bytes;
        node.push(id(2), fields(&[("name", "x")]));
        assert_eq!(node.bytes - before, 2 + 2 + 2 + 3 + 2);
        let before = node.bytes;
        node.push(id(3), fields(&[("other", "x")]));
        assert_eq!(node.bytes - before, 2 + 2 + 2 + 2 + 7 + 3 + 2);
    }

    #[test]
    fn a_node_takes_100_entries_deleted_ones_included() {
        let mut node = Node::new(id(1), fields(&[("a", "b")]));
        for seq in 2..=100 {
            assert!(node.takes(&fields(&[("a", "b")])), "{seq}");
            node.push(id(seq), fields(&[("a", "b")]));
        }
        assert!(node.remove(id(50)));
        assert!(!node.takes(&fields(&[("a", "b")])));
        assert_eq!(node.len(), 99);
    }

    #[test]
    fn a_node_takes_less_than_4096_bytes() {
        let node = Node::new(id(1), fields(&[("name", "x")]));
        let with = |len: usize| vec![(Bytes::new(), Bytes::from(vec![b'x'; len]))];
        assert!(node.takes(&with(4095 - node.bytes)));
        assert!(!node.takes(&with(4096 - node.bytes)));
    }

    #[test]
    fn a_deleted_entry_is_neither_found_nor_listed_nor_deleted_again() {
        let mut node = Node::new(id(1), fields(&[("a", "1")]));
        node.push(id(3), fields(&[("a", "3")]));
        assert!(node.remove(id(3)));
        assert!(!node.remove(id(3)));
        assert!(!node.remove(id(2)));
        assert_eq!(node.len(), 1);
        assert_eq!(node.find(id(3)), None);
        assert_eq!(node.find(id(1)), Some(&fields(&[("a", "1")])));
        assert_eq!(node.last(), Some(id(1)));
        assert_eq!(node.from(StreamId::ZERO).count(), 1);
        assert_eq!(node.from(id(2)).count(), 0);
    }
}
