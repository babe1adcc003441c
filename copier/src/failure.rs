use std::fmt;
use std::io;

/// Why work on a job ended before its end. The texts are for people; the job adds its name.
#[derive(Debug)]
pub enum Failure {
    /// The job was stopped.
    Stopped,
    /// Waiting may help: the job goes on by itself.
    Wait(String),
    /// Waiting may help, but not often: after some attempts that get no further the job fails.
    Doubt(String),
    /// A difference was found and repaired: what follows the last saved progress is to be compared again, at once.
    Again(String),
    /// Waiting does not help: a person must act.
    Final(String),
}

impl Failure {
    pub fn wait(text: impl fmt::Display) -> Failure {
        Failure::Wait(text.to_string())
    }

    pub fn fatal(text: impl fmt::Display) -> Failure {
        Failure::Final(text.to_string())
    }

    /// An error of a local disk. `doing` is as in "writing /dev/x at byte 0".
    pub fn disk(doing: impl fmt::Display, error: &io::Error) -> Failure {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Failure::Wait(format!("{doing}: no room is left there; the job goes on when there is")),
            // An earlier process that is just ending, or a program that looks at new devices, closes it soon.
            Some(libc::EBUSY | libc::EWOULDBLOCK) => Failure::Wait(format!("{doing}: another program uses it")),
            _ => Failure::Final(format!("{doing}: {error}")),
        }
    }
}
