//! A bad cable: a program that carries frames from one interface to another, and loses, repeats and delays some.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aoe_target::net::link::look_up;
use aoe_target::net::packet::{bind, packet_socket, set_option};
use aoe_target::wire::ETHERTYPE;

pub struct Cable {
    stop: Arc<AtomicBool>,
    carriers: Vec<JoinHandle<()>>,
}

impl Cable {
    /// So many frames of a thousand are lost; as many come twice, and as many come late, behind others. The same seed each time.
    pub fn between(one: &str, other: &str, per_mille: u32) -> Cable {
        let stop = Arc::new(AtomicBool::new(false));
        let carriers = [(one, other, 1), (other, one, 2)].map(|(from, to, seed)| {
            let open = |name: &str| {
                let socket = packet_socket().unwrap();
                bind(socket.as_raw_fd(), look_up(name).unwrap().unwrap().index, ETHERTYPE).unwrap();
                set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(16i32 << 20)).unwrap();
                set_option(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1i32).unwrap();
                socket
            };
            let (from, to, stop) = (open(from), open(to), stop.clone());
            std::thread::spawn(move || carry(from.as_raw_fd(), to.as_raw_fd(), seed, per_mille, &stop))
        });
        Cable { stop, carriers: carriers.into() }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for carrier in self.carriers.drain(..) {
            let _ = carrier.join();
        }
    }
}

fn carry(from: i32, to: i32, seed: u64, per_mille: u32, stop: &AtomicBool) {
    let mut random = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed);
    let mut draw = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 20) as u32 % 1000 < per_mille
    };
    let mut late: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = vec![0u8; 10_000];
    // SAFETY: the frame is valid for its length.
    let send = |frame: &[u8]| unsafe { libc::send(to, frame.as_ptr().cast(), frame.len(), 0) };
    while !stop.load(Ordering::Relaxed) {
        let mut fd = libc::pollfd { fd: from, events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor; the buffer is valid for its length.
        let length = unsafe {
            libc::poll(&mut fd, 1, 5);
            libc::recv(from, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
        };
        while late.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            send(&late.pop_front().unwrap().1);
        }
        let Ok(length) = usize::try_from(length) else { continue };
        let frame = &buffer[..length];
        if draw() {
            continue;
        }
        if draw() {
            late.push_back((Instant::now() + Duration::from_millis(30), frame.to_vec()));
            continue;
        }
        send(frame);
        if draw() {
            send(frame);
        }
    }
}
