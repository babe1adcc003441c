//! Copies a block device, a file or an ATA over Ethernet disk to a local device or file. `job` is what is asked for and how far it
//! is, `plan` what is read next, `source` where from, `disk` local devices and files, `copy` the two passes over them, `jobs` all
//! jobs together, and `rpc` lets the agent command it. The protocol and packet sockets are those of the target's library.

pub mod cli;
pub mod control;
pub mod copy;
pub mod disk;
pub mod failure;
pub mod job;
pub mod jobs;
pub mod plan;
pub mod rpc;
pub mod source;

/// Generated from rpc/proto/copier.proto.
#[allow(clippy::all, clippy::pedantic)]
pub mod proto {
    tonic::include_proto!("aoe.copier.v1");
}
