//! The privileges that the process keeps when it serves: an attacker who takes it over with a frame gets only these.

use std::io;

/// Capabilities by their numbers (linux/capability.h).
pub mod capability {
    /// Opening files of other users: disks, and the state directory.
    pub const DAC_OVERRIDE: u32 = 1;
    /// Sizes of socket buffers beyond the system's limit (SO_RCVBUFFORCE, SO_SNDBUFFORCE).
    pub const NET_ADMIN: u32 = 12;
    /// Packet sockets: one is opened whenever an interface appears.
    pub const NET_RAW: u32 = 13;
}

/// All that serving needs.
pub const NEEDED: [u32; 3] = [capability::DAC_OVERRIDE, capability::NET_ADMIN, capability::NET_RAW];

// linux/capability.h
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    /// 0: the calling thread.
    pid: libc::c_int,
}

/// 32 of the capabilities.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops all capabilities but these, and the ways to get others: set-user-ID programs, file capabilities. Applies to the calling
/// thread and to threads that it starts.
pub fn keep_only(kept: &[u32]) -> io::Result<()> {
    // SAFETY: prctl with numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The bounding set, up to the last capability that the kernel knows. Without CAP_SETPCAP it stays, which does no harm: no
    // program can use it after PR_SET_NO_NEW_PRIVS.
    for number in 0..64 {
        // SAFETY: as above.
        let more = kept.contains(&number) || unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) } == 0;
        if !more {
            break;
        }
    }
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: the structures are those of this version.
    unsafe {
        if libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let mask = kept.iter().fold(0u64, |mask, number| mask | 1 << number);
        for (sets, mask) in sets.iter_mut().zip([mask as u32, (mask >> 32) as u32]) {
            let permitted = sets.permitted & mask;
            *sets = Sets { effective: permitted, permitted, inheritable: 0 };
        }
        // What is not inheritable is not ambient either.
        match libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
