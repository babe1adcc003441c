//! Interfaces as the kernel describes them, and their changes.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use crate::wire::Mac;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub mac: Mac,
    pub mtu: u32,
    pub up: bool,
}

/// Becomes readable when any interface changes; it does not say which.
pub struct Monitor(File);

impl Monitor {
    pub fn open() -> io::Result<Monitor> {
        // SAFETY: the descriptor is new and ours; the address is valid for its length.
        unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            let file = match libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) {
                -1 => return Err(io::Error::last_os_error()),
                fd => File::from_raw_fd(fd),
            };
            let mut address: libc::sockaddr_nl = std::mem::zeroed();
            address.nl_family = libc::AF_NETLINK as u16;
            address.nl_groups = libc::RTMGRP_LINK as u32;
            match libc::bind(file.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32) {
                0 => Ok(Monitor(file)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Discards the kernel's messages. It does not matter when some were lost: the interfaces are looked up anyway.
    pub fn drain(&self) {
        let mut message = [0u8; 4096];
        loop {
            // SAFETY: the buffer is valid for its length.
            let got = unsafe { libc::recv(self.fd(), message.as_mut_ptr().cast(), message.len(), libc::MSG_DONTWAIT) };
            let lost = got < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS);
            if got <= 0 && !lost {
                return;
            }
        }
    }
}

/// Finds an interface by name; none when it does not exist.
pub fn look_up(name: &str) -> io::Result<Option<Link>> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name that an interface can have"));
    }
    // SAFETY: the descriptor is new and ours; each request fills the union's field that is read after it.
    unsafe {
        let socket = match libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) {
            -1 => return Err(io::Error::last_os_error()),
            fd => File::from_raw_fd(fd),
        };
        let ask = |request: libc::c_ulong| -> io::Result<libc::ifreq> {
            let mut answer: libc::ifreq = std::mem::zeroed();
            for (to, from) in answer.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from as libc::c_char;
            }
            match libc::ioctl(socket.as_raw_fd(), request as _, &mut answer) {
                0 => Ok(answer),
                _ => Err(io::Error::last_os_error()),
            }
        };
        let all = || -> io::Result<Link> {
            let mac = ask(libc::SIOCGIFHWADDR)?.ifr_ifru.ifru_hwaddr;
            Ok(Link {
                index: ask(libc::SIOCGIFINDEX)?.ifr_ifru.ifru_ifindex as u32,
                mac: Mac(std::array::from_fn(|index| mac.sa_data[index] as u8)),
                mtu: ask(libc::SIOCGIFMTU)?.ifr_ifru.ifru_mtu as u32,
                up: i32::from(ask(libc::SIOCGIFFLAGS)?.ifr_ifru.ifru_flags) & libc::IFF_UP != 0,
            })
        };
        match all() {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_and_others_are_not() {
        let link = look_up("lo").unwrap().unwrap();
        assert!(link.index > 0 && link.mtu > 0);
        assert_eq!(look_up("no-such-one").unwrap(), None);
        assert!(look_up("").is_err());
        assert!(look_up("a-name-that-is-far-too-long").is_err());
    }
}
