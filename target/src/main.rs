use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use aoe_target::cli::{self, Arguments, Parsed, pcap};
use aoe_target::serve::{Options, Server};
use aoe_target::store::{Loaded, Saved, Store};
use aoe_target::wake::Waker;
use aoe_target::{log, privileges, rpc};

static STOP: AtomicBool = AtomicBool::new(false);
static WAKER: OnceLock<Arc<Waker>> = OnceLock::new();

/// How long to poll for the next frame before sleeping.
const POLL: Duration = Duration::from_micros(50);

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args().skip(1)) {
        Ok(Parsed::Run(arguments)) => arguments,
        Ok(Parsed::Trace(arguments)) => {
            return match pcap::run(arguments) {
                Ok(()) => ExitCode::SUCCESS,
                Err(problem) => {
                    eprintln!("aoe-target: {problem}");
                    ExitCode::FAILURE
                }
            };
        }
        Ok(Parsed::Help) => {
            print!("{}", cli::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Parsed::Version) => {
            println!("aoe-target {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("aoe-target: {problem}");
            return ExitCode::from(2);
        }
    };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        log!(Error, "panic", error = info);
        hook(info);
        std::process::abort(); // no thread must go on without the others
    }));
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            log!(Error, "cannot serve", error = problem);
            ExitCode::FAILURE
        }
    }
}

/// Why the target cannot serve.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{what}: {error}")]
    Named { what: String, error: io::Error },
}

/// Says what an error is about.
fn of(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::Named { what: what.to_string(), error }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    allow_many_files();
    let waker = Arc::new(Waker::new()?);
    stop_on_signals(&waker)?;
    let store = match &arguments.state {
        Some(path) => Some(Store::open(path).map_err(of(format_args!("state directory {}", path.display())))?),
        None => None,
    };
    let mut loaded = match &store {
        Some(store) => store.load().map_err(of("state directory"))?,
        None => Loaded::default(),
    };
    if !arguments.exports.is_empty() {
        loaded = named(loaded, &arguments);
    }
    let (sender, commands) = mpsc::channel();
    let poll = arguments.poll.unwrap_or(if cpus() > 1 { POLL } else { Duration::ZERO });
    let options = Options { poll, uring: !arguments.no_uring, inline_memory: true };
    let mut server: Server = Server::new(options, store, waker.clone(), commands)?;
    // After all that is opened once, and before another thread starts: each thread has its own privileges. The io_uring is made
    // before, since kernels up to 5.11 count its memory against RLIMIT_MEMLOCK of processes without CAP_IPC_LOCK.
    privileges::keep_only(&privileges::NEEDED).map_err(of("privileges"))?;
    if let Some(path) = &arguments.socket {
        let listener = rpc::bind(path).map_err(of(format_args!("socket {}", path.display())))?;
        let thread = std::thread::Builder::new().name("rpc".into()).spawn(move || {
            if let Err(error) = rpc::run(listener, sender, waker) {
                panic!("gRPC: {error}");
            }
        });
        thread?;
    }
    log!(Info, "serving", version = env!("CARGO_PKG_VERSION"), volumes = loaded.volumes.len());
    server.restore(loaded);
    server.run(&STOP);
    if let Some(path) = &arguments.socket {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// The volumes and interfaces of the command line, with the config strings and lists that were saved for them.
fn named(loaded: Loaded, arguments: &Arguments) -> Loaded {
    let volumes = arguments.exports.iter().map(|definition| {
        let known = loaded.volumes.iter().find(|saved| saved.definition.uid == definition.uid).cloned();
        Saved { definition: definition.clone(), ..known.unwrap_or_else(|| Saved::new(definition.clone())) }
    });
    Loaded { volumes: volumes.collect(), interfaces: arguments.interfaces.clone(), problems: loaded.problems }
}

/// CPUs of the machine, including those that this process may not use: polling keeps only the own CPU busy.
fn cpus() -> libc::c_long {
    // SAFETY: no memory is passed.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }
}

/// Each volume is an open file.
fn allow_many_files() {
    // SAFETY: the structure is valid; a failure leaves the limit as it is.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

fn stop_on_signals(waker: &Arc<Waker>) -> io::Result<()> {
    extern "C" fn stop(_: libc::c_int) {
        STOP.store(true, Ordering::Relaxed);
        if let Some(waker) = WAKER.get() {
            waker.wake();
        }
    }
    let _ = WAKER.set(waker.clone());
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the handler does nothing but atomic stores and a write.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = stop as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            if libc::sigaction(signal, &action, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}
