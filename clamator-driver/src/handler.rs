//! [`Handler`]: what runs when a method is called, and [`HandlerError`]: how it fails.
//!
//! Not when it runs: that is the server's. Handlers are closures that take and return typed
//! values, or implementations of [`Handler`] that take and return JSON, which is what generated
//! code is. A handler runs inside its server's task: work that blocks or computes for long belongs
//! on the runtime's blocking pool, or every service of the server waits for it.

use std::any::{Any, type_name};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::LazyLock;

use clamator_engine::CallError;
use clamator_proto::{Json, RpcError};
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::panics;

/// Runs one method.
pub trait Handler: Send + Sync + 'static {
    /// Starts to handle one request or notification.
    ///
    /// `params` are what the caller sent, unchanged; `{}` when it sent none. The result of a
    /// notification is dropped. When the server gives a job up, it drops the future.
    fn handle(&self, params: Json, context: Context) -> BoxFuture<'static, HandlerResult>;
}

/// How a [`Handler`] ends.
pub type HandlerResult = Result<Json, HandlerError>;

/// Why a handler failed, and what the caller is told.
///
/// Made from any error by `?` or `into()`:
///
/// - an [`RpcError`] goes to the caller as it is, and so does one that another service answered
///   with ([`CallError::Rpc`]); neither is logged;
/// - any other error becomes -32603 `Internal error` with data `{name, message}`: the error's type
///   and its text. It is logged at level error. Callers see the text, so no secret belongs in it.
///
/// Not an [`Error`] itself, which is what lets every error turn into one.
pub struct HandlerError(Kind);

enum Kind {
    Failed { name: String, error: Box<dyn Error + Send + Sync> },
    Params(RpcError),
    Result(RpcError),
    Rpc(RpcError),
}

impl HandlerError {
    /// Takes an error whose type is not known any more.
    ///
    /// The caller sees `name` where it would see the type's name.
    pub fn boxed(name: impl Into<String>, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::from_boxed(name.into(), error.into())
    }

    /// Says that the parameters are not what the method takes: -32602 `Invalid params` with data
    /// `{name, message}`, logged at level warn.
    pub fn invalid_params(name: &str, message: impl fmt::Display) -> Self {
        Self(Kind::Params(RpcError::invalid_params(name, message)))
    }

    /// Says that the result cannot be sent: -32603 `Result validation failed` with data
    /// `{name, message}`, logged at level error.
    pub fn invalid_result(name: &str, message: impl fmt::Display) -> Self {
        Self(Kind::Result(RpcError::invalid_result(name, message)))
    }

    fn from_boxed(name: String, error: Box<dyn Error + Send + Sync>) -> Self {
        if let Some(CallError::Rpc(error)) = error.downcast_ref() {
            return Self(Kind::Rpc(error.clone()));
        }
        match error.downcast::<RpcError>() {
            Ok(error) => Self(Kind::Rpc(*error)),
            Err(error) => Self(Kind::Failed { name, error }),
        }
    }

    /// What to log, and what to tell the caller.
    pub(crate) fn into_report(self) -> Report {
        match self.0 {
            Kind::Failed { name, error } => Report {
                answer: RpcError::internal(&name, &error),
                log: Log::Raised(chain(&*error)),
            },
            Kind::Params(answer) => Report { log: Log::Params(detail(&answer)), answer },
            Kind::Result(answer) => Report { log: Log::Result(detail(&answer)), answer },
            Kind::Rpc(answer) => Report { answer, log: Log::Silent },
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::from_boxed(short_name(type_name::<E>()), Box::new(error))
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Failed { name, error } => write!(f, "HandlerError({name}: {error})"),
            Kind::Params(error) | Kind::Result(error) | Kind::Rpc(error) => {
                write!(f, "HandlerError({error})")
            }
        }
    }
}

/// What becomes of a failed handler.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) answer: RpcError,
    pub(crate) log: Log,
}

/// What an operator is told about a failed handler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// The caller is at fault.
    Params(String),
    /// The handler is at fault.
    Raised(String),
    /// The handler's result is at fault.
    Result(String),
    /// Nobody: the handler said what it meant.
    Silent,
}

impl Report {
    /// The report of a handler that panicked with this payload.
    pub(crate) fn panic(payload: &(dyn Any + Send)) -> Self {
        let text = panics::text(payload);
        Self {
            answer: RpcError::internal("panic", text),
            log: Log::Raised(format!("panic: {text}")),
        }
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn detail(error: &RpcError) -> String {
    error.data.as_ref().map_or_else(String::new, ToString::to_string)
}

/// `ParseIntError` for `core::num::ParseIntError`, also when there are parameters behind it.
fn short_name(name: &str) -> String {
    let path = name.split_once('<').map_or(name, |(path, _)| path);
    path.rsplit_once("::").map_or(path, |(_, name)| name).into()
}

/// A closure as a [`Handler`].
pub(crate) struct Typed<F, P> {
    run: F,
    params: PhantomData<fn(P)>,
}

impl<F, P> Typed<F, P> {
    pub(crate) const fn new(run: F) -> Self {
        Self { run, params: PhantomData }
    }
}

impl<F, P, T, Fut> Handler for Typed<F, P>
where
    F: Fn(P, Context) -> Fut + Send + Sync + 'static,
    P: DeserializeOwned + 'static,
    T: Serialize,
    Fut: Future<Output = Result<T, HandlerError>> + Send + 'static,
{
    fn handle(&self, params: Json, context: Context) -> BoxFuture<'static, HandlerResult> {
        let running = decode(&params).map(|params| (self.run)(params, context));
        Box::pin(async move {
            let result = running?.await?;
            Json::encode(&result)
                .map_err(|error| HandlerError::invalid_result("EncodeError", error))
        })
    }
}

/// Parameters that are absent.
pub(crate) fn no_params() -> Json {
    static EMPTY: LazyLock<Json> =
        LazyLock::new(|| Json::parse(&b"{}"[..]).unwrap_or_else(|_| Json::null()));
    EMPTY.clone()
}

/// Reads parameters. A type that takes no object, such as `()`, takes an empty one as null.
fn decode<P: DeserializeOwned>(params: &Json) -> Result<P, HandlerError> {
    params.decode().or_else(|error| {
        let null = (params.as_bytes() == b"{}").then(|| Json::null().decode().ok());
        null.flatten().ok_or_else(|| HandlerError::invalid_params("DecodeError", error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::ParseIntError;

    fn report(error: impl Into<HandlerError>) -> Report {
        error.into().into_report()
    }

    fn parse_error() -> ParseIntError {
        "x".parse::<i32>().unwrap_err()
    }

    #[test]
    fn an_rpc_error_goes_to_the_caller_as_it_is_and_is_not_logged() {
        let error = RpcError::new(-32000, "division by zero").with_data(&[1, 0]);
        for report in [
            report(error.clone()),
            report(CallError::Rpc(error.clone())),
            HandlerError::boxed("x", error.clone()).into_report(),
        ] {
            assert_eq!(report.answer, error);
            assert_eq!(report.log, Log::Silent);
        }
    }

    #[test]
    fn any_other_error_is_an_internal_error_with_its_name_and_text() {
        let Report { answer, log } = report(parse_error());
        assert_eq!((answer.code, answer.message.as_str()), (-32603, "Internal error"));
        let data = r#"{"name":"ParseIntError","message":"invalid digit found in string"}"#;
        assert_eq!(answer.data.unwrap().as_str(), data);
        assert_eq!(log, Log::Raised("invalid digit found in string".into()));
        let answer = report(CallError::Timeout).answer;
        assert_eq!(
            answer.data.unwrap().as_str(),
            r#"{"name":"CallError","message":"call timeout"}"#
        );
        let answer = HandlerError::boxed("Oops", "went wrong").into_report().answer;
        assert_eq!(answer.data.unwrap().as_str(), r#"{"name":"Oops","message":"went wrong"}"#);
    }

    #[test]
    fn a_panic_is_an_internal_error_with_its_message() {
        for payload in [Box::new("boom") as Box<dyn Any + Send>, Box::new(String::from("boom"))] {
            let answer = Report::panic(&*payload).answer;
            assert_eq!((answer.code, answer.message.as_str()), (-32603, "Internal error"));
            assert_eq!(answer.data.unwrap().as_str(), r#"{"name":"panic","message":"boom"}"#);
        }
        assert_eq!(Report::panic(&5_i32).log, Log::Raised("panic: no message".into()));
    }

    #[test]
    fn a_log_line_names_the_causes_too() {
        #[derive(Debug, thiserror::Error)]
        #[error("no quantity")]
        struct NoQuantity(#[source] ParseIntError);
        let error = NoQuantity(parse_error());
        assert_eq!(chain(&error), "no quantity: invalid digit found in string");
    }

    #[test]
    fn a_type_is_named_without_its_path_and_parameters() {
        assert_eq!(short_name("core::num::ParseIntError"), "ParseIntError");
        assert_eq!(short_name("a::Wrapper<b::Inner>"), "Wrapper");
        assert_eq!(short_name("Plain"), "Plain");
    }

    #[test]
    fn absent_parameters_suit_unit_and_option_and_null_stays_null() {
        let empty = Json::parse("{}").unwrap();
        assert!(decode::<()>(&empty).is_ok());
        assert_eq!(decode::<Option<u8>>(&empty).unwrap(), None);
        assert!(decode::<()>(&Json::null()).is_ok());
        assert!(decode::<Json>(&Json::null()).unwrap().is_null());
        assert!(decode::<u8>(&empty).is_err());
        let answer = decode::<u8>(&empty).unwrap_err().into_report().answer;
        assert_eq!((answer.code, answer.message.as_str()), (-32602, "Invalid params"));
        assert!(answer.data.unwrap().as_str().starts_with(r#"{"name":"DecodeError","message":""#));
    }
}
