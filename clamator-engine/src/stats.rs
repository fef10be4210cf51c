//! `stats!`: makes a type of the numbers that an engine keeps, each of them known by its name too.
//!
//! Not the numbers, which stand with the engines, nor the passing on of them. What is added to a
//! list of fields here is added up, and told by its name, without another word.

/// Makes a type with a public `u64` for each counter and gauge.
macro_rules! stats {
    (
        $(#[$about:meta])*
        $name:ident
        counters { $($(#[$of_counter:meta])* $counter:ident,)* }
        gauges { $($(#[$of_gauge:meta])* $gauge:ident,)* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$of_counter])* pub $counter: u64,)*
            $($(#[$of_gauge])* pub $gauge: u64,)*
        }

        impl $name {
            /// Names and gives every number that only rises.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($counter), self.$counter),)*].into_iter()
            }

            /// Names and gives every number that tells how it is now.
            pub fn gauges(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($gauge), self.$gauge),)*].into_iter()
            }

            /// Adds up.
            #[must_use]
            pub const fn plus(self, other: Self) -> Self {
                Self {
                    $($counter: self.$counter + other.$counter,)*
                    $($gauge: self.$gauge + other.$gauge,)*
                }
            }
        }
    };
}

pub(crate) use stats;
