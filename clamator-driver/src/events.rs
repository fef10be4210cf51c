//! What operators are told: every `tracing` event of clients and servers, in one place.
//!
//! Not the decisions behind them. Levels and texts are those of the Python and TypeScript peers
//! where they have such an event; whom and what it is about are fields, under the target
//! `clamator`. A handler that answers with an error on purpose is silent, if it is answered.

use clamator_engine::{Loss, Notice, Refusal, StreamId};
use clamator_proto::RpcError;
use tracing::{error, info, warn};

use crate::context::Context;
use crate::handler::Log;

/// Who speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker<'a> {
    pub(crate) role: &'static str,
    pub(crate) instance: &'a str,
}

impl Speaker<'_> {
    pub(crate) fn connected(self) {
        let Self { role, instance } = self;
        info!(target: "clamator", role, instance, "redis connected");
    }

    pub(crate) fn disconnected(self, loss: &Loss) {
        let Self { role, instance } = self;
        warn!(target: "clamator", role, instance, error = %loss, "redis disconnected");
    }

    pub(crate) fn read_refused(self, refusal: &Refusal) {
        let Self { role, instance } = self;
        warn!(target: "clamator", role, instance, error = %refusal, "redis read refused");
    }

    pub(crate) fn unparsable(self, entry: StreamId, fault: &str) {
        let instance = self.instance;
        warn!(target: "clamator", instance, %entry, error = %fault, "redis reply parse failed");
    }

    pub(crate) fn notice(self, notice: &Notice) {
        let instance = self.instance;
        match notice {
            Notice::AckRefused { service, refusal } => warn!(
                target: "clamator", instance, %service, error = %refusal, "redis ack refused"
            ),
            Notice::ClockJumped => warn!(target: "clamator", instance, "redis clock jumped"),
            Notice::ConsumerLeft { service, destroyed } => warn!(
                target: "clamator", instance, %service, destroyed, "redis consumer not removed"
            ),
            Notice::GroupRefused { service, refusal } => warn!(
                target: "clamator", instance, %service, error = %refusal, "redis group refused"
            ),
            Notice::GroupRestored { service, after } => warn!(
                target: "clamator", instance, %service, %after, "redis group restored"
            ),
            Notice::HandlerOverdue { service, entry } => warn!(
                target: "clamator", instance, %service, %entry, "RPC handler overdue"
            ),
            Notice::DeadLetter { service, entry, deliveries } => error!(
                target: "clamator", instance, %service, %entry, deliveries, "RPC dead letter"
            ),
            Notice::DeadLetterRefused { service, entry, refusal } => error!(
                target: "clamator", instance, %service, %entry, error = %refusal,
                "redis dead letter refused"
            ),
            Notice::Expired { service, entry } => warn!(
                target: "clamator", instance, %service, %entry, "RPC request expired"
            ),
            Notice::ExpiryRefused { refusal } => warn!(
                target: "clamator", instance, error = %refusal, "redis expiry refused"
            ),
            Notice::LookRefused { service, refusal } => warn!(
                target: "clamator", instance, %service, error = %refusal, "redis look refused"
            ),
            Notice::NotFound { service, entry } => warn!(
                target: "clamator", instance, %service, %entry, "RPC method not found"
            ),
            Notice::Poison { service, entry, fault } => warn!(
                target: "clamator", instance, %service, %entry, error = %fault,
                "redis poison envelope"
            ),
            Notice::ReadRefused { service, refusal } => warn!(
                target: "clamator", instance, %service, error = %refusal, "redis read refused"
            ),
            Notice::RenewalRefused { service, refusal } => warn!(
                target: "clamator", instance, %service, error = %refusal, "redis renewal refused"
            ),
            Notice::ReplyRefused { service, entry, refusal } => warn!(
                target: "clamator", instance, %service, %entry, error = %refusal,
                "redis reply refused"
            ),
            Notice::ReplyToRefused { service, entry } => warn!(
                target: "clamator", instance, %service, %entry, "reply-to refused"
            ),
            Notice::Unreadable { service, entry, settled } => error!(
                target: "clamator", instance, %service, %entry, settled, "redis entry unreadable"
            ),
            notice => warn!(target: "clamator", instance, ?notice, "notice"),
        }
    }
}

/// Tells about a handler that is not going to be heard.
pub(crate) fn lease_lost(context: &Context) {
    let instance = context.instance();
    let (service, method, entry) = (context.service(), context.method(), context.entry());
    warn!(target: "clamator", instance, %service, %method, %entry, "RPC lease lost");
}

/// Tells about a handler that failed.
pub(crate) fn failed(context: &Context, log: &Log, answer: &RpcError) {
    let instance = context.instance();
    let service = tracing::field::display(context.service());
    let method = tracing::field::display(context.method());
    let id = context.request().map(tracing::field::display);
    let entry = tracing::field::display(context.entry());
    match log {
        Log::Params(detail) => warn!(
            target: "clamator", instance, service, method, id, entry, error = %detail,
            "RPC params validation failed"
        ),
        Log::Raised(detail) => error!(
            target: "clamator", instance, service, method, id, entry, error = %detail,
            "RPC handler raised"
        ),
        Log::Result(detail) => error!(
            target: "clamator", instance, service, method, id, entry, error = %detail,
            "RPC result validation failed"
        ),
        // Whoever notified is not told, so the log is the only place where it can be seen.
        Log::Silent if id.is_none() => warn!(
            target: "clamator", instance, service, method, entry, error = %answer,
            "RPC notification failed"
        ),
        Log::Silent => {}
    }
}
