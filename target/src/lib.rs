//! AoE target: `wire` is the protocol, `net` the interfaces, `disk` the backing storage, `store` what outlives the process;
//! `serve` brings them together on one thread, and `rpc` lets others command it.

pub mod cli;
mod crew;
pub mod definition;
pub mod disk;
pub mod log;
pub mod net;
pub mod privileges;
pub mod rpc;
pub mod serve;
pub mod store;
pub mod wake;
pub mod wire;
pub mod worker;

/// Generated from rpc/proto/target.proto.
#[allow(clippy::all, clippy::pedantic)]
pub mod proto {
    tonic::include_proto!("aoe.target.v1");
}
