//! What commands 1 to 3 do with a volume's config string, mask and reserve lists. Nothing here has effects.

use crate::definition::{Access, Definition};
use crate::store::Saved;
use crate::wire::config::{self, ConfigView};
use crate::wire::header::{self, Failure};
use crate::wire::mask::{self, MaskView, directive};
use crate::wire::reserve::{self, ReserveView};
use crate::wire::{self, Directive, Header, Mac, Mask, Reserve};

/// Most addresses in a list: the answer that carries them fits an MTU of 1500.
pub const MAX_MACS: usize = 128;

/// A frame of commands 1 to 3.
#[derive(Debug, Clone)]
pub struct ListCommand {
    pub header: Header,
    pub list: List,
    /// CCmd, MCmd or RCmd, which the answer repeats; 0 when the frame is too short to have one.
    pub command: u8,
    argument: wire::Result<Argument>,
}

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Config,
    Mask,
    Reserve,
}

#[derive(Debug, Clone)]
enum Argument {
    /// Only some commands need the string, and one of them the replacement: an error of these is found when they are needed.
    Config {
        string: wire::Result<Vec<u8>>,
        replacement: wire::Result<Vec<u8>>,
    },
    Mask(Vec<Directive>),
    Reserve(Vec<Mac>),
}

impl ListCommand {
    /// None when the frame has another command. `argument` is what follows the header.
    pub fn parse(header: &Header, argument: &[u8]) -> Option<ListCommand> {
        let (list, command, argument) = match header.command {
            header::command::CONFIG => {
                let view = ConfigView::new_checked(argument);
                let strings = |view: ConfigView<'_>| Argument::Config {
                    string: view.string().map(<[u8]>::to_vec),
                    replacement: view.replacement().map(<[u8]>::to_vec),
                };
                (List::Config, view.map_or(0, |view| view.command()), view.map(strings))
            }
            header::command::MASK => {
                let directives = MaskView::new_checked(argument).map(|view| Argument::Mask(Mask::parse(&view).directives));
                (List::Mask, mask::command_of(argument), directives)
            }
            header::command::RESERVE => {
                let macs = ReserveView::new_checked(argument).map(|view| Argument::Reserve(Reserve::parse(&view).macs));
                (List::Reserve, reserve::command_of(argument), macs)
            }
            _ => return None,
        };
        Some(ListCommand { header: *header, list, command, argument })
    }

    /// Whether it only asks for the config string.
    pub fn only_reads(&self) -> bool {
        self.list == List::Config && self.command <= config::command::TEST_PREFIX
    }

    /// `admitted`: the sender is an admitted initiator.
    pub fn decide(&self, saved: &Saved, admitted: bool) -> Outcome {
        match &self.argument {
            Err(_) => Refuse(Failure::BadArgument),
            Ok(Argument::Config { string, replacement }) => config(saved, self.command, string, replacement, admitted),
            Ok(Argument::Mask(directives)) => mask(saved, self.command, directives, admitted),
            Ok(Argument::Reserve(macs)) => reserve(saved, self.command, macs, self.header.source, admitted),
        }
    }
}

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

fn config(saved: &Saved, command: u8, string: &wire::Result<Vec<u8>>, replacement: &wire::Result<Vec<u8>>, admitted: bool) -> Outcome {
    let change = |string: &[u8]| {
        if string == saved.config { Answer } else { Change(Box::new(Saved { config: string.to_vec(), ..saved.clone() })) }
    };
    if command == config::command::READ {
        return Answer; // some initiators send a length and no string
    }
    let Ok(string) = string else { return Refuse(Failure::BadArgument) };
    match command {
        config::command::TEST_EXACT if *string == saved.config => Answer,
        config::command::TEST_PREFIX if saved.config.starts_with(string) => Answer,
        config::command::TEST_EXACT | config::command::TEST_PREFIX => Silence,
        config::command::SET_IF_EMPTY..=config::command::TEST_AND_REPLACE if !admitted => Refuse(Failure::TargetReserved),
        config::command::SET_IF_EMPTY if saved.config.is_empty() => change(string),
        config::command::SET_IF_EMPTY => Refuse(Failure::ConfigStringPresent),
        config::command::FORCE => change(string),
        config::command::TEST_AND_REPLACE => match replacement {
            Ok(_) if *string != saved.config => Refuse(Failure::ConfigStringPresent),
            Ok(replacement) => change(replacement),
            Err(_) => Refuse(Failure::BadArgument),
        },
        _ => Refuse(Failure::BadArgument),
    }
}

fn mask(saved: &Saved, command: u8, directives: &[Directive], admitted: bool) -> Outcome {
    match command {
        mask::command::READ => return Answer,
        mask::command::EDIT if admitted => {}
        mask::command::EDIT => return Refuse(Failure::TargetReserved),
        _ => return Refuse(Failure::BadArgument),
    }
    let mut macs = saved.mask.clone();
    for entry in directives {
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

fn reserve(saved: &Saved, command: u8, macs: &[Mac], source: Mac, admitted: bool) -> Outcome {
    match command {
        reserve::command::READ => return Answer,
        reserve::command::SET | reserve::command::FORCE if !admitted => return Refuse(Failure::TargetReserved),
        reserve::command::SET if saved.reserve.is_empty() || saved.reserve.contains(&source) => {}
        reserve::command::SET => return Refuse(Failure::TargetReserved),
        reserve::command::FORCE => {}
        _ => return Refuse(Failure::BadArgument),
    }
    if macs.len() > MAX_MACS {
        return Refuse(Failure::BadArgument);
    }
    if macs == saved.reserve { Answer } else { Change(Box::new(Saved { reserve: macs.to_vec(), ..saved.clone() })) }
}

/// The volume with another access. Hosts that are not admitted then leave its lists, which would shut the new ones out.
pub fn with_access(saved: &Saved, access: Access) -> Saved {
    let keep = |macs: &[Mac]| macs.iter().copied().filter(|mac| access.allows(*mac)).collect();
    let (mask, reserve) = (keep(&saved.mask), keep(&saved.reserve));
    Saved { definition: Definition { access, ..saved.definition.clone() }, mask, reserve, ..saved.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Address;
    use crate::wire::Config;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn saved(string: &str) -> Saved {
        let address = Address { shelf: 1, slot: 1 };
        let definition = Definition {
            uid: "a".into(),
            address,
            path: "/x".into(),
            serial: "S".into(),
            read_only: false,
            access: Access::default(),
            sectors: 0,
            for_copies: false,
            limits: None,
            reclaim: false,
        };
        Saved { config: string.into(), ..Saved::new(definition) }
    }

    /// What an argument from A comes to.
    fn decide(present: &Saved, command: u8, argument: &[u8], admitted: bool) -> Outcome {
        let header = Header { source: A, command, ..Header::default() };
        ListCommand::parse(&header, argument).unwrap().decide(present, admitted)
    }

    fn ask(present: &str, command: u8, string: &str, rest: &[u8], admitted: bool) -> Outcome {
        let config = Config { buffers: 0, firmware: 0, sectors: 0, version: 1, command, string: string.into() };
        let mut bytes = vec![0; config.emitted()];
        config.emit(&mut bytes);
        bytes.extend(rest);
        decide(&saved(present), header::command::CONFIG, &bytes, admitted)
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

    fn edit(present: &[Mac], directives: &[(u8, Mac)], admitted: bool) -> Outcome {
        let directives = directives.iter().map(|(command, mac)| Directive { reserved: 0, command: *command, mac: *mac }).collect();
        let request = Mask { reserved: 0, command: mask::command::EDIT, error: 0, directives };
        let mut bytes = vec![0; request.emitted()];
        request.emit(&mut bytes);
        decide(&Saved { mask: present.to_vec(), ..saved("") }, header::command::MASK, &bytes, admitted)
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

    fn claim(present: &[Mac], command: u8, macs: &[Mac], admitted: bool) -> Outcome {
        let request = Reserve { command, macs: macs.to_vec() };
        let mut bytes = vec![0; request.emitted()];
        request.emit(&mut bytes);
        decide(&Saved { reserve: present.to_vec(), ..saved("") }, header::command::RESERVE, &bytes, admitted)
    }

    #[test]
    fn reserve_lists_are_set_by_members_and_forced_by_any_admitted_host() {
        let changed = |macs: &[Mac]| Change(Box::new(Saved { reserve: macs.to_vec(), ..saved("") }));
        assert_eq!(claim(&[], 1, &[A], true), changed(&[A]));
        assert_eq!(claim(&[A, B], 1, &[], true), changed(&[]));
        assert_eq!(claim(&[B], 1, &[A], true), Refuse(Failure::TargetReserved));
        assert_eq!(claim(&[B], 2, &[A], true), changed(&[A]));
        assert_eq!(claim(&[B], 2, &[A], false), Refuse(Failure::TargetReserved));
        assert_eq!(claim(&[B], 0, &[], false), Answer);
        assert_eq!(claim(&[], 7, &[], true), Refuse(Failure::BadArgument));
    }

    #[test]
    fn arguments_that_are_too_short_are_refused_and_repeat_the_command_that_they_have() {
        let parse = |command, argument: &[u8]| ListCommand::parse(&Header { command, ..Header::default() }, argument);
        let cases: [(u8, &[u8], List, u8); 5] = [
            (header::command::CONFIG, &[0, 0, 0, 0, 0, 0x13, 0], List::Config, 0),
            (header::command::MASK, &[0, 1], List::Mask, 1),
            (header::command::MASK, &[], List::Mask, 0),
            (header::command::RESERVE, &[2], List::Reserve, 2),
            (header::command::RESERVE, &[2, 1], List::Reserve, 2),
        ];
        for (command, argument, list, repeated) in cases {
            let parsed = parse(command, argument).unwrap();
            assert_eq!((parsed.list, parsed.command), (list, repeated), "{argument:?}");
            assert_eq!(parsed.decide(&saved(""), true), Refuse(Failure::BadArgument), "{argument:?}");
        }
        assert!(parse(header::command::ATA, &[0; 12]).is_none() && parse(4, &[0; 12]).is_none());
    }
}
