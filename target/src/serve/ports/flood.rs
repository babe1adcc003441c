//! A host that sends more than it may does not shut others out.
//!
//! The receive ring has room for all frames that initiators may have outstanding by the advertised buffer counts (AoEr11,
//! section 3.2). When it fills all the same, the kernel drops what comes next, and so frames of hosts that keep to their count.
//! So when many frames wait, they are counted by sender. A host with more than it may have is served its allowance, and its
//! other frames are passed over for a moment: passing over a frame costs a small part of serving it, and the ring has room
//! again. The same happens after a pause of this process, when hosts have sent their requests several times: all that
//! they have outstanding is served, and most of the copies are not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::wire::Mac;

/// Time in which a host that floods is served only as many frames as it may have outstanding.
const MOMENT: Duration = Duration::from_millis(10);
/// Frames that a host may have waiting in addition to its requests for data: discovery, and changes of the lock.
const CONTROL: usize = 64;

/// Frames that each host may have outstanding.
#[derive(Debug, Default)]
pub struct Allowances {
    /// For a host that no volume names: the buffer counts of all volumes that are open to every host.
    pub anyone: usize,
    /// In addition, for each host that volumes name.
    pub named: HashMap<Mac, usize>,
}

impl Allowances {
    fn of(&self, host: Mac) -> usize {
        CONTROL + self.anyone + self.named.get(&host).unwrap_or(&0)
    }

    /// Hosts that may use no volume count as one, since one host can forge any number of addresses.
    fn is_stranger(&self, host: Mac) -> bool {
        self.anyone == 0 && !self.named.contains_key(&host)
    }
}

/// Hosts that flood.
#[derive(Debug, Default)]
pub struct Flood {
    allowances: Allowances,
    /// Frames of each that are still to be served in this moment. The key none stands for all strangers.
    left: HashMap<Option<Mac>, usize>,
    until: Option<Instant>,
}

impl Flood {
    /// Counts the frames that wait by their senders. Gives the hosts that flood and did not before; none stands for all strangers.
    pub fn count(&mut self, senders: impl Iterator<Item = Mac>, allowances: Allowances, now: Instant) -> Vec<Option<Mac>> {
        self.end(now);
        self.allowances = allowances;
        let mut waiting: HashMap<Option<Mac>, usize> = HashMap::new();
        for host in senders {
            *waiting.entry(self.group(host)).or_default() += 1;
        }
        let mut found = Vec::new();
        for (host, frames) in waiting {
            let allowance = host.map_or(CONTROL, |host| self.allowances.of(host));
            if frames > allowance && !self.left.contains_key(&host) {
                self.left.insert(host, allowance);
                self.until.get_or_insert(now + MOMENT);
                found.push(host);
            }
        }
        found
    }

    /// Takes a frame from the allowance of its sender, if that floods. False when nothing is left: the frame is to be passed over.
    pub fn take_allowance(&mut self, sender: Mac, now: Instant) -> bool {
        self.end(now);
        let host = self.group(sender);
        let Some(left) = self.left.get_mut(&host) else { return true };
        let served = *left > 0;
        *left = left.saturating_sub(1);
        served
    }

    /// Whether nobody floods.
    pub fn is_quiet(&self) -> bool {
        self.until.is_none()
    }

    fn group(&self, host: Mac) -> Option<Mac> {
        (!self.allowances.is_stranger(host)).then_some(host)
    }

    fn end(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            *self = Flood::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFERS: usize = 64;

    fn mac(number: u16) -> Mac {
        let [a, b] = number.to_be_bytes();
        Mac([2, 0, 0, 0, a, b])
    }

    fn frames(host: u16, count: usize) -> impl Iterator<Item = Mac> {
        std::iter::repeat_n(mac(host), count)
    }

    /// Hosts 1 and 2 have a volume each, host 2 another one.
    fn lists() -> Allowances {
        Allowances { anyone: 0, named: [(mac(1), BUFFERS), (mac(2), 2 * BUFFERS)].into() }
    }

    #[test]
    fn a_host_that_keeps_to_the_buffer_count_is_served() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let all = frames(1, BUFFERS + CONTROL).chain(frames(2, 2 * BUFFERS + CONTROL)).chain(frames(3, CONTROL));
        assert_eq!(flood.count(all, lists(), now), []);
        assert!(flood.is_quiet());
        assert!(flood.take_allowance(mac(1), now));
    }

    #[test]
    fn a_host_that_does_not_is_served_its_allowance_and_reported_once_a_moment() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let all = || frames(1, BUFFERS + CONTROL + 1).chain(frames(2, 1));
        assert_eq!(flood.count(all(), lists(), now), [Some(mac(1))]);
        let served = |flood: &mut Flood, now| (0..1000).filter(|_| flood.take_allowance(mac(1), now)).count();
        assert_eq!(served(&mut flood, now), BUFFERS + CONTROL);
        assert!(flood.take_allowance(mac(2), now));
        let later = now + MOMENT / 2;
        assert_eq!(flood.count(all(), lists(), later), []);
        assert_eq!(served(&mut flood, later), 0);
        assert_eq!(served(&mut flood, now + MOMENT), 1000);
        assert!(flood.is_quiet());
        assert_eq!(flood.count(all(), lists(), now + MOMENT), [Some(mac(1))]);
    }

    #[test]
    fn hosts_that_may_use_nothing_count_as_one() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let all = (100..=100 + CONTROL as u16).map(mac).chain(frames(1, 1));
        assert_eq!(flood.count(all, lists(), now), [None]);
        assert!((0..CONTROL as u16).all(|number| flood.take_allowance(mac(9000 + number), now)));
        assert!(!flood.take_allowance(mac(9999), now) && flood.take_allowance(mac(1), now));
    }

    #[test]
    fn volumes_that_are_open_to_all_count_for_all() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let open = || Allowances { anyone: BUFFERS, ..lists() };
        assert_eq!(flood.count(frames(7, BUFFERS + CONTROL), open(), now), []);
        assert_eq!(flood.count(frames(7, BUFFERS + CONTROL + 1).chain(frames(8, 1)), open(), now), [Some(mac(7))]);
        assert!(flood.take_allowance(mac(8), now));
    }
}
