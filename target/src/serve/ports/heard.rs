//! When each host was last heard.
//!
//! A node that Kubernetes calls not ready may still run and use its disks. So before its volumes are taken from it by a program, the
//! targets are asked when a frame of it last came. Every error is on the side of "heard": a time that is too short delays a takeover,
//! one that is too long would take a volume from a host that works.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::wire::Mac;

/// A host that is heard again within this time costs a comparison per frame, and no change of the table.
const GRAIN: Duration = Duration::from_millis(250);
/// Hosts for which [`GRAIN`] saves the look-up in the table.
const RECENT: usize = 64;
/// Hosts that are remembered. A host can forge any number of addresses.
const MOST: usize = 4096;

pub struct Heard {
    hosts: HashMap<Mac, Instant>,
    /// The last note of a host, at the place that its address gives.
    recent: [(Mac, Instant); RECENT],
    /// Since when every frame that came was noted.
    since: Instant,
}

/// What a target can say about the hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silences {
    /// For how long it has listened on its interfaces without a break: a host that it does not name was silent for at least this long.
    pub listening: Duration,
    /// How long ago a frame of each host came, at least.
    pub hosts: Vec<(Mac, Duration)>,
}

impl Heard {
    pub fn new(now: Instant) -> Heard {
        Heard { hosts: HashMap::new(), recent: [(Mac::default(), now); RECENT], since: now }
    }

    /// A frame of a host came.
    pub fn note(&mut self, host: Mac, now: Instant) {
        let recent = &mut self.recent[usize::from(host.0[4] ^ host.0[5]) % RECENT];
        if recent.0 == host && now.saturating_duration_since(recent.1) < GRAIN {
            return;
        }
        if !host.is_unicast() {
            return;
        }
        *recent = (host, now);
        if self.hosts.len() >= MOST && !self.hosts.contains_key(&host) {
            // Which of them exist is not known. Nobody was silent for longer than from now on.
            self.restart(now);
            self.hosts.clear();
        }
        self.hosts.insert(host, now);
    }

    /// Frames may have been missed: an interface was opened, closed or changed.
    pub fn restart(&mut self, now: Instant) {
        self.since = now;
    }

    pub fn silences(&self, now: Instant) -> Silences {
        let listening = now.saturating_duration_since(self.since);
        // The note may be older than the last frame by the grain.
        let silence = |at: Instant| now.saturating_duration_since(at).saturating_sub(GRAIN).min(listening);
        Silences { listening, hosts: self.hosts.iter().map(|(host, at)| (*host, silence(*at))).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    /// At the same place as A.
    const B: Mac = Mac([2, 0, 0, 0, 1, 0]);

    fn of(heard: &Heard, host: Mac, now: Instant) -> Option<Duration> {
        heard.silences(now).hosts.into_iter().find(|(each, _)| *each == host).map(|(_, silence)| silence)
    }

    #[test]
    fn silence_is_never_longer_than_the_time_since_the_last_frame() {
        let start = Instant::now();
        let mut heard = Heard::new(start);
        let mut last = [None, None];
        for step in 0..2_000u64 {
            let now = start + Duration::from_millis(step * 7);
            if step % 3 != 0 && step % 101 < 60 {
                let which = (step % 2) as usize;
                heard.note([A, B][which], now);
                last[which] = Some(now);
            }
            for (host, last) in [A, B].into_iter().zip(last) {
                let (Some(silence), Some(last)) = (of(&heard, host, now), last) else { continue };
                let truth = now - last;
                assert!(silence <= truth && truth - silence <= GRAIN, "{silence:?} is said, {truth:?} it is");
            }
        }
    }

    #[test]
    fn a_break_in_listening_is_no_silence() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut heard = Heard::new(start);
        heard.note(A, at(1));
        assert_eq!(of(&heard, A, at(61)), Some(Duration::from_secs(60) - GRAIN));
        assert_eq!(of(&heard, B, at(61)), None, "silent for as long as it has listened");
        heard.restart(at(61));
        assert_eq!(of(&heard, A, at(66)), Some(Duration::from_secs(5)));
        assert_eq!(heard.silences(at(66)).listening, Duration::from_secs(5));
    }

    #[test]
    fn a_host_that_forges_addresses_makes_nobody_silent() {
        let start = Instant::now();
        let mut heard = Heard::new(start);
        let late = start + Duration::from_secs(100);
        for forged in 0..3 * MOST as u32 {
            let [a, b, c, d] = forged.to_be_bytes();
            heard.note(Mac([6, 1, a, b, c, d]), late);
        }
        let now = late + Duration::from_secs(1);
        let silences = heard.silences(now);
        assert!(silences.hosts.len() <= MOST);
        assert!(silences.listening <= Duration::from_secs(1), "{:?}", silences.listening);
    }
}
