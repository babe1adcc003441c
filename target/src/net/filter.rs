//! The kernel's filters for received frames: AoE requests to this host, or answers to it.

use std::io;
use std::os::fd::RawFd;

use crate::wire::ETHERTYPE;
use crate::wire::header::{RESPONSE, USER_TAG, field};

// linux/bpf_common.h
const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const IF_BITS: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
/// SKF_AD_OFF + SKF_AD_PKTTYPE: who a frame is for.
const PACKET_TYPE: u32 = 0xffff_f004;
/// PACKET_MULTICAST, after PACKET_HOST and PACKET_BROADCAST. Above are frames of other hosts, and those that this one sends.
const LAST_TO_US: u32 = 2;

const fn step(code: u16, value: u32, on_true: u8, on_false: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: on_true, jf: on_false, k: value }
}

/// A program for the kernel. Its last two steps take a frame, and drop it.
pub type Filter = [libc::sock_filter; 8];

/// What a target takes: requests.
pub const REQUESTS: Filter = [
    step(LOAD_HALF, field::ETHERTYPE as u32, 0, 0),
    step(IF_EQUAL, ETHERTYPE as u32, 0, 5),
    step(LOAD_BYTE, field::VERSION_FLAGS as u32, 0, 0),
    step(IF_BITS, RESPONSE as u32, 3, 0),
    step(LOAD_WORD, PACKET_TYPE, 0, 0),
    step(IF_GREATER, LAST_TO_US, 1, 0),
    step(RETURN, u32::MAX, 0, 0),
    step(RETURN, 0, 0, 0),
];

/// What an initiator in user space takes: answers to frames whose tag has [`USER_TAG`]. Others are for the kernel's driver.
pub const ANSWERS: Filter = [
    step(LOAD_HALF, field::ETHERTYPE as u32, 0, 0),
    step(IF_EQUAL, ETHERTYPE as u32, 0, 5),
    step(LOAD_BYTE, field::VERSION_FLAGS as u32, 0, 0),
    step(IF_BITS, RESPONSE as u32, 0, 3),
    step(LOAD_WORD, field::TAG as u32, 0, 0),
    step(IF_BITS, USER_TAG, 0, 1),
    step(RETURN, u32::MAX, 0, 0),
    step(RETURN, 0, 0, 0),
];

pub fn attach(fd: RawFd, filter: &Filter) -> io::Result<()> {
    let mut steps = *filter;
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    super::packet::set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}
