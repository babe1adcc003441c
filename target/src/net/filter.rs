//! The kernel's filter for received frames: AoE requests to this host, nothing else.

use std::io;
use std::os::fd::RawFd;

use crate::wire::ETHERTYPE;
use crate::wire::header::RESPONSE;

// linux/bpf_common.h
const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const IF_BITS: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
/// SKF_AD_OFF + SKF_AD_PKTTYPE: to whom a frame went.
const PACKET_TYPE: u32 = 0xffff_f004;
/// To us, to all, to many; above are others' frames and our own.
const LAST_OF_OURS: u32 = 2;

const fn step(code: u16, value: u32, on_true: u8, on_false: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: on_true, jf: on_false, k: value }
}

const PROGRAM: [libc::sock_filter; 8] = [
    step(LOAD_HALF, 12, 0, 0),
    step(IF_EQUAL, ETHERTYPE as u32, 0, 5),
    step(LOAD_BYTE, 14, 0, 0),
    step(IF_BITS, RESPONSE as u32, 3, 0),
    step(LOAD_WORD, PACKET_TYPE, 0, 0),
    step(IF_GREATER, LAST_OF_OURS, 1, 0),
    step(RETURN, u32::MAX, 0, 0),
    step(RETURN, 0, 0, 0),
];

pub fn attach(fd: RawFd) -> io::Result<()> {
    let mut steps = PROGRAM;
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    super::packet::set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}
