//! The most deeply nested values that a server takes and answers with.
//!
//! Not the limits, which are the protocol's: what can be made, and what came in, must go out.

use clamator_proto::Envelope;

use super::*;
use crate::testing::deepest;

/// Runs a request with the deepest params there can be.
fn job(rig: &mut Rig<Server>) -> Job {
    let params = deepest();
    let text = format!(r#"{{"jsonrpc":"2.0","method":"arith.add","params":{params},"id":1}}"#);
    rig.deliver(vec![entry_of(1, &[("envelope", &text), ("reply-to", "app:replies:c1")])]);
    rig.job()
}

#[test]
fn the_deepest_params_can_be_the_result_and_reach_the_caller() {
    let mut rig = rig();
    let job = job(&mut rig);
    let params = job.params.unwrap();
    rig.engine.answer(rig.now, job.id, Answer::Result(params.clone()));
    rig.drain();
    let reply = rig.reply_text();
    let Ok(Envelope::Success(success)) = Envelope::parse(reply.as_bytes()) else {
        panic!("{reply}")
    };
    assert_eq!(success.result.get(), params.as_str());
}

#[test]
fn an_error_whose_data_is_too_deep_keeps_its_code_and_message() {
    let mut rig = rig();
    let job = job(&mut rig);
    let mut error = RpcError::new(7, "no");
    error.data = job.params;
    rig.engine.answer(rig.now, job.id, Answer::Error(error));
    rig.drain();
    let reply = rig.reply_text();
    let Ok(Envelope::Failure(failure)) = Envelope::parse(reply.as_bytes()) else {
        panic!("{reply}")
    };
    assert_eq!((failure.error.code, failure.error.message.as_str()), (7, "no"));
}
