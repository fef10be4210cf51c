//! Points of connections and of processes that stop.
//!
//! Not of what is sent on them. A command whose lane has ended is kept, as it may be carried out
//! all the same.

use core::time::Duration;

use super::super::history::NodeKind;
use super::super::network::NodeId;
use super::Point;
use super::watch::{Eye, LaneSeen, ReadsFrom, Watch, What};
use crate::engine::Lane;
use crate::time::Instant;

/// A pause of this length is one of the longest: those before end sooner.
const LONG_PAUSE: Duration = Duration::from_secs(1);

impl Eye {
    /// What is known of a lane.
    pub(super) fn lane(&mut self, lane: Lane) -> Option<&mut LaneSeen> {
        if !self.lanes.iter().any(|seen| seen.lane == lane) {
            self.lanes.push(LaneSeen { lane, is_open: false, is_opening: false, lost: None });
        }
        self.lanes.iter_mut().find(|seen| seen.lane == lane)
    }

    /// A lane has ended: what was under way on it is not answered.
    fn void(&mut self, lane: Lane) {
        self.looks = [0; 2];
        let gone = self.flights.extract_if(.., |flight| flight.lane == lane);
        self.voided.extend(gone.filter(|flight| !matches!(flight.what, What::Other)));
    }
}

impl Watch {
    pub(super) fn lane_opening(&mut self, now: Instant, node: NodeId, lane: Lane) {
        let Some(eye) = self.eye(node) else { return };
        let ours = eye.kind != Some(NodeKind::Python);
        let Some(seen) = eye.lane(lane) else { return };
        seen.is_opening = true;
        let longest = seen.lost.is_some_and(|(at, _)| now.since(at) >= LONG_PAUSE);
        self.hits.hit_if(ours && longest, Point::BackoffAtItsLongest);
    }

    pub(super) fn lane_opened(&mut self, node: NodeId, lane: Lane) {
        let Some(eye) = self.eye(node) else { return };
        let stopping = eye.stopping;
        if eye.kind == Some(NodeKind::Client) && lane != Lane::Command {
            eye.reads_from = ReadsFrom::NewLane;
        }
        if let Some(seen) = eye.lane(lane) {
            (seen.is_open, seen.is_opening) = (true, false);
        }
        self.hits.hit_if(stopping, Point::ConnectedWhileStopping);
    }

    /// The connection ended, or could not be made.
    pub(super) fn lane_lost(&mut self, now: Instant, node: NodeId, lane: Lane) {
        let Some(eye) = self.eye(node) else { return };
        let refused = eye.lane(lane).is_some_and(|seen| seen.is_opening);
        self.lane_ended(now, node, lane);
        self.hits.hit_if(refused, Point::ConnectRefused);
    }

    /// The process gave the connection up.
    pub(super) fn lane_closed(&mut self, now: Instant, node: NodeId, lane: Lane) {
        let Some(eye) = self.eye(node) else { return };
        let (unfit, stopping) = (eye.unfit, eye.stopping);
        let waits = eye.flights.iter().any(|flight| flight.lane == lane);
        let opening = eye.lane(lane).is_some_and(|seen| seen.is_opening);
        self.lane_ended(now, node, lane);
        if unfit {
            self.hits.hit(Point::LaneUnfit);
        } else if !stopping {
            self.hits.hit_if(opening, Point::ConnectGivenUp);
            self.hits.hit_if(!opening && waits, Point::LaneOverdue);
        }
    }

    fn lane_ended(&mut self, now: Instant, node: NodeId, lane: Lane) {
        let Some(eye) = self.eye(node) else { return };
        let stopping = eye.stopping;
        let voided = eye.voided.len();
        eye.void(lane);
        let given = |what: fn(&What) -> bool| {
            let new = eye.voided.iter().skip(voided);
            new.filter(|flight| flight.given > 0 && what(&flight.what)).count()
        };
        let reads = given(|what| matches!(what, What::Read));
        let claims = given(|what| matches!(what, What::Claim));
        if let Some(seen) = eye.lane(lane) {
            seen.lost = Some((now, seen.is_open));
            (seen.is_open, seen.is_opening) = (false, false);
        }
        let at_once = !stopping
            && eye.lanes.len() > 1
            && eye.lanes.iter().all(|seen| seen.lost.is_some_and(|lost| lost == (now, true)));
        self.hits.hit_if(at_once, Point::LanesLostAtOnce);
        for _ in 0..reads {
            self.hits.hit(Point::ReadLostWithEntries);
        }
        for _ in 0..claims {
            self.hits.hit(Point::ClaimLostWithEntries);
        }
    }

    pub(super) fn stopping(&mut self, node: NodeId) {
        let Some(eye) = self.eye(node) else { return };
        eye.stopping = true;
        let down = eye.lanes.is_empty() || eye.lanes.iter().any(|seen| !seen.is_open);
        let unread = eye.kind == Some(NodeKind::Server) && !eye.has_read;
        self.hits.hit_if(down, Point::StoppedWithLaneDown);
        self.hits.hit_if(unread, Point::StoppedBeforeReading);
    }
}
