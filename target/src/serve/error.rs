use std::time::Duration;

use crate::definition::Address;
use crate::disk::open::OpenError;

/// Why a command was refused. `rpc` gives each case its gRPC status code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no volume {0}")]
    NoSuchVolume(String),
    #[error("{address} is the address of volume {uid}")]
    AddressTaken { uid: String, address: Address },
    #[error("volume {uid} has the address {address}")]
    OtherAddress { uid: String, address: Address },
    #[error("volume {uid} has the serial number {serial}")]
    OtherSerial { uid: String, serial: String },
    #[error("volume {uid} has {present} sectors, and is never made smaller: {sectors} sectors are refused")]
    Smaller { uid: String, present: u64, sectors: u64 },
    /// The volume was removed while this export waited for requests to its old disk.
    #[error("volume {0} was unexported before its new disk was in use")]
    Unexported(String),
    #[error(transparent)]
    Disk(#[from] OpenError),
    /// Not the expected config string, but this one.
    #[error("the config string is {0:?}")]
    OtherConfigString(String),
    #[error("the state directory cannot be written: {0}")]
    NotSaved(std::io::Error),
    /// The volume has no disk now, or another one replaces it.
    #[error("volume {0} is not served now")]
    NotServed(String),
    #[error("volume {uid} is held already: hold {number} ends when it is released, and after {limit:?} at the latest")]
    Held { uid: String, number: u64, limit: Duration },
    /// A disk that hangs, or a hold that ended while it waited for writes.
    #[error("the writes of volume {uid} that were under way did not end within {limit:?}")]
    NotStill { uid: String, limit: Duration },
    #[error("{0} traces run already: end one, or wait")]
    TooManyTraces(usize),
}
