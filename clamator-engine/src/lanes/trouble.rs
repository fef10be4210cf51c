//! [`Trouble`]: which kinds of loss are told apart to an operator.
//!
//! Not the loss itself, with its details: that is [`Loss`].

use crate::engine::Loss;

/// What an operator would have to look at: the kinds of loss that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    Credentials,
    Garbled,
    /// There is no connection, whatever it was that ended or prevented it.
    OutOfReach,
    Tls,
    TooOld,
    Unfit,
}

impl Trouble {
    pub(super) const fn of(loss: &Loss) -> Self {
        match loss {
            Loss::Closed { .. } | Loss::Overdue { .. } | Loss::Unreachable { .. } => {
                Self::OutOfReach
            }
            Loss::Credentials { .. } => Self::Credentials,
            Loss::Garbled { .. } => Self::Garbled,
            Loss::Tls { .. } => Self::Tls,
            Loss::TooOld { .. } => Self::TooOld,
            Loss::Unfit(_) => Self::Unfit,
        }
    }
}
