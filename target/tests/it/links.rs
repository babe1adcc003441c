use aoe_target::wire::config::command::READ;

use crate::lab::{HOST, Lab, TARGET, ip, volume};
use crate::proto;
use crate::proto::watch_response::Event;

const A: &str = "02:00:00:00:00:0a";

#[test]
fn interfaces_that_come_go_and_change_are_followed() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.export(volume("v", &disk, &[A])).unwrap();
    let mut watcher = target.rpc();
    let mut events = watcher.runtime.block_on(watcher.client.watch(proto::WatchRequest {})).unwrap().into_inner();
    let mut until = |wanted: &dyn Fn(&proto::Interface) -> bool| {
        watcher.runtime.block_on(async {
            loop {
                let next = tokio::time::timeout(crate::lab::LIMIT, events.message()).await.expect("an event in time");
                if let Some(Event::Interface(interface)) = next.unwrap().unwrap().event
                    && wanted(&interface)
                {
                    return;
                }
            }
        });
    };
    let interfaces = rpc.interfaces(&[TARGET, "later0"]).unwrap();
    assert_eq!(interfaces.iter().map(|interface| interface.serving).collect::<Vec<_>>(), [false, true]);
    let mut host = lab.host().named(A);
    assert_eq!(host.config(READ, "").config().sectors, 16);

    ip(&["link", "set", TARGET, "mtu", "1500"]);
    until(&|interface| interface.name == TARGET && interface.mtu == 1500 && interface.serving);
    assert_eq!(host.config(READ, "").config().sectors, 2);

    ip(&["link", "set", TARGET, "down"]);
    until(&|interface| interface.name == TARGET && !interface.serving);
    ip(&["link", "set", TARGET, "up"]);
    until(&|interface| interface.name == TARGET && interface.serving);
    assert!(host.read(0, 1).good());

    ip(&["link", "add", "far0", "mtu", "9000", "type", "veth", "peer", "name", "later0", "mtu", "9000"]);
    ip(&["link", "set", "far0", "up"]);
    ip(&["link", "set", "later0", "up"]);
    until(&|interface| interface.name == "later0" && interface.serving);
    let mut far = crate::host::Host::open("far0").named(A);
    assert_eq!(far.config(READ, "").config().sectors, 16);

    ip(&["link", "del", HOST]);
    until(&|interface| interface.name == TARGET && !interface.serving && interface.mac.is_empty());
    assert!(far.read(0, 1).good());
    assert!(rpc.interfaces(&["later0"]).unwrap()[0].serving);
}
