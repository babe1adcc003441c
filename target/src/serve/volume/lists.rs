//! What commands 1 to 3 do with a volume's config string, mask and reserve lists. Nothing here has effects.

use crate::store::Saved;
use crate::wire::config::{self, ConfigView};
use crate::wire::header::Failure;
use crate::wire::mask::{self, MaskView, directive};
use crate::wire::reserve::{self, ReserveView};
use crate::wire::{Mac, Mask, Reserve};

/// Most addresses in a list: the answer that carries them fits an MTU of 1500.
pub const MAX_MACS: usize = 128;

/// What a command comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Silence,
    /// Answer with the volume as it is.
    Answer,
    Refuse(Failure),
    /// The mask edit failed; the volume stays as it is.
    MaskError(u8),
    /// Save this, then answer with it.
    Change(Box<Saved>),
}

use Outcome::{Answer, Change, Refuse, Silence};

/// `allowed`: the sender is an initiator in force.
pub fn config(saved: &Saved, view: &ConfigView<'_>, allowed: bool) -> Outcome {
    let change = |string: &[u8]| {
        if string == saved.config { Answer } else { Change(Box::new(Saved { config: string.to_vec(), ..saved.clone() })) }
    };
    let command = view.command();
    if command == config::command::READ {
        return Answer; // some initiators send a length and no string
    }
    let Ok(string) = view.string() else { return Refuse(Failure::BadArgument) };
    match command {
        config::command::TEST_EXACT if string == saved.config => Answer,
        config::command::TEST_PREFIX if saved.config.starts_with(string) => Answer,
        config::command::TEST_EXACT | config::command::TEST_PREFIX => Silence,
        config::command::SET_IF_EMPTY..=config::command::TEST_AND_REPLACE if !allowed => Refuse(Failure::TargetReserved),
        config::command::SET_IF_EMPTY if saved.config.is_empty() => change(string),
        config::command::SET_IF_EMPTY => Refuse(Failure::ConfigStringPresent),
        config::command::FORCE => change(string),
        config::command::TEST_AND_REPLACE => match view.replacement() {
            Ok(_) if string != saved.config => Refuse(Failure::ConfigStringPresent),
            Ok(replacement) => change(replacement),
            Err(_) => Refuse(Failure::BadArgument),
        },
        _ => Refuse(Failure::BadArgument),
    }
}

pub fn mask(saved: &Saved, view: &MaskView<'_>, allowed: bool) -> Outcome {
    let request = Mask::parse(view);
    match request.command {
        mask::command::READ => return Answer,
        mask::command::EDIT if allowed => {}
        mask::command::EDIT => return Refuse(Failure::TargetReserved),
        _ => return Refuse(Failure::BadArgument),
    }
    let mut macs = saved.mask.clone();
    for entry in request.directives {
        match entry.command {
            directive::NONE => {}
            directive::ADD if macs.contains(&entry.mac) => {}
            directive::ADD if macs.len() >= MAX_MACS => return Outcome::MaskError(mask::error::FULL),
            directive::ADD => macs.push(entry.mac),
            directive::DELETE => macs.retain(|mac| *mac != entry.mac),
            _ => return Outcome::MaskError(mask::error::BAD_DIRECTIVE),
        }
    }
    if macs == saved.mask { Answer } else { Change(Box::new(Saved { mask: macs, ..saved.clone() })) }
}

pub fn reserve(saved: &Saved, view: &ReserveView<'_>, source: Mac, allowed: bool) -> Outcome {
    let request = Reserve::parse(view);
    match request.command {
        reserve::command::READ => return Answer,
        reserve::command::SET | reserve::command::FORCE if !allowed => return Refuse(Failure::TargetReserved),
        reserve::command::SET if saved.reserve.is_empty() || saved.reserve.contains(&source) => {}
        reserve::command::SET => return Refuse(Failure::TargetReserved),
        reserve::command::FORCE => {}
        _ => return Refuse(Failure::BadArgument),
    }
    if request.macs.len() > MAX_MACS {
        return Refuse(Failure::BadArgument);
    }
    if request.macs == saved.reserve { Answer } else { Change(Box::new(Saved { reserve: request.macs, ..saved.clone() })) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{Access, Address, Definition};
    use crate::wire::{Config, Directive};

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn saved(string: &str) -> Saved {
        let address = Address { shelf: 1, slot: 1 };
        let definition =
            Definition { uid: "a".into(), address, path: "/x".into(), serial: "S".into(), read_only: false, access: Access::default() };
        Saved { config: string.into(), ..Saved::new(definition) }
    }

    fn ask(present: &str, command: u8, string: &str, rest: &[u8], allowed: bool) -> Outcome {
        let config = Config { buffers: 0, firmware: 0, sectors: 0, version: 1, command, string: string.into() };
        let mut bytes = vec![0; config.emitted()];
        config.emit(&mut bytes);
        bytes.extend(rest);
        super::config(&saved(present), &ConfigView::new_checked(&bytes).unwrap(), allowed)
    }

    fn set(string: &str) -> Outcome {
        Change(Box::new(saved(string)))
    }

    #[test]
    fn config_commands_do_what_the_specification_says() {
        const PRESENT: Outcome = Refuse(Failure::ConfigStringPresent);
        const BAD: Outcome = Refuse(Failure::BadArgument);
        let cases: [(&str, u8, &str, &[u8], Outcome); 20] = [
            ("x", 0, "junk", b"", Answer),
            ("abc", 1, "abc", b"", Answer),
            ("abc", 1, "ab", b"", Silence),
            ("", 1, "", b"", Answer),
            ("abc", 2, "ab", b"", Answer),
            ("abc", 2, "", b"", Answer),
            ("abc", 2, "abcd", b"", Silence),
            ("", 3, "new", b"", set("new")),
            ("old", 3, "new", b"", PRESENT),
            ("old", 3, "old", b"", PRESENT),
            ("", 3, "", b"", Answer),
            ("old", 4, "new", b"", set("new")),
            ("old", 4, "", b"", set("")),
            ("old", 4, "old", b"", Answer),
            ("old", 5, "old", b"\0\x03new", set("new")),
            ("old", 5, "old", b"\0\0", set("")),
            ("old", 5, "other", b"\0\x03new", PRESENT),
            ("old", 5, "old", b"\0\x04new", BAD),
            ("old", 5, "old", b"", BAD),
            ("old", 6, "", b"", BAD),
        ];
        for (present, command, string, rest, expected) in cases {
            assert_eq!(ask(present, command, string, rest, true), expected, "{command} {string:?} on {present:?}");
        }
    }

    #[test]
    fn strangers_may_ask_but_not_change_the_config_string() {
        for command in 0..=2 {
            assert_eq!(ask("abc", command, "abc", b"", false), Answer);
        }
        for command in 3..=5 {
            assert_eq!(ask("", command, "", b"\0\x01x", false), Refuse(Failure::TargetReserved));
        }
    }

    fn edit(present: &[Mac], directives: &[(u8, Mac)], allowed: bool) -> Outcome {
        let directives = directives.iter().map(|(command, mac)| Directive { reserved: 0, command: *command, mac: *mac }).collect();
        let request = Mask { reserved: 0, command: mask::command::EDIT, error: 0, directives };
        let mut bytes = vec![0; request.emitted()];
        request.emit(&mut bytes);
        super::mask(&Saved { mask: present.to_vec(), ..saved("") }, &MaskView::new_checked(&bytes).unwrap(), allowed)
    }

    #[test]
    fn mask_edits_add_and_delete_and_are_done_whole_or_not_at_all() {
        let changed = |macs: &[Mac]| Change(Box::new(Saved { mask: macs.to_vec(), ..saved("") }));
        assert_eq!(edit(&[], &[(1, A), (1, B), (1, A)], true), changed(&[A, B]));
        assert_eq!(edit(&[A, B], &[(2, A), (0, A)], true), changed(&[B]));
        assert_eq!(edit(&[A], &[(1, A)], true), Answer);
        assert_eq!(edit(&[A], &[(1, B), (9, B)], true), Outcome::MaskError(mask::error::BAD_DIRECTIVE));
        assert_eq!(edit(&[A], &[(1, B)], false), Refuse(Failure::TargetReserved));
        let full: Vec<Mac> = (0..MAX_MACS).map(|index| Mac([2, 0, 0, 0, 1, index as u8])).collect();
        assert_eq!(edit(&full, &[(1, A)], true), Outcome::MaskError(mask::error::FULL));
    }

    fn claim(present: &[Mac], command: u8, macs: &[Mac], allowed: bool) -> Outcome {
        let request = Reserve { command, macs: macs.to_vec() };
        let mut bytes = vec![0; request.emitted()];
        request.emit(&mut bytes);
        super::reserve(&Saved { reserve: present.to_vec(), ..saved("") }, &ReserveView::new_checked(&bytes).unwrap(), A, allowed)
    }

    #[test]
    fn reserve_lists_are_set_by_members_and_forced_by_anyone_in_force() {
        let changed = |macs: &[Mac]| Change(Box::new(Saved { reserve: macs.to_vec(), ..saved("") }));
        assert_eq!(claim(&[], 1, &[A], true), changed(&[A]));
        assert_eq!(claim(&[A, B], 1, &[], true), changed(&[]));
        assert_eq!(claim(&[B], 1, &[A], true), Refuse(Failure::TargetReserved));
        assert_eq!(claim(&[B], 2, &[A], true), changed(&[A]));
        assert_eq!(claim(&[B], 2, &[A], false), Refuse(Failure::TargetReserved));
        assert_eq!(claim(&[B], 0, &[], false), Answer);
        assert_eq!(claim(&[], 7, &[], true), Refuse(Failure::BadArgument));
    }
}
