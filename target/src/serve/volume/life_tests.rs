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

fn saving(disk: Option<Arc<Disk>>) -> Step {
    Step::Saving(Saving { next: Box::new(saved("/x")), disk, then: Then::Reply(reply()) })
}

fn step(name: &str) -> Step {
    match name {
        "Idle" => Step::Idle,
        "Saving" => saving(None),
        "Saving+disk" => saving(Some(disk())),
        "Removing" => Step::Removing { reply: reply() },
        _ => panic!("{name}"),
    }
}

fn opening(name: &str) -> Opening {
    let definition = Box::new(saved("/x").definition);
    match name {
        "Nothing" => Opening::Nothing,
        "Own" => Opening::Own,
        "Export" => Opening::Export { definition, reply: reply() },
        "Opened" => Opening::Opened { definition, reply: reply(), disk: None },
        "Opened+disk" => Opening::Opened { definition, reply: reply(), disk: Some(disk()) },
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
        Step::Saving(Saving { disk: None, .. }) => "Saving",
        Step::Saving(_) => "Saving+disk",
        Step::Removing { .. } => "Removing",
    };
    let opening = match &state.opening {
        Opening::Nothing => "Nothing",
        Opening::Own => "Own",
        Opening::Export { .. } => "Export",
        Opening::Opened { disk: None, .. } => "Opened",
        Opening::Opened { .. } => "Opened+disk",
    };
    format!("{life}/{step}/{opening}")
}

const LIVES: [&str; 6] = ["Exporting", "Loading", "Serving", "Failed", "Swapping", "Leaving"];
const STEPS: [&str; 4] = ["Idle", "Saving", "Saving+disk", "Removing"];
const OPENINGS: [&str; 5] = ["Nothing", "Own", "Export", "Opened", "Opened+disk"];

type Event = (&'static str, fn(&mut State) -> bool);

/// Each is true when something happened, or is to be done.
const EVENTS: [Event; 17] = [
    ("reopen", |state| state.reopen()),
    ("open", |state| state.open(opening("Export"))),
    ("save", |state| state.begin(saving(None))),
    ("remove", |state| state.begin(step("Removing"))),
    ("reopened", |state| state.reopened(Ok(disk()))),
    ("not reopened", |state| state.reopened(Err("gone".into()))),
    ("opened", |state| state.opened(Some(disk()))),
    ("opened, same", |state| state.opened(None)),
    ("not opened", |state| state.not_opened().is_some()),
    ("save opened", |state| state.save_opened(|definition| Box::new(Saved::new(definition)))),
    ("saved, quiet", |state| state.saved(true).is_some()),
    ("saved, busy", |state| state.saved(false).is_some()),
    ("not saved", |state| state.not_saved().is_some()),
    ("removed", |state| state.removed("v")),
    ("not removed", |state| state.not_removed().is_some()),
    ("device gone", |state| state.device_gone("gone".into())),
    ("drained", |state| !matches!(state.drained(), Drained::Nothing)),
];

/// All that happens: life/step/opening, event, and the life/step/opening after it. `*`: any, and unchanged.
const TRANSITIONS: &str = "
    Failed/Idle/Nothing      reopen        Failed/Idle/Own
    Exporting/Idle/Nothing   open          Exporting/Idle/Export
    Loading/Idle/Nothing     open          Loading/Idle/Export
    Serving/Idle/Nothing     open          Serving/Idle/Export
    Failed/Idle/Nothing      open          Failed/Idle/Export
    Swapping/Idle/Nothing    open          Swapping/Idle/Export
    Loading/Idle/*           save          Loading/Saving/*
    Serving/Idle/*           save          Serving/Saving/*
    Failed/Idle/*            save          Failed/Saving/*
    Swapping/Idle/*          save          Swapping/Saving/*
    Exporting/Idle/Nothing   remove        Exporting/Removing/Nothing
    Loading/Idle/Nothing     remove        Loading/Removing/Nothing
    Serving/Idle/Nothing     remove        Serving/Removing/Nothing
    Failed/Idle/Nothing      remove        Failed/Removing/Nothing
    Swapping/Idle/Nothing    remove        Swapping/Removing/Nothing
    */*/Own                  reopened      Serving/*/Nothing
    */*/Own                  not reopened  Failed/*/Nothing
    */*/Export               opened        */*/Opened+disk
    */*/Export               opened, same  */*/Opened
    */*/Export               not opened    */*/Nothing
    */Idle/Opened            save opened   */Saving/Nothing
    */Idle/Opened+disk       save opened   */Saving+disk/Nothing
    */Saving/*               saved, quiet  */Idle/*
    */Saving+disk/*          saved, quiet  Serving/Idle/*
    */Saving/*               saved, busy   */Idle/*
    */Saving+disk/*          saved, busy   Swapping/Idle/*
    */Saving/*               not saved     */Idle/*
    */Saving+disk/*          not saved     */Idle/*
    */Removing/*             removed       Leaving/Idle/*
    */Removing/*             not removed   */Idle/*
    Serving/*/*              device gone   Failed/*/*
    Swapping/*/*             drained       Serving/*/*
    Leaving/*/*              drained       Leaving/*/*";

/// What the table says of an event in a state; none: nothing happens.
fn expected(state: [&str; 3], event: &str) -> Option<String> {
    TRANSITIONS.lines().filter(|line| !line.trim().is_empty()).find_map(|line| {
        let (from, rest) = line.trim().split_once(' ').unwrap();
        let (named, to) = rest.trim().rsplit_once("  ").unwrap();
        let is_from = from.split('/').zip(state).all(|(from, part)| ["*", part].contains(&from));
        if named.trim() != event || !is_from {
            return None;
        }
        let to = to.trim().split('/').zip(state).map(|(to, part)| if to == "*" { part } else { to });
        Some(to.collect::<Vec<_>>().join("/"))
    })
}

#[test]
fn every_event_does_in_every_state_what_the_table_says_and_nothing_else() {
    let steps = STEPS.iter().flat_map(|step| OPENINGS.map(|opening| (*step, opening)));
    for (life_name, (step_name, opening_name)) in LIVES.iter().flat_map(|life| steps.clone().map(|rest| (*life, rest))) {
        for (event, happen) in EVENTS {
            let mut state = State { life: life(life_name), step: step(step_name), opening: opening(opening_name) };
            let before = name(&state);
            let happened = happen(&mut state);
            let expected = expected([life_name, step_name, opening_name], event);
            assert_eq!(happened, expected.is_some(), "{event} in {before}");
            assert_eq!(name(&state), expected.unwrap_or(before.clone()), "{event} in {before}");
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
    assert!(state.opened(Some(disk())) && state.save_opened(|definition| Box::new(Saved::new(definition))));
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
    let mut state = State { life: Life::Serving { disk: old.clone() }, step: Step::Saving(saving), opening: Opening::Nothing };
    let committed = state.saved(false).unwrap();
    assert!(!committed.fresh && committed.then.is_none(), "the reply waits");
    assert!(state.is_served() && Arc::ptr_eq(state.disk().unwrap(), &old));
    assert!(matches!(state.drained(), Drained::Swapped(_)));
    assert!(Arc::ptr_eq(state.disk().unwrap(), &new));
}
