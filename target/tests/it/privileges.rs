//! A target that serves may do little else, and serves with that.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use aoe_target::privileges::{NEEDED, capability, keep_only};

use crate::host::Host;
use crate::lab::{Lab, TARGET, Target, ip, volume};
use crate::order::Loop;
use crate::proto;

const A: &str = "02:00:00:00:00:0a";
/// Debian's nobody.
const NOBODY: u32 = 65534;

/// A field of each of the process's threads.
fn of_threads(target: &Target, field: &str) -> Vec<String> {
    let folder = format!("/proc/{}/task", target.child.id());
    // A thread that ends meanwhile has nothing any more that could be read.
    let threads = fs::read_dir(folder).unwrap().filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok());
    let value = |status: String| status.lines().find_map(|line| line.strip_prefix(&format!("{field}:"))).unwrap().trim().to_owned();
    let values: Vec<String> = threads.map(value).collect();
    assert!(!values.is_empty(), "it has no thread");
    values
}

fn mask(capabilities: &[u32]) -> String {
    format!("{:016x}", capabilities.iter().fold(0u64, |mask, number| mask | 1 << number))
}

fn has_only(target: &Target, capabilities: &[u32]) {
    let expected = [("CapEff", capabilities), ("CapPrm", capabilities), ("CapBnd", capabilities), ("CapInh", &[]), ("CapAmb", &[])];
    for (field, capabilities) in expected {
        let found = of_threads(target, field);
        assert!(found.iter().all(|found| *found == mask(capabilities)), "{field}: {found:?}");
    }
    assert!(of_threads(target, "NoNewPrivs").iter().all(|found| found == "1"));
}

#[test]
fn what_is_kept_is_enough_for_new_interfaces_and_new_volumes() {
    let Some(lab) = Lab::new(9000) else { return };
    let target = lab.managed();
    let mut rpc = target.rpc();
    has_only(&target, &NEEDED);
    rpc.interfaces(&[TARGET, "later0"]).unwrap();
    let disk = lab.disk("another's", 1 << 20);
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&disk, Some(NOBODY), Some(NOBODY)).unwrap();
    rpc.export(volume("v", &disk, &[A])).unwrap();
    assert!(lab.host().named(A).write(0, &[1; 512]).good());

    ip(&["link", "add", "far0", "mtu", "9000", "type", "veth", "peer", "name", "later0", "mtu", "9000"]);
    ip(&["link", "set", "far0", "up"]);
    // Before the target can use its end: what it announces at once is not missed.
    let mut far = Host::open("far0").named(A);
    ip(&["link", "set", "later0", "up"]);
    far.announced().expect("it serves the interface that appeared");
    assert_eq!(far.read(0, 1).data(), [1; 512]);

    if let Some(device) = Loop::new(&lab.disk("device", 1 << 20), &[]) {
        rpc.export(proto::Volume { slot: 4, ..volume("w", &device.0, &[A]) }).expect("a block device");
        // With more volumes the ring is made again, with larger buffers.
        for slot in 5..15 {
            rpc.export(proto::Volume { slot, ..volume(&format!("w{slot}"), &lab.disk(&format!("d{slot}"), 1 << 20), &[A]) }).unwrap();
        }
        let buffers = far.config(aoe_target::wire::config::command::READ, "").config().buffers;
        assert_eq!(buffers, 64);
        rpc.unexport("w").unwrap();
    }
    has_only(&target, &NEEDED);
    target.stop();
}

#[test]
fn a_target_that_may_open_packet_sockets_and_nothing_else_serves() {
    let Some(lab) = Lab::new(9000) else { return };
    let export = format!("7.3={}", lab.disk("disk", 1 << 20));
    let few = [capability::NET_RAW];
    let mut target = lab.start_with(&["--interface", TARGET, "--export", &export, "--state", &lab.state()], move || keep_only(&few));
    target.wait_for("volume served", "volume not served");
    assert!(lab.host().write(0, &[1; 512]).good());
    has_only(&target, &few);
    target.stop();
}
