//! The gRPC service on a unix socket: turns calls into commands for the serving thread. Only this folder knows gRPC.

mod convert;
pub mod trace_stream;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{mpsc as channel, oneshot};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, async_trait};

use crate::proto;
use crate::proto::target_server::{Target, TargetServer};
use crate::serve::{Change, Command, Reply, WATCH_QUEUE};
use crate::wake::Waker;
use crate::wire::config::MAX_STRING;
use trace_stream::TraceStream;

/// How long a hold lasts, at most, when the caller does not say.
const DEFAULT_HOLD_MS: u32 = 10_000;
/// Longest limit of a hold. The Linux initiator gives up a disk after 180 s without an answer.
const MAX_HOLD_MS: u32 = 60_000;

pub struct Service {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
}

/// Binds the socket. One left by a crash is removed; one that another process serves is not. Only the owner can open it.
pub fn bind(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process serves this socket"));
    }
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // SAFETY: umask has no memory arguments; no other thread makes files yet.
    let before = unsafe { libc::umask(0o177) };
    let bound = std::os::unix::net::UnixListener::bind(path);
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    let listener = bound?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until the process ends.
pub fn run(listener: std::os::unix::net::UnixListener, commands: mpsc::Sender<Command>, waker: Arc<Waker>) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let incoming = UnixListenerStream::new(UnixListener::from_std(listener)?);
        let service = TargetServer::new(Service { commands, waker });
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.map_err(io::Error::other)
    })
}

impl Service {
    fn send(&self, command: Command) -> Result<(), Status> {
        self.commands.send(command).map_err(|_| stopping())?;
        self.waker.wake();
        Ok(())
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        Ok(answer.await.map_err(|_| stopping())??)
    }
}

fn stopping() -> Status {
    Status::unavailable("the target is stopping")
}

#[async_trait]
impl Target for Service {
    async fn get_info(&self, _: Request<proto::GetInfoRequest>) -> Result<Response<proto::GetInfoResponse>, Status> {
        let interfaces = self.ask(|reply| Command::Info { reply }).await?;
        Ok(Response::new(proto::GetInfoResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            interfaces: interfaces.into_iter().map(Into::into).collect(),
            features: vec![
                "writes_need_lock".into(),
                "exported_size".into(),
                "hold".into(),
                "for_copies".into(),
                "limits".into(),
                "reclaim".into(),
                "heard".into(),
            ],
        }))
    }

    async fn set_interfaces(
        &self,
        request: Request<proto::SetInterfacesRequest>,
    ) -> Result<Response<proto::SetInterfacesResponse>, Status> {
        let mut names = request.into_inner().names;
        names.sort();
        names.dedup();
        if let Some(name) = names.iter().find(|name| name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '\0'])) {
            return Err(Status::invalid_argument(format!("{name:?} is not a name that an interface can have")));
        }
        let interfaces = self.ask(|reply| Command::SetInterfaces { names, reply }).await?;
        Ok(Response::new(proto::SetInterfacesResponse { interfaces: interfaces.into_iter().map(Into::into).collect() }))
    }

    async fn export(&self, request: Request<proto::ExportRequest>) -> Result<Response<proto::ExportResponse>, Status> {
        let definition = Box::new(convert::definition(request.into_inner().volume)?);
        let state = self.ask(|reply| Command::Export { definition, reply }).await?;
        Ok(Response::new(proto::ExportResponse { state: Some(state.into()) }))
    }

    async fn unexport(&self, request: Request<proto::UnexportRequest>) -> Result<Response<proto::UnexportResponse>, Status> {
        let uid = request.into_inner().uid;
        self.ask(|reply| Command::Unexport { uid, reply }).await?;
        Ok(Response::new(proto::UnexportResponse {}))
    }

    async fn set_access(&self, request: Request<proto::SetAccessRequest>) -> Result<Response<proto::SetAccessResponse>, Status> {
        let proto::SetAccessRequest { uid, access } = request.into_inner();
        let access = convert::access(access)?;
        let state = self.ask(|reply| Command::Change { uid, change: Change::SetAccess { access, reply } }).await?;
        Ok(Response::new(proto::SetAccessResponse { state: Some(state.into()) }))
    }

    async fn replace_config_string(
        &self,
        request: Request<proto::ReplaceConfigStringRequest>,
    ) -> Result<Response<proto::ReplaceConfigStringResponse>, Status> {
        let proto::ReplaceConfigStringRequest { uid, expected, replacement } = request.into_inner();
        if replacement.len() > MAX_STRING {
            return Err(Status::invalid_argument(format!("config string of {} bytes: at most {MAX_STRING} fit", replacement.len())));
        }
        let state = self.ask(|reply| Command::Change { uid, change: Change::ReplaceConfigString { expected, replacement, reply } }).await?;
        Ok(Response::new(proto::ReplaceConfigStringResponse { state: Some(state.into()) }))
    }

    async fn hold(&self, request: Request<proto::HoldRequest>) -> Result<Response<proto::HoldResponse>, Status> {
        let proto::HoldRequest { uid, limit_ms } = request.into_inner();
        let limit = match limit_ms {
            0 => DEFAULT_HOLD_MS,
            1..=MAX_HOLD_MS => limit_ms,
            _ => return Err(Status::invalid_argument(format!("a hold of {limit_ms} ms: at most {MAX_HOLD_MS} ms"))),
        };
        let number = self.ask(|reply| Command::Hold { uid, limit: Duration::from_millis(limit.into()), reply }).await?;
        Ok(Response::new(proto::HoldResponse { number }))
    }

    async fn release(&self, request: Request<proto::ReleaseRequest>) -> Result<Response<proto::ReleaseResponse>, Status> {
        let proto::ReleaseRequest { uid, number } = request.into_inner();
        let held_throughout = self.ask(|reply| Command::Release { uid, number, reply }).await?;
        Ok(Response::new(proto::ReleaseResponse { held_throughout }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<proto::WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<proto::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (watcher, events) = channel::channel(WATCH_QUEUE);
        self.send(Command::Watch { watcher })?;
        let stream = ReceiverStream::new(events).map(|event| Ok(event.into()));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_stats(&self, _: Request<proto::GetStatsRequest>) -> Result<Response<proto::GetStatsResponse>, Status> {
        let counted = self.ask(|reply| Command::Stats { reply }).await?;
        Ok(Response::new(counted.into()))
    }

    async fn get_heard(&self, _: Request<proto::GetHeardRequest>) -> Result<Response<proto::GetHeardResponse>, Status> {
        let silences = self.ask(|reply| Command::Heard { reply }).await?;
        Ok(Response::new(silences.into()))
    }

    type TraceStream = TraceStream;

    async fn trace(&self, request: Request<proto::TraceRequest>) -> Result<Response<TraceStream>, Status> {
        let request = request.into_inner();
        let (trace, stream) = trace_stream::open(&request)?;
        let uid = Some(request.uid).filter(|uid| !uid.is_empty());
        self.ask(|reply| Command::Trace { uid, trace: Box::new(trace), reply }).await?;
        Ok(Response::new(stream))
    }
}
