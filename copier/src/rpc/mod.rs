//! The gRPC service on a unix socket. Only this folder knows gRPC.

mod convert;

use std::io;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, async_trait};

use crate::jobs::{Error, Jobs};
use crate::proto;
use crate::proto::copier_server::{Copier, CopierServer};

/// Most bytes of a request: a job with the most ranges fits.
const MAX_REQUEST: usize = 1 << 20;

struct Service {
    jobs: Arc<Jobs>,
}

/// Serves until the process ends. The socket comes from [`aoe_target::rpc::bind`].
pub fn run(listener: std::os::unix::net::UnixListener, jobs: Arc<Jobs>) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let incoming = UnixListenerStream::new(UnixListener::from_std(listener)?);
        let service = CopierServer::new(Service { jobs }).max_decoding_message_size(MAX_REQUEST);
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.map_err(io::Error::other)
    })
}

impl Service {
    /// Does what may wait for a disk in a thread of its own, so that other calls are answered meanwhile.
    async fn change<T: Send + 'static>(&self, call: impl FnOnce(&Jobs) -> Result<T, Error> + Send + 'static) -> Result<T, Status> {
        let jobs = self.jobs.clone();
        let done = tokio::task::spawn_blocking(move || call(&jobs)).await;
        Ok(done.map_err(|error| Status::internal(error.to_string()))??)
    }
}

#[async_trait]
impl Copier for Service {
    async fn get_info(&self, _: Request<proto::GetInfoRequest>) -> Result<Response<proto::GetInfoResponse>, Status> {
        Ok(Response::new(proto::GetInfoResponse { version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }))
    }

    async fn start(&self, request: Request<proto::StartRequest>) -> Result<Response<proto::StartResponse>, Status> {
        let job = convert::job(request.into_inner().job)?;
        let state = self.change(|jobs| jobs.start(job)).await?;
        Ok(Response::new(proto::StartResponse { state: Some(state.into()) }))
    }

    async fn set_limit(&self, request: Request<proto::SetLimitRequest>) -> Result<Response<proto::SetLimitResponse>, Status> {
        self.jobs.set_limit(request.into_inner().bytes_per_second);
        Ok(Response::new(proto::SetLimitResponse {}))
    }

    async fn get(&self, request: Request<proto::GetRequest>) -> Result<Response<proto::GetResponse>, Status> {
        let state = self.jobs.get(&request.into_inner().id)?;
        Ok(Response::new(proto::GetResponse { state: Some(state.into()) }))
    }

    async fn list(&self, _: Request<proto::ListRequest>) -> Result<Response<proto::ListResponse>, Status> {
        Ok(Response::new(proto::ListResponse { states: self.jobs.list().into_iter().map(Into::into).collect() }))
    }

    async fn stop(&self, request: Request<proto::StopRequest>) -> Result<Response<proto::StopResponse>, Status> {
        let id = request.into_inner().id;
        let state = self.change(move |jobs| jobs.stop(&id)).await?;
        Ok(Response::new(proto::StopResponse { state: Some(state.into()) }))
    }

    async fn remove(&self, request: Request<proto::RemoveRequest>) -> Result<Response<proto::RemoveResponse>, Status> {
        let id = request.into_inner().id;
        self.change(move |jobs| jobs.remove(&id)).await?;
        Ok(Response::new(proto::RemoveResponse {}))
    }
}
