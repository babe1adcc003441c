use aoe_target::wire::SECTOR;
use aoe_target::wire::ata::command::*;
use aoe_target::wire::header::{self, ERROR, RESPONSE};
use aoe_target::wire::identify::Identity;

use crate::host::registers;
use crate::lab::Lab;

const MIB: u64 = 1 << 20;

#[test]
fn what_is_written_is_read_with_28_and_48_bit_commands() {
    for base in ["/tmp", "/dev/shm"] {
        let Some(lab) = Lab::on(base, 9000) else { return };
        let disk = lab.disk("disk", MIB);
        let _target = lab.serve(&["--export", &format!("7.3={disk}")]);
        let mut host = lab.host();
        let data: Vec<u8> = (0..16 * SECTOR).map(|index| (index / 7) as u8).collect();
        let answer = host.write(8, &data);
        assert!(answer.good(), "{answer:?}");
        assert_eq!(answer.length, 60, "padded");
        let answer = host.ata(READ, 8, 16, &[]);
        assert!(answer.good() && answer.data() == data);
        assert!(host.ata(WRITE, 9, 1, &[7; 512]).good());
        let answer = host.read(8, 3);
        assert_eq!(answer.data()[..512], data[..512]);
        assert_eq!(answer.data()[512..1024], [7; 512]);
        assert_eq!(answer.data()[1024..], data[1024..1536]);
        let file = std::fs::read(&disk).unwrap();
        assert_eq!(file[9 * 512..10 * 512], [7; 512], "{base}");
    }
}

#[test]
fn identify_tells_serial_number_and_size() {
    let Some(lab) = Lab::new(1500) else { return };
    let disk = lab.disk("disk", MIB);
    let _target = lab.serve(&["--export", &format!("7.3={disk},serial=0123456789ABCDEF0123")]);
    let answer = lab.host().ata(IDENTIFY, 0xa000_0000, 1, &[]);
    let identity = Identity::parse(answer.data().try_into().unwrap());
    assert_eq!((identity.serial.as_str(), identity.sectors), ("0123456789ABCDEF0123", 2048));
}

#[test]
fn flushes_and_power_checks_succeed_and_unknown_commands_are_aborted() {
    let Some(lab) = Lab::new(1500) else { return };
    let disk = lab.disk("disk", MIB);
    let _target = lab.serve(&["--export", &format!("7.3={disk}")]);
    let mut host = lab.host();
    for command in [FLUSH_CACHE, FLUSH_CACHE_EXT, CHECK_POWER_MODE] {
        assert!(host.ata(command, 0, 0, &[]).good(), "{command:#x}");
    }
    for command in [0xb0, 0x06, 0x00, 0xff, 0xa1, 0xc8] {
        let answer = host.ata(command, 0, 1, &[]);
        assert_eq!((answer.header.flags, answer.ata().command, answer.ata().feature), (RESPONSE, 0x41, 0x04), "{command:#x}");
    }
}

#[test]
fn requests_past_the_end_get_an_ata_error() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", MIB);
    let _target = lab.serve(&["--export", &format!("7.3={disk}")]);
    let mut host = lab.host();
    for (sector, count) in [(2048, 1), (2047, 2), ((1 << 48) - 1, 16), (2040, 16)] {
        let answer = host.read(sector, count);
        assert_eq!((answer.header.flags, answer.ata().command & 1, answer.ata().feature), (RESPONSE, 1, 0x10), "{sector}");
        assert_eq!(answer.length, 60);
        assert!(!host.write(sector, &vec![1; usize::from(count) * 512]).good());
    }
    assert_eq!(std::fs::metadata(&disk).unwrap().len(), MIB);
    assert!(host.read(2047, 1).good());
}

#[test]
fn counts_that_do_not_fit_are_bad_arguments() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", MIB);
    let _target = lab.serve(&["--export", &format!("7.3={disk}")]);
    let mut host = lab.host();
    let bad = [
        registers(READ_EXT, 0, 17, &[]),
        registers(READ_EXT, 0, 0, &[]),
        registers(WRITE_EXT, 0, 0, &[]),
        registers(WRITE_EXT, 0, 2, &[1; 1023]),
        registers(WRITE_EXT, 0, 255, &[1; 512]),
        registers(READ_EXT, 0, 1, &[])[..11].to_vec(),
        vec![],
    ];
    for argument in bad {
        let answer = host.ask(header::command::ATA, &argument);
        assert_eq!((answer.header.flags, answer.header.error), (RESPONSE | ERROR, 2), "{argument:?}");
    }
    assert!(host.ata(READ_EXT, 0, 1, &[0; 512]).good(), "a read with a payload");
    assert_eq!(std::fs::read(&disk).unwrap(), vec![0; MIB as usize]);
}

#[test]
fn a_read_only_volume_refuses_writes() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", MIB);
    let _target = lab.serve(&["--export", &format!("7.3={disk},ro")]);
    let mut host = lab.host();
    assert!(!host.write(0, &[1; 512]).good());
    assert!(host.read(0, 1).good());
}

#[test]
fn overlapping_writes_end_in_the_order_in_which_they_came() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", MIB);
    let _target = lab.serve(&["--export", &format!("7.3={disk}")]);
    let mut host = lab.host();
    for round in 0..20u8 {
        let mut tags = Vec::new();
        for step in 0..30u8 {
            // Sizes and places differ, all cover sector 20.
            let (start, count) = (20 - u64::from(step % 5), 5 + step % 9);
            let data = vec![round.wrapping_mul(30).wrapping_add(step); usize::from(count) * 512];
            tags.push(host.send(7, 3, header::command::ATA, &registers(WRITE_EXT, start, count, &data)));
        }
        let read = host.send(7, 3, header::command::ATA, &registers(READ_EXT, 20, 1, &[]));
        let answer = host.answer(read);
        assert_eq!(answer.data(), [round.wrapping_mul(30).wrapping_add(29); 512]);
    }
}

#[test]
fn a_thousand_requests_at_once_are_all_answered() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 8 * MIB);
    let _target = lab.serve(&["--export", &format!("7.3={disk}")]);
    let mut host = lab.host();
    for window in 0..20u64 {
        let first = window * 50 * 16;
        let tags: Vec<u32> = (0..50u64)
            .map(|index| {
                let data = vec![(window * 50 + index) as u8; 16 * 512];
                host.send(7, 3, header::command::ATA, &registers(WRITE_EXT, (first + index * 16) % 16384, 16, &data))
            })
            .collect();
        let mut answered: Vec<u32> = tags
            .iter()
            .map(|_| {
                // An announcement may still come.
                let mut answers = std::iter::repeat_with(|| host.receive(crate::lab::LIMIT).unwrap());
                let answer = answers.find(|answer| answer.header.tag != 0).unwrap();
                assert!(answer.good());
                answer.header.tag
            })
            .collect();
        answered.sort_unstable();
        assert_eq!(answered, tags);
    }
}
