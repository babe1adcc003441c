use super::*;
use crate::disk::open::{Opened, open};
use crate::serve::testing::saved;
use tokio::sync::oneshot;

fn disk() -> Arc<Disk> {
    match open("/proc/self/exe", true, 0, None) {
        Ok(Opened::New(disk)) => disk,
        _ => panic!("the test itself can be opened"),
    }
}

fn reply<T>() -> Reply<T> {
    oneshot::channel().0
}

fn life(name: &str) -> Life {
    match name {
        "Exporting" => Life::Exporting,
        "Loading" => Life::Loading,
        "Serving" => Life::Serving { disk: disk() },
        "Failed" => Life::Failed { error: "gone".into() },
        "Swapping" => Life::Swapping { old: Some(disk()), new: disk(), reply: reply() },
        "Leaving" => Life::Leaving { disk: Some(disk()), reply: reply() },
        _ => panic!("{name}"),
    }
}

fn step(name: &str) -> Step {
    let saving = |disk| Step::Saving(Saving { next: Box::new(saved("/x")), disk, then: Then::Reply(reply()) });
    match name {
        "Idle" => Step::Idle,
        "Reopening" => Step::Reopening,
        "Opening" => Step::Opening { definition: Box::new(saved("/x").definition), reply: reply() },
        "Saving" => saving(None),
        "Saving+disk" => saving(Some(disk())),
        "Removing" => Step::Removing { reply: reply() },
        _ => panic!("{name}"),
    }
}

fn name(state: &State) -> String {
    let life = match state.life {
        Life::Exporting => "Exporting",
        Life::Loading => "Loading",
        Life::Serving { .. } => "Serving",
        Life::Failed { .. } => "Failed",
        Life::Swapping { .. } => "Swapping",
        Life::Leaving { .. } => "Leaving",
    };
    let step = match &state.step {
        Step::Idle => "Idle",
        Step::Reopening => "Reopening",
        Step::Opening { .. } => "Opening",
        Step::Saving(Saving { disk: None, .. }) => "Saving",
        Step::Saving(_) => "Saving+disk",
        Step::Removing { .. } => "Removing",
    };
    format!("{life}/{step}")
}

const LIVES: [&str; 6] = ["Exporting", "Loading", "Serving", "Failed", "Swapping", "Leaving"];
const STEPS: [&str; 6] = ["Idle", "Reopening", "Opening", "Saving", "Saving+disk", "Removing"];

type Event = (&'static str, fn(&mut State) -> bool);

/// Each is true when something happened, or is to be done.
const EVENTS: [Event; 14] = [
    ("reopen", |state| state.reopen()),
    ("begin", |state| state.begin(step("Opening"))),
    ("reopened", |state| state.reopened(Ok(disk()))),
    ("not reopened", |state| state.reopened(Err("gone".into()))),
    ("opened", |state| state.opened(Some(disk()), |definition| Box::new(Saved::new(definition)))),
    ("opened, same", |state| state.opened(None, |definition| Box::new(Saved::new(definition)))),
    ("not opened", |state| state.not_opened().is_some()),
    ("saved, quiet", |state| state.saved(true).is_some()),
    ("saved, busy", |state| state.saved(false).is_some()),
    ("not saved", |state| state.not_saved().is_some()),
    ("removed", |state| state.removed("v")),
    ("not removed", |state| state.not_removed().is_some()),
    ("device gone", |state| state.device_gone("gone".into())),
    ("drained", |state| !matches!(state.drained(), Drained::Nothing)),
];

/// All that happens: life/step, event, and the life/step after it. `*`: any, and unchanged.
const TRANSITIONS: &str = "
    Failed/Idle           reopen        Failed/Reopening
    Exporting/Idle        begin         Exporting/Opening
    Loading/Idle          begin         Loading/Opening
    Serving/Idle          begin         Serving/Opening
    Failed/Idle           begin         Failed/Opening
    Swapping/Idle         begin         Swapping/Opening
    */Reopening           reopened      Serving/Idle
    */Reopening           not reopened  Failed/Idle
    */Opening             opened        */Saving+disk
    */Opening             opened, same  */Saving
    */Opening             not opened    */Idle
    */Saving              saved, quiet  */Idle
    */Saving+disk         saved, quiet  Serving/Idle
    */Saving              saved, busy   */Idle
    */Saving+disk         saved, busy   Swapping/Idle
    */Saving              not saved     */Idle
    */Saving+disk         not saved     */Idle
    */Removing            removed       Leaving/Idle
    */Removing            not removed   */Idle
    Serving/*             device gone   Failed/*
    Swapping/*            drained       Serving/*
    Leaving/*             drained       Leaving/*";

/// What the table says of an event in a state; none: nothing happens.
fn expected(life: &str, step: &str, event: &str) -> Option<String> {
    TRANSITIONS.lines().filter(|line| !line.trim().is_empty()).find_map(|line| {
        let (from, rest) = line.trim().split_once(' ').unwrap();
        let (named, to) = rest.trim().rsplit_once("  ").unwrap();
        let (from_life, from_step) = from.split_once('/').unwrap();
        if named.trim() != event || !["*", life].contains(&from_life) || !["*", step].contains(&from_step) {
            return None;
        }
        let (to_life, to_step) = to.trim().split_once('/').unwrap();
        let same = |to: &str, from: &str| if to == "*" { from.to_owned() } else { to.to_owned() };
        Some(format!("{}/{}", same(to_life, life), same(to_step, step)))
    })
}

#[test]
fn every_event_does_in_every_state_what_the_table_says_and_nothing_else() {
    for life_name in LIVES {
        for step_name in STEPS {
            for (event, happen) in EVENTS {
                let mut state = State { life: life(life_name), step: step(step_name) };
                let before = name(&state);
                let happened = happen(&mut state);
                let expected = expected(life_name, step_name, event);
                assert_eq!(happened, expected.is_some(), "{event} in {before}");
                assert_eq!(name(&state), expected.unwrap_or(before.clone()), "{event} in {before}");
            }
        }
    }
}

#[test]
fn every_line_of_the_table_is_about_a_known_event() {
    for line in TRANSITIONS.lines().filter(|line| !line.trim().is_empty()) {
        assert!(EVENTS.iter().any(|(event, _)| line.contains(&format!(" {event} "))), "{line}");
    }
}

#[test]
fn a_volume_that_is_exported_for_the_first_time_has_no_disk_before_it_is_saved() {
    let mut state = State::exporting(Box::new(saved("/x").definition), reply());
    assert!(!state.is_exported() && !state.is_idle());
    assert!(state.opened(Some(disk()), |definition| Box::new(Saved::new(definition))));
    assert!(state.disk().is_none() && state.next_access().is_some());
    let committed = state.saved(true).unwrap();
    assert!(committed.fresh && committed.then.is_some());
    assert!(state.is_served() && state.is_idle() && state.disk().is_some());
}

#[test]
fn a_swap_keeps_the_old_disk_until_requests_have_ended() {
    let (old, new) = (disk(), disk());
    let next = Box::new(saved("/y"));
    let saving = Saving { next, disk: Some(new.clone()), then: Then::Reply(reply()) };
    let mut state = State { life: Life::Serving { disk: old.clone() }, step: Step::Saving(saving) };
    let committed = state.saved(false).unwrap();
    assert!(!committed.fresh && committed.then.is_none(), "the reply waits");
    assert!(state.is_served() && Arc::ptr_eq(state.disk().unwrap(), &old));
    assert!(matches!(state.drained(), Drained::Swapped(_)));
    assert!(Arc::ptr_eq(state.disk().unwrap(), &new));
}
