use crate::disk::engine::Kind;
use crate::net::port::Counts;
use crate::proto;
use crate::serve::Counted;
use crate::serve::observe::stats::{Initiator, RefusedFrames, Requests, VolumeStats, bounds};

/// What was counted, as it is told.
pub fn response(counted: Counted) -> proto::GetStatsResponse {
    proto::GetStatsResponse {
        latency_bounds_us: bounds().collect(),
        volumes: counted.volumes.iter().map(|(uid, stats)| volume(uid, stats)).collect(),
        interfaces: counted.interfaces.into_iter().map(interface).collect(),
        refused: refused(&counted.refused),
    }
}

fn volume(uid: &str, stats: &VolumeStats) -> proto::VolumeStats {
    let known = stats.initiators.iter().map(|(mac, counts)| initiator(mac.to_string(), counts));
    let others = stats.others.iter().map(|counts| initiator(String::new(), counts));
    proto::VolumeStats { uid: uid.into(), initiators: known.chain(others).collect(), refused: refused(&stats.refused) }
}

fn initiator(mac: String, counts: &Initiator) -> proto::InitiatorStats {
    let of = |kind: Kind| requests(&counts.requests[kind as usize]);
    proto::InitiatorStats {
        mac,
        read: of(Kind::Read),
        write: of(Kind::Write),
        flush: of(Kind::Flush),
        repeats: counts.repeats,
        dropped: counts.dropped,
    }
}

/// None when there were no requests of a kind.
fn requests(counts: &Requests) -> Option<proto::RequestStats> {
    counts.latency.iter().any(|count| *count > 0).then(|| proto::RequestStats {
        errors: counts.errors,
        bytes: counts.bytes,
        latency_sum_ns: counts.nanos,
        latency: counts.latency.to_vec(),
    })
}

fn refused(frames: &RefusedFrames) -> Vec<proto::RefusedFrames> {
    frames.iter().map(|(reason, frames)| proto::RefusedFrames { reason: reason.into(), frames }).collect()
}

fn interface((name, counts): (String, Counts)) -> proto::InterfaceStats {
    proto::InterfaceStats {
        name,
        received: counts.received,
        sent: counts.sent,
        ring_dropped: counts.ring_dropped,
        receive_lost: counts.lost,
        send_failed: counts.failed,
        answers_dropped: counts.dropped,
    }
}
