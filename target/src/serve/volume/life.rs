//! The state of a volume. Only the methods of [`State`] change it.

use std::sync::Arc;

use super::change::Then;
use crate::definition::{Access, Definition};
use crate::disk::Disk;
use crate::serve::command::Reply;
use crate::serve::error::Error;
use crate::serve::event::VolumeState;
use crate::store::Saved;

/// How a volume treats the frames that it gets. A volume that grows on the disk that it has stays `Serving`: it has its new size
/// once that is saved.
///
/// ```text
///        export                                 start
///          ▼                                      ▼
///    ┌───────────┐                          ┌───────────┐
///    │ Exporting ├──▶ forgotten (not opened │  Loading  │
///    └─────┬─────┘     or not saved)        └──┬─────┬──┘
///          │ saved                      opened │     │ not opened
///          ▼                                   ▼     ▼
///    ┌─────────────────────────────────────────┐   ┌────────┐
///    │                Serving                  │◀──│ Failed │◀─┐
///    └──┬──────────────────────▲────────────┬──┘   └─┬──┬─┬─┘  │ not opened
///       │ saved with another   │ requests   │ device │  │ └────┘
///       │ disk, while requests │ have ended │ gone   │  │
///       ▼ are under way        │            └────────┘  │ saved with another disk,
///    ┌─────────────────────────┴───────────────────┐    │ while requests are under way
///    │                  Swapping                   │◀───┘
///    └─────────────────────┬───────────────────────┘
///                          │ removal saved (also from Serving and from Failed)
///                          ▼
///                    ┌───────────┐
///                    │  Leaving  ├──▶ forgotten, when all requests have ended
///                    └───────────┘
/// ```
pub enum Life {
    /// Its first export is not saved yet. Its address is taken; no frame is answered.
    Exporting,
    /// Its disk is being opened after a start of the process. Requests for data stay unanswered; initiators send them again.
    Loading,
    Serving {
        disk: Arc<Disk>,
    },
    /// Its disk cannot be used. Opening it is tried again.
    Failed {
        error: String,
    },
    /// Another disk replaces the present one when all requests to that one have ended. Until then requests for data stay
    /// unanswered. `old` is none when the volume had failed.
    Swapping {
        old: Option<Arc<Disk>>,
        new: Arc<Disk>,
        reply: Reply<VolumeState>,
    },
    /// Its removal is saved. Its address stays taken until all requests have ended; no frame is answered.
    Leaving {
        disk: Option<Arc<Disk>>,
        reply: Reply<()>,
    },
}

/// The one change of a volume that is being saved.
#[derive(Default)]
pub enum Step {
    #[default]
    Idle,
    Saving(Saving),
    /// The removal is being saved.
    Removing {
        reply: Reply<()>,
    },
}

/// The one disk that is being opened for a volume. A disk that hangs may take any time for that: changes that need no disk, such as those
/// that take access away, are saved and answered meanwhile. Requests of an earlier process may still reach the disk, but none of this process
/// does before they have ended: they keep the disk locked.
#[derive(Default)]
pub enum Opening {
    #[default]
    Nothing,
    /// The volume's own disk: after a start of the process, or again after a failure.
    Own,
    /// The disk of an export.
    Export { definition: Box<Definition>, reply: Reply<VolumeState> },
    /// The disk of an export is open (none: it is the one that the volume has). The export is saved when the change under way has ended.
    Opened { definition: Box<Definition>, reply: Reply<VolumeState>, disk: Option<Arc<Disk>> },
}

/// What is being saved.
pub struct Saving {
    pub next: Box<Saved>,
    /// The disk of `next`; none: the one that the volume has.
    pub disk: Option<Arc<Disk>>,
    pub then: Then,
}

/// What [`State::saved`] leaves to do.
pub struct Committed {
    pub next: Box<Saved>,
    /// The volume was not served before.
    pub fresh: bool,
    /// None: the reply waits in [`Life::Swapping`].
    pub then: Option<Then>,
}

/// What [`State::drained`] leaves to do.
pub enum Drained {
    Nothing,
    /// The new disk is in use.
    Swapped(Reply<VolumeState>),
    /// The volume can be forgotten.
    Gone,
}

/// The life of a volume, the change under way, and the disk that is being opened.
pub struct State {
    life: Life,
    step: Step,
    opening: Opening,
}

impl State {
    /// Of a volume that is exported for the first time.
    pub fn exporting(definition: Box<Definition>, reply: Reply<VolumeState>) -> State {
        State { life: Life::Exporting, step: Step::Idle, opening: Opening::Export { definition, reply } }
    }

    /// Of a volume that was saved by an earlier process.
    pub fn loading() -> State {
        State { life: Life::Loading, step: Step::Idle, opening: Opening::Own }
    }

    pub fn life(&self) -> &Life {
        &self.life
    }

    #[cfg(test)]
    pub fn step(&self) -> &Step {
        &self.step
    }

    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    pub fn saving(&self) -> Option<&Saving> {
        match &self.step {
            Step::Saving(saving) => Some(saving),
            _ => None,
        }
    }

    /// Whether any change may begin.
    pub fn is_idle(&self) -> bool {
        matches!((&self.step, &self.opening), (Step::Idle, Opening::Nothing)) && !matches!(self.life, Life::Leaving { .. })
    }

    /// Whether a change that needs no disk may begin.
    pub fn may_save(&self) -> bool {
        matches!(self.step, Step::Idle) && self.is_exported()
    }

    /// Whether the volume exists for others: frames are answered, and watchers see it.
    pub fn is_exported(&self) -> bool {
        !matches!(self.life, Life::Exporting | Life::Leaving { .. })
    }

    /// Whether the volume has a disk, and so is announced and found by broadcasts.
    pub fn is_served(&self) -> bool {
        matches!(self.life, Life::Serving { .. } | Life::Swapping { .. })
    }

    pub fn is_failed(&self) -> bool {
        matches!(self.life, Life::Failed { .. })
    }

    pub fn is_swapping(&self) -> bool {
        matches!(self.life, Life::Swapping { .. })
    }

    /// Whether [`State::drained`] has something to do.
    pub fn awaits_quiet(&self) -> bool {
        matches!(self.life, Life::Swapping { .. } | Life::Leaving { .. })
    }

    /// The disk that requests under way use.
    pub fn disk(&self) -> Option<&Arc<Disk>> {
        match &self.life {
            Life::Serving { disk } => Some(disk),
            Life::Swapping { old: disk, .. } | Life::Leaving { disk, .. } => disk.as_ref(),
            Life::Exporting | Life::Loading | Life::Failed { .. } => None,
        }
    }

    /// The access that is being saved: it narrows the present one already.
    pub fn next_access(&self) -> Option<&Access> {
        self.saving().map(|saving| &saving.next.definition.access)
    }

    /// A failed disk is to be opened again. False, and nothing happens, when the volume has not failed or another change is
    /// under way.
    pub fn reopen(&mut self) -> bool {
        self.is_failed() && self.open(Opening::Own)
    }

    /// A disk is to be opened. False, and nothing happens, while another change is under way; what was to be opened is dropped.
    pub fn open(&mut self, opening: Opening) -> bool {
        let idle = self.is_idle();
        if idle {
            self.opening = opening;
        }
        idle
    }

    /// A change begins. False, and nothing happens, while another is under way; the step is dropped. A removal does not begin while a disk is
    /// being opened, either.
    pub fn begin(&mut self, step: Step) -> bool {
        let may_begin = if matches!(step, Step::Removing { .. }) { self.is_idle() } else { self.may_save() };
        if may_begin {
            self.step = step;
        }
        may_begin
    }

    /// The access has changed while an export waits for its disk: the export does not undo that.
    pub fn overtake(&mut self, access: &Access) {
        if let Opening::Export { definition, .. } | Opening::Opened { definition, .. } = &mut self.opening {
            definition.access = access.clone();
        }
    }

    /// The volume's own disk was opened, or could not be. False when it was not being opened.
    pub fn reopened(&mut self, result: Result<Arc<Disk>, String>) -> bool {
        let due = matches!(self.opening, Opening::Own);
        if due {
            self.opening = Opening::Nothing;
            self.life = match result {
                Ok(disk) => Life::Serving { disk },
                Err(error) => Life::Failed { error },
            };
        }
        due
    }

    /// The disk of an export is open (none: it is the one that the volume has). False when no such disk was being opened.
    pub fn opened(&mut self, disk: Option<Arc<Disk>>) -> bool {
        let Some((definition, reply)) = self.end_export() else { return false };
        self.opening = Opening::Opened { definition, reply, disk };
        true
    }

    /// The disk of an export could not be opened. Gives the reply to refuse with.
    pub fn not_opened(&mut self) -> Option<Reply<VolumeState>> {
        self.end_export().map(|(_, reply)| reply)
    }

    /// An export whose disk is open is saved, unless another change is under way. `next` makes of its definition what is to be saved.
    pub fn save_opened(&mut self, next: impl FnOnce(Definition) -> Box<Saved>) -> bool {
        if !matches!(self.step, Step::Idle) {
            return false;
        }
        let opened = end(&mut self.opening, |opening| match opening {
            Opening::Opened { definition, reply, disk } => Ok((definition, reply, disk)),
            opening => Err(opening),
        });
        let Some((definition, reply, disk)) = opened else { return false };
        self.step = Step::Saving(Saving { next: next(*definition), disk, then: Then::Reply(reply) });
        true
    }

    /// What was to be saved is saved. `quiet`: no request is under way or waits.
    pub fn saved(&mut self, quiet: bool) -> Option<Committed> {
        let Saving { next, disk, then } = self.end_saving()?;
        let Some(new) = disk else { return Some(Committed { next, fresh: false, then: Some(then) }) };
        let fresh = !self.is_served();
        match then {
            Then::Reply(reply) if !quiet => {
                let old = self.disk().cloned();
                self.life = Life::Swapping { old, new, reply };
                Some(Committed { next, fresh, then: None })
            }
            then => {
                self.life = Life::Serving { disk: new };
                Some(Committed { next, fresh, then: Some(then) })
            }
        }
    }

    /// What was to be saved could not be. Gives what to do then.
    pub fn not_saved(&mut self) -> Option<Then> {
        self.end_saving().map(|saving| saving.then)
    }

    /// The removal is saved. An export whose disk was never in use is refused. False when no removal was being saved.
    pub fn removed(&mut self, uid: &str) -> bool {
        let Some(reply) = self.not_removed() else { return false };
        let disk = self.disk().cloned();
        if let Life::Swapping { reply, .. } = std::mem::replace(&mut self.life, Life::Leaving { disk, reply }) {
            let _ = reply.send(Err(Error::Unexported(uid.to_owned())));
        }
        true
    }

    /// The removal could not be saved. Gives the reply to refuse with.
    pub fn not_removed(&mut self) -> Option<Reply<()>> {
        end(&mut self.step, |step| match step {
            Step::Removing { reply } => Ok(reply),
            step => Err(step),
        })
    }

    /// The device of a served volume is gone. False when the volume is not served, or gets another disk anyway.
    pub fn device_gone(&mut self, error: String) -> bool {
        let serving = matches!(self.life, Life::Serving { .. });
        if serving {
            self.life = Life::Failed { error };
        }
        serving
    }

    /// No request is under way, and none waits.
    pub fn drained(&mut self) -> Drained {
        match std::mem::replace(&mut self.life, Life::Loading) {
            Life::Swapping { new, reply, .. } => {
                self.life = Life::Serving { disk: new };
                Drained::Swapped(reply)
            }
            life => {
                let gone = matches!(life, Life::Leaving { .. });
                self.life = life;
                if gone { Drained::Gone } else { Drained::Nothing }
            }
        }
    }

    /// The reply to the removal of a volume that is gone.
    pub fn into_removal(self) -> Option<Reply<()>> {
        match self.life {
            Life::Leaving { reply, .. } => Some(reply),
            _ => None,
        }
    }

    fn end_saving(&mut self) -> Option<Saving> {
        end(&mut self.step, |step| match step {
            Step::Saving(saving) => Ok(saving),
            step => Err(step),
        })
    }

    fn end_export(&mut self) -> Option<(Box<Definition>, Reply<VolumeState>)> {
        end(&mut self.opening, |opening| match opening {
            Opening::Export { definition, reply } => Ok((definition, reply)),
            opening => Err(opening),
        })
    }
}

/// Ends what is under way if it is what is wanted.
fn end<P: Default, T>(present: &mut P, wanted: impl FnOnce(P) -> Result<T, P>) -> Option<T> {
    match wanted(std::mem::take(present)) {
        Ok(ended) => Some(ended),
        Err(other) => {
            *present = other;
            None
        }
    }
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
