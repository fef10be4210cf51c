//! [`Config`]: what `interop-server` and `interop-client` are told, by flags or on their input.
//!
//! Not what it is used for. Both programs take the same flags and pass over those of the other.
//! Without any flag the configuration is one JSON object on standard input, up to its end.

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::calls::Call;

/// The configuration, in the words of the peers' own interop programs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    pub redis_url: String,
    pub key_prefix: String,
    pub instance_id: Option<String>,
    pub consumer_claim_idle_ms: Option<u64>,
    /// The shortest of any worker in the pool, for those that are told of it.
    pub peer_claim_idle_ms: Option<u64>,
    pub default_timeout_ms: Option<u64>,
    /// The one service to serve: `arith` or `notifications`. Both when not given.
    pub contract: Option<String>,
    #[serde(default)]
    pub calls: Vec<Call>,
    /// How often the whole list of calls is made, all at once. Once when not given.
    pub concurrent: Option<usize>,
    /// Whether all calls are made at once.
    #[serde(skip)]
    pub parallel: bool,
    /// Whether it came by flags.
    #[serde(skip)]
    pub by_flags: bool,
}

impl Config {
    /// Reads the flags this program was started with, or its input when there are none.
    pub fn read() -> Result<Self, String> {
        let mut flags = std::env::args().skip(1).peekable();
        let config = if flags.peek().is_some() { Self::from_flags(flags)? } else { read_input()? };
        match config.contract.as_deref() {
            None | Some("arith" | "notifications") => Ok(config),
            Some(other) => Err(format!("no such contract: {other:?}")),
        }
    }

    fn from_flags(mut flags: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut config = Self { by_flags: true, ..Self::default() };
        while let Some(flag) = flags.next() {
            let mut value = || flags.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--redis-url" => config.redis_url = value()?,
                "--key-prefix" => config.key_prefix = value()?,
                "--instance-id" => config.instance_id = Some(value()?),
                "--claim-idle-ms" => {
                    config.consumer_claim_idle_ms = Some(number(&flag, &value()?)?)
                }
                "--peer-claim-idle-ms" => {
                    config.peer_claim_idle_ms = Some(number(&flag, &value()?)?)
                }
                "--timeout-ms" => config.default_timeout_ms = Some(number(&flag, &value()?)?),
                "--parallel" => config.parallel = true,
                other => return Err(format!("no such flag: {other}")),
            }
        }
        if config.redis_url.is_empty() || config.key_prefix.is_empty() {
            return Err("--redis-url and --key-prefix are needed".into());
        }
        Ok(config)
    }

    pub fn claim_idle(&self) -> Option<Duration> {
        self.consumer_claim_idle_ms.map(Duration::from_millis)
    }

    pub fn peer_claim_idle(&self) -> Option<Duration> {
        self.peer_claim_idle_ms.map(Duration::from_millis)
    }

    pub fn timeout(&self) -> Option<Duration> {
        self.default_timeout_ms.map(Duration::from_millis)
    }
}

/// Reads standard input up to its end as JSON.
pub fn read_input<T: DeserializeOwned>() -> Result<T, String> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("standard input: {error}"))
}

fn number(flag: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{flag} needs a number, not {value:?}"))
}
