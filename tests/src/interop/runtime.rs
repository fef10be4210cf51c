//! [`RuntimeName`]: which runtime the Rust programs of the interop tests run on.
//!
//! Not a flag: the programs take the flags of the Python ones and no others. Tests tell them by
//! the environment variable [`RuntimeName::VARIABLE`].

use std::env::{VarError, var};

/// A runtime that there is an adapter for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeName {
    AsyncStd,
    Smol,
    #[default]
    Tokio,
}

impl RuntimeName {
    /// What the environment variable is called.
    pub const VARIABLE: &str = "CLAMATOR_RUNTIME";

    /// Reads the environment variable; tokio when it is not set.
    pub fn from_env() -> Result<Self, String> {
        match var(Self::VARIABLE) {
            Ok(name) => {
                let known = [Self::AsyncStd, Self::Smol, Self::Tokio];
                let found = known.into_iter().find(|known| known.as_str() == name);
                found.ok_or_else(|| format!("no such runtime: {name:?}"))
            }
            Err(VarError::NotPresent) => Ok(Self::default()),
            Err(error @ VarError::NotUnicode(_)) => Err(format!("{}: {error}", Self::VARIABLE)),
        }
    }

    /// Its value in the environment variable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsyncStd => "async-std",
            Self::Smol => "smol",
            Self::Tokio => "tokio",
        }
    }
}
