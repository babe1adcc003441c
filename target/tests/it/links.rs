use aoe_target::net::link::look_up;
use aoe_target::net::packet::PacketSocket;
use aoe_target::net::socket::{Frame, Socket};
use aoe_target::wire::ata::command::WRITE_EXT;
use aoe_target::wire::config::command::READ;
use aoe_target::wire::header;

use crate::host::registers;
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

#[test]
fn an_interface_that_went_down_costs_no_frame_that_came_later() {
    let Some(lab) = Lab::new(9000) else { return };
    let link = look_up(TARGET).unwrap().unwrap();
    // So many frames that those with data are kept by the socket.
    let mut socket = PacketSocket::open(&link, 4096).unwrap();
    ip(&["link", "set", TARGET, "down"]);
    ip(&["link", "set", TARGET, "up"]);
    let mut host = lab.host();
    for round in 0..3u8 {
        let (_, sent) = host.frame(7, 3, header::command::ATA, &registers(WRITE_EXT, 0, 8, &[round; 4096]));
        host.raw(&sent);
        let limit = std::time::Instant::now() + crate::lab::LIMIT;
        let frame = loop {
            if let Some(frame) = socket.receive() {
                break frame;
            }
            assert!(std::time::Instant::now() < limit, "no frame {round}");
        };
        let Frame::Whole(frame) = frame else { panic!("frame {round} is lost") };
        // SAFETY: it stays until it is released.
        assert!(unsafe { &*frame } == sent, "frame {round} is another");
        socket.release();
    }
}
