//! Who sends more than it may does not shut others out.
//!
//! The receive ring holds what all initiators may have outstanding by the buffer counts that they are told (AoEr11, section
//! 3.2). When it fills all the same, the kernel drops whatever comes next, and so frames of those who keep to their count.
//! So frames that wait are counted by sender once there are many. Who has more there than it may is served as many as it
//! may, and then not listened to for a moment: passing over a frame costs a small part of serving it, and the ring has room
//! again. The same happens after a pause of this process, when hosts have sent their requests several times: all that
//! they have outstanding is served, and most of the copies are not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::wire::Mac;

/// Time in which a host that floods is served only as many frames as it may have outstanding.
const MOMENT: Duration = Duration::from_millis(10);
/// Frames that a host may have waiting beside its requests for data: discovery, and changes of the lock.
const CONTROL: usize = 64;

/// Frames that each host may have outstanding.
#[derive(Debug, Default)]
pub struct Allowances {
    /// By the advertised buffer count, for a host that is named nowhere: those of volumes that are open to all.
    pub anyone: usize,
    /// On top of that, for hosts that are named.
    pub named: HashMap<Mac, usize>,
}

impl Allowances {
    fn of(&self, host: Mac) -> usize {
        CONTROL + self.anyone + self.named.get(&host).unwrap_or(&0)
    }

    /// Hosts that may use nothing count as one, since each may use as many addresses as it likes.
    fn is_stranger(&self, host: Mac) -> bool {
        self.anyone == 0 && !self.named.contains_key(&host)
    }
}

/// Hosts that flood.
#[derive(Debug, Default)]
pub struct Flood {
    allowances: Allowances,
    /// Frames of each that are still to be served in this moment; none stands for all strangers.
    left: HashMap<Option<Mac>, usize>,
    until: Option<Instant>,
}

impl Flood {
    /// Counts frames that wait by their senders. Gives the hosts that are newly found to flood; none stands for strangers.
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

    /// Whether a frame of this sender, which has come, is to be passed over.
    pub fn silences(&mut self, sender: Mac, now: Instant) -> bool {
        self.end(now);
        let host = self.group(sender);
        let Some(left) = self.left.get_mut(&host) else { return false };
        let served = *left > 0;
        *left = left.saturating_sub(1);
        !served
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
    fn who_keeps_to_the_buffer_count_is_listened_to() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let all = frames(1, BUFFERS + CONTROL).chain(frames(2, 2 * BUFFERS + CONTROL)).chain(frames(3, CONTROL));
        assert_eq!(flood.count(all, lists(), now), []);
        assert!(flood.is_quiet());
        assert!(!flood.silences(mac(1), now));
    }

    #[test]
    fn who_does_not_is_served_what_it_may_and_told_of_once_a_moment() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let all = || frames(1, BUFFERS + CONTROL + 1).chain(frames(2, 1));
        assert_eq!(flood.count(all(), lists(), now), [Some(mac(1))]);
        let served = |flood: &mut Flood, now| (0..1000).filter(|_| !flood.silences(mac(1), now)).count();
        assert_eq!(served(&mut flood, now), BUFFERS + CONTROL);
        assert!(!flood.silences(mac(2), now));
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
        assert!((0..CONTROL as u16).all(|number| !flood.silences(mac(9000 + number), now)));
        assert!(flood.silences(mac(9999), now) && !flood.silences(mac(1), now));
    }

    #[test]
    fn volumes_that_are_open_to_all_count_for_all() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let open = || Allowances { anyone: BUFFERS, ..lists() };
        assert_eq!(flood.count(frames(7, BUFFERS + CONTROL), open(), now), []);
        assert_eq!(flood.count(frames(7, BUFFERS + CONTROL + 1).chain(frames(8, 1)), open(), now), [Some(mac(7))]);
        assert!(!flood.silences(mac(8), now));
    }
}
