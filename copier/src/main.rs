use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use aoe_copier::cli::{self, Arguments, Parsed};
use aoe_copier::job::store::Store;
use aoe_copier::jobs::Jobs;
use aoe_copier::rpc;
use aoe_target::{log, privileges};

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args().skip(1)) {
        Ok(Parsed::Run(arguments)) => arguments,
        Ok(Parsed::Help) => {
            print!("{}", cli::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Parsed::Version) => {
            println!("aoe-copier {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("aoe-copier: {problem}");
            return ExitCode::from(2);
        }
    };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        log!(Error, "panic", error = info);
        hook(info);
        std::process::abort(); // no thread must go on without the others
    }));
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            log!(Error, "cannot copy", error = problem);
            ExitCode::FAILURE
        }
    }
}

/// Says what an error is about.
fn of(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn run(arguments: &Arguments) -> io::Result<()> {
    if arguments.with_parent {
        end_with_parent()?;
    }
    // Both come before other threads start, which inherit them.
    yield_to_others();
    let signals = block_signals()?;
    let store = Store::open(&arguments.state).map_err(of(format_args!("state directory {}", arguments.state.display())))?;
    let loaded = store.load().map_err(of("state directory"))?;
    for (path, problem) in &loaded.problems {
        log!(Warn, "state file passed over", path = path.display(), problem = problem);
    }
    privileges::keep_only(&privileges::NEEDED).map_err(of("privileges"))?;
    let listener = aoe_target::rpc::bind(&arguments.socket).map_err(of(format_args!("socket {}", arguments.socket.display())))?;
    log!(Info, "copying", version = env!("CARGO_PKG_VERSION"), jobs = loaded.jobs.len());
    let jobs = Arc::new(Jobs::new(store, arguments.parallel, loaded));
    let served = jobs.clone();
    std::thread::Builder::new().name("rpc".into()).spawn(move || {
        if let Err(error) = rpc::run(listener, served) {
            panic!("gRPC: {error}");
        }
    })?;
    let scheduled = jobs.clone();
    std::thread::Builder::new().name("schedule".into()).spawn(move || scheduled.schedule())?;
    wait_for(&signals);
    if !jobs.close() {
        log!(Warn, "a disk hangs: its job ends with the process");
    }
    let _ = std::fs::remove_file(&arguments.socket);
    Ok(())
}

/// Lets the kernel end this process when its parent ends: the next one starts a copier of its own, which needs the socket and the state.
fn end_with_parent() -> io::Result<()> {
    // SAFETY: takes a number.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(of("--with-parent")(io::Error::last_os_error()));
    }
    Ok(())
}

/// Asks the kernel not to interrupt other programs whenever an answer comes (SCHED_BATCH, sched(7)): hosts wait for the target, and nobody
/// waits for a copy. Answers that come meanwhile are taken together, which is faster, too.
fn yield_to_others() {
    // SAFETY: the parameter is valid. Without success copies go on as before.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &libc::sched_param { sched_priority: 0 }) };
}

/// Keeps the signals that end the process for [`wait_for`].
fn block_signals() -> io::Result<libc::sigset_t> {
    // SAFETY: the set is initialised by sigemptyset, and valid for each call.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut signals);
        libc::sigaddset(&mut signals, libc::SIGTERM);
        libc::sigaddset(&mut signals, libc::SIGINT);
        match libc::pthread_sigmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut()) {
            0 => Ok(signals),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn wait_for(signals: &libc::sigset_t) {
    let mut signal = 0;
    // SAFETY: both are valid.
    while unsafe { libc::sigwait(signals, &mut signal) } != 0 {}
}
