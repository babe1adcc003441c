//! What gRPC calls carry, to and from the types of `serve`.

use tonic::Status;

use crate::definition::{Access, Address, Definition, Invalid, Limits};
use crate::disk::engine::Kind;
use crate::disk::open::OpenError;
use crate::net::port::Counts;
use crate::proto;
use crate::serve::observe::stats::{Initiator, RefusedFrames, Requests, VolumeStats, bounds};
use crate::serve::{Counted, Error, Event, InterfaceState, Silences, VolumeState};
use crate::wire::Mac;

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let text = error.to_string();
        match error {
            Error::NoSuchVolume(_) | Error::Unexported(_) | Error::Disk(OpenError::Missing(_)) => Status::not_found(text),
            Error::AddressTaken { .. } | Error::OtherAddress { .. } => Status::already_exists(text),
            Error::OtherSerial { .. } | Error::Smaller { .. } => Status::invalid_argument(text),
            Error::Disk(OpenError::Unfit { .. }) | Error::OtherConfigString(_) | Error::NotServed(_) => Status::failed_precondition(text),
            Error::Held { .. } | Error::NotStill { .. } => Status::aborted(text),
            Error::NotSaved(_) => Status::internal(text),
            Error::TooManyTraces(_) => Status::resource_exhausted(text),
        }
    }
}

fn invalid(error: impl std::error::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

pub fn access(access: Option<proto::Access>) -> Result<Access, Status> {
    let access = access.unwrap_or_default();
    let mut macs = Vec::with_capacity(access.macs.len());
    for text in &access.macs {
        let mac: Mac = text.parse().map_err(invalid)?;
        if !mac.is_unicast() {
            return Err(invalid(Invalid::Initiator(mac)));
        }
        if !macs.contains(&mac) {
            macs.push(mac);
        }
    }
    Ok(Access { anyone: access.anyone, macs, writes_need_lock: access.writes_need_lock })
}

pub fn definition(volume: Option<proto::Volume>) -> Result<Definition, Status> {
    let volume = volume.ok_or_else(|| Status::invalid_argument("no volume"))?;
    let definition = Definition {
        uid: volume.uid,
        address: Address::checked(volume.shelf, volume.slot).map_err(invalid)?,
        path: volume.path,
        serial: volume.serial,
        read_only: volume.read_only,
        access: access(volume.access)?,
        sectors: volume.sectors,
        for_copies: volume.for_copies,
        limits: volume.limits.map(Into::into),
        reclaim: volume.reclaim,
    };
    definition.check().map_err(invalid)?;
    Ok(definition)
}

impl From<proto::Limits> for Limits {
    fn from(limits: proto::Limits) -> Limits {
        Limits {
            iops: limits.iops,
            read_iops: limits.read_iops,
            write_iops: limits.write_iops,
            bytes_per_second: limits.bytes_per_second,
            read_bytes_per_second: limits.read_bytes_per_second,
            write_bytes_per_second: limits.write_bytes_per_second,
            burst_seconds: limits.burst_seconds,
        }
    }
}

impl From<Limits> for proto::Limits {
    fn from(limits: Limits) -> proto::Limits {
        proto::Limits {
            iops: limits.iops,
            read_iops: limits.read_iops,
            write_iops: limits.write_iops,
            bytes_per_second: limits.bytes_per_second,
            read_bytes_per_second: limits.read_bytes_per_second,
            write_bytes_per_second: limits.write_bytes_per_second,
            burst_seconds: limits.burst_seconds,
        }
    }
}

impl From<Silences> for proto::GetHeardResponse {
    fn from(silences: Silences) -> proto::GetHeardResponse {
        let ms = |time: std::time::Duration| time.as_millis() as u64;
        let hosts = silences.hosts.iter().map(|(mac, silence)| proto::HeardHost { mac: mac.to_string(), silent_ms: ms(*silence) });
        proto::GetHeardResponse { listening_ms: ms(silences.listening), hosts: hosts.collect() }
    }
}

impl From<Definition> for proto::Volume {
    fn from(definition: Definition) -> proto::Volume {
        let Access { anyone, macs, writes_need_lock } = definition.access;
        let macs = macs.iter().map(Mac::to_string).collect();
        proto::Volume {
            uid: definition.uid,
            shelf: definition.address.shelf.into(),
            slot: definition.address.slot.into(),
            path: definition.path,
            serial: definition.serial,
            read_only: definition.read_only,
            access: Some(proto::Access { anyone, macs, writes_need_lock }),
            sectors: definition.sectors,
            for_copies: definition.for_copies,
            limits: Some(definition.limits.unwrap_or_default().into()),
            reclaim: definition.reclaim,
        }
    }
}

impl From<VolumeState> for proto::VolumeState {
    fn from(state: VolumeState) -> proto::VolumeState {
        let VolumeState { definition, sectors, config_string, error } = state;
        proto::VolumeState { volume: Some(definition.into()), sectors, config_string, error }
    }
}

impl From<InterfaceState> for proto::Interface {
    fn from(state: InterfaceState) -> proto::Interface {
        let InterfaceState { name, mac, mtu, serving, error } = state;
        proto::Interface { name, mac: mac.map_or_else(String::new, |mac| mac.to_string()), mtu, serving, error }
    }
}

impl From<Event> for proto::WatchResponse {
    fn from(event: Event) -> proto::WatchResponse {
        use proto::watch_response::Event as Sent;
        let event = match event {
            Event::Changed(state) => Sent::Changed(state.into()),
            Event::Removed(uid) => Sent::Removed(uid),
            Event::Synced => Sent::Synced(true),
            Event::Interface(interface) => Sent::Interface(interface.into()),
        };
        proto::WatchResponse { event: Some(event) }
    }
}

impl From<Counted> for proto::GetStatsResponse {
    fn from(counted: Counted) -> proto::GetStatsResponse {
        proto::GetStatsResponse {
            latency_bounds_us: bounds().collect(),
            volumes: counted.volumes.iter().map(|(uid, stats)| volume(uid, stats)).collect(),
            interfaces: counted.interfaces.into_iter().map(interface).collect(),
            refused: refused(&counted.refused),
        }
    }
}

fn volume(uid: &str, stats: &VolumeStats) -> proto::VolumeStats {
    let known = stats.initiators.iter().map(|(mac, counts)| initiator(mac.to_string(), counts));
    let others = stats.others.iter().map(|counts| initiator(String::new(), counts));
    proto::VolumeStats {
        uid: uid.into(),
        initiators: known.chain(others).collect(),
        refused: refused(&stats.refused),
        reclaimed: stats.reclaimed,
    }
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
        throttled_ns: counts.throttled.as_nanos() as u64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tonic::Code;

    #[test]
    fn errors_have_the_codes_that_the_protocol_promises() {
        let (uid, address) = (String::from("v"), Address { shelf: 7, slot: 3 });
        let cases = [
            (Error::NoSuchVolume(uid.clone()), Code::NotFound, "no volume v"),
            (Error::AddressTaken { uid: uid.clone(), address }, Code::AlreadyExists, "e7.3 is the address of volume v"),
            (Error::OtherAddress { uid: uid.clone(), address }, Code::AlreadyExists, "volume v has the address e7.3"),
            (Error::OtherSerial { uid, serial: "S".into() }, Code::InvalidArgument, "volume v has the serial number S"),
            (OpenError::Missing("/x".into()).into(), Code::NotFound, "/x does not exist"),
            (Error::OtherConfigString("a".into()), Code::FailedPrecondition, "the config string is \"a\""),
            (
                Error::Held { uid: "v".into(), number: 5, limit: Duration::from_secs(10) },
                Code::Aborted,
                "volume v is held already: hold 5 ends when it is released, and after 10s at the latest",
            ),
            (
                Error::NotStill { uid: "v".into(), limit: Duration::from_millis(100) },
                Code::Aborted,
                "the writes of volume v that were under way did not end within 100ms",
            ),
            (Error::NotServed("v".into()), Code::FailedPrecondition, "volume v is not served now"),
            (Error::TooManyTraces(4), Code::ResourceExhausted, "4 traces run already: end one, or wait"),
        ];
        for (error, code, text) in cases {
            let status = Status::from(error);
            assert_eq!((status.code(), status.message()), (code, text));
        }
    }
}
