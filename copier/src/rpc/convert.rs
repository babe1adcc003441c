//! What gRPC calls carry, to and from the types of `job` and `jobs`.

use aoe_target::definition::Address;
use tonic::Status;

use crate::job::state::Phase;
use crate::job::{Destination, Job, Range, Source};
use crate::jobs::{Error, State};
use crate::proto;
use crate::proto::job::Source as Sent;

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let text = error.to_string();
        match error {
            Error::NoSuchJob(_) => Status::not_found(text),
            Error::Invalid(_) => Status::invalid_argument(text),
            Error::OtherJob(_) => Status::already_exists(text),
            Error::TooMany => Status::resource_exhausted(text),
            Error::Hangs { .. } => Status::deadline_exceeded(text),
            Error::NotSaved(_) => Status::internal(text),
        }
    }
}

/// The job is not checked further.
pub fn job(job: Option<proto::Job>) -> Result<Job, Status> {
    let invalid = |text: &str| Status::invalid_argument(text);
    let job = job.ok_or_else(|| invalid("no job"))?;
    let source = match job.source.ok_or_else(|| invalid("no source"))? {
        Sent::Local(proto::LocalSource { path }) => Source::Local { path },
        Sent::Aoe(proto::AoeSource { shelf, slot, serial, interfaces }) => {
            let address = Address::checked(shelf, slot).map_err(|error| Status::invalid_argument(error.to_string()))?;
            Source::Aoe { address, serial, interfaces }
        }
    };
    let proto::Destination { path, zeroed } = job.destination.ok_or_else(|| invalid("no destination"))?;
    Ok(Job {
        id: job.id,
        volume: job.volume,
        source,
        destination: Destination { path, zeroed },
        bytes: job.bytes,
        ranges: job.ranges.into_iter().map(|proto::Range { offset, bytes }| Range { offset, bytes }).collect(),
        bytes_per_second: job.bytes_per_second,
    })
}

impl From<Job> for proto::Job {
    fn from(job: Job) -> proto::Job {
        let source = match job.source {
            Source::Local { path } => Sent::Local(proto::LocalSource { path }),
            Source::Aoe { address, serial, interfaces } => {
                Sent::Aoe(proto::AoeSource { shelf: address.shelf.into(), slot: address.slot.into(), serial, interfaces })
            }
        };
        let Destination { path, zeroed } = job.destination;
        proto::Job {
            id: job.id,
            volume: job.volume,
            source: Some(source),
            destination: Some(proto::Destination { path, zeroed }),
            bytes: job.bytes,
            ranges: job.ranges.into_iter().map(|Range { offset, bytes }| proto::Range { offset, bytes }).collect(),
            bytes_per_second: job.bytes_per_second,
        }
    }
}

impl From<State> for proto::JobState {
    fn from(state: State) -> proto::JobState {
        let phase = match state.phase {
            Phase::Queued => proto::Phase::Queued,
            Phase::Copying => proto::Phase::Copying,
            Phase::Verifying => proto::Phase::Verifying,
            Phase::Verified => proto::Phase::Verified,
            Phase::Stopped => proto::Phase::Stopped,
            Phase::Failed => proto::Phase::Failed,
        };
        proto::JobState {
            job: Some(state.job.into()),
            phase: phase.into(),
            copied: state.progress.copied,
            verified: state.progress.verified,
            read: state.read,
            repaired: state.progress.repaired,
            problem: state.problem,
            problem_since: state.problem_since,
            started: state.progress.started,
            ended: state.progress.ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn errors_have_the_codes_that_the_protocol_promises() {
        let id = || String::from("j");
        let cases = [
            (Error::NoSuchJob(id()), Code::NotFound),
            (crate::job::Invalid::Bytes(1).into(), Code::InvalidArgument),
            (Error::OtherJob(id()), Code::AlreadyExists),
            (Error::TooMany, Code::ResourceExhausted),
            (Error::Hangs { id: id(), what: "the destination".into() }, Code::DeadlineExceeded),
        ];
        for (error, code) in cases {
            assert_eq!(Status::from(error).code(), code);
        }
    }

    #[test]
    fn a_job_comes_back_as_it_was_sent() {
        let sent = proto::Job {
            id: "j".into(),
            volume: "v".into(),
            source: Some(Sent::Aoe(proto::AoeSource { shelf: 7, slot: 3, serial: "S".into(), interfaces: vec!["eth0".into()] })),
            destination: Some(proto::Destination { path: "/x".into(), zeroed: true }),
            bytes: 512,
            ranges: vec![proto::Range { offset: 0, bytes: 512 }],
            bytes_per_second: 9,
        };
        assert_eq!(proto::Job::from(job(Some(sent.clone())).unwrap()), sent);
        assert_eq!(job(Some(proto::Job { source: None, ..sent.clone() })).unwrap_err().message(), "no source");
        let wildcard = Sent::Aoe(proto::AoeSource { shelf: 65535, ..Default::default() });
        assert!(job(Some(proto::Job { source: Some(wildcard), ..sent })).unwrap_err().message().contains("shelf"));
    }
}
