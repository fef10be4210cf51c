//! What client and server share about their entries and their reading.
//!
//! Not the names of keys and fields, which are the protocol's, and no rule of either engine.

use alloc::vec;
use core::time::Duration;

use bytes::Bytes;
use clamator_proto::{Traceparent, entry};

use crate::reply::Fields;

/// Pause after a refused read.
pub(crate) const READ_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than its BLOCK a blocking read may take to be answered.
pub(crate) const READ_SLACK: Duration = Duration::from_secs(1);
/// Most bytes that Redis takes in one value.
/// <https://redis.io/docs/latest/develop/data-types/strings/>
const VALUE_MAX: usize = 512 * 1024 * 1024;

/// How long a blocking read waits that is asked to wait so long.
pub(crate) fn read_block(asked: Duration) -> Duration {
    asked.clamp(Duration::from_millis(1), Duration::from_secs(3600))
}

/// Whether Redis takes a value of so many bytes.
pub(crate) const fn fits(bytes: usize) -> bool {
    bytes <= VALUE_MAX
}

/// The fields of an entry with this envelope; `reply_to` for a request only.
pub(crate) fn fields(envelope: Bytes, reply_to: Option<Bytes>) -> Fields {
    let pair = |name: &'static str, value| (Bytes::from_static(name.as_bytes()), value);
    let mut fields = vec![
        pair(entry::TYPE, Bytes::from_static(entry::RPC.as_bytes())),
        pair(entry::ENVELOPE, envelope),
    ];
    fields.extend(reply_to.map(|key| pair(entry::REPLY_TO, key)));
    fields
}

/// The field that says which trace a request belongs to, behind those of [`fields`].
pub(crate) fn traceparent(traceparent: Traceparent) -> (Bytes, Bytes) {
    (Bytes::from_static(entry::TRACEPARENT.as_bytes()), traceparent.to_bytes())
}

/// The field that says for how long a request's caller still waits, behind those of [`fields`];
/// `None` where that is as good as for ever.
pub(crate) fn timeout(left: Duration) -> Option<(Bytes, Bytes)> {
    let name = Bytes::from_static(entry::TIMEOUT_MS.as_bytes());
    Some((name, entry::encode_timeout(left)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_gigabyte_fits_and_a_byte_more_does_not() {
        assert!(fits(0) && fits(VALUE_MAX));
        assert!(!fits(VALUE_MAX + 1));
    }
}
