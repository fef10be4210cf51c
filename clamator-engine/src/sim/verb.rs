//! [`Verb`]: what a command does, without what it does it to; and a set of them.
//!
//! Not the command. A judge that is about few commands says which, and is shown no others.

use crate::command::Command;

macro_rules! verbs {
    ($($name:ident,)*) => {
        /// What a command does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Verb {
            $($name,)*
        }

        impl Verb {
            /// All verbs, by their numbers.
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What this command does.
            pub(super) const fn of(command: &Command) -> Self {
                match command {
                    $(Command::$name { .. } => Self::$name,)*
                }
            }
        }
    };
}

verbs! {
    ClientUnblock,
    Del,
    DelIdleConsumers,
    PExpire,
    Time,
    XAck,
    XAdd,
    XAutoClaim,
    XClaim,
    XDel,
    XGroupCreate,
    XGroupDelConsumer,
    XInfoGroups,
    XInfoStream,
    XPending,
    XPendingRange,
    XRange,
    XRead,
    XReadGroup,
    XTrim,
}

/// Some of the verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verbs(u32);

impl Verbs {
    /// All of them.
    pub(super) const ALL: Self = Self::of(Verb::ALL);

    /// These.
    pub(super) const fn of(verbs: &[Verb]) -> Self {
        let (mut bits, mut rest) = (0, verbs);
        while let [verb, others @ ..] = rest {
            bits |= 1 << *verb as u32;
            rest = others;
        }
        Self(bits)
    }

    pub(super) const fn contains(self, verb: Verb) -> bool {
        self.0 & 1 << verb as u32 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_what_it_is_of_and_nothing_else() {
        let verbs = Verbs::of(&[Verb::XAdd, Verb::XReadGroup]);
        let contained = Verb::ALL.iter().filter(|verb| verbs.contains(**verb));
        assert!(contained.eq(&[Verb::XAdd, Verb::XReadGroup]));
        assert!(Verb::ALL.iter().all(|verb| Verbs::ALL.contains(*verb)));
    }
}
