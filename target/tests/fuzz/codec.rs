//! Any bytes as a frame, and what follows its header as any argument: what parses emits to the same bytes.

use aoe_target::wire::{Ata, AtaView, Config, ConfigView, Header, HeaderView, Mask, MaskView, Reserve, ReserveView, ata, config, header};

pub fn codec(bytes: &[u8]) {
    let argument = match HeaderView::new_checked(bytes) {
        Ok(view) => {
            let mut emitted = [0; header::LENGTH];
            Header::parse(&view).emit(&mut emitted);
            assert_eq!(emitted, bytes[..header::LENGTH]);
            view.argument()
        }
        Err(_) => bytes,
    };
    if let Ok(view) = AtaView::new_checked(argument) {
        let registers = Ata::parse(&view);
        let mut emitted = [0; ata::LENGTH];
        registers.emit(&mut emitted);
        assert_eq!([&emitted[..], view.data()].concat(), argument);
        assert!(registers.sector() < 1 << 48);
    }
    if let Ok(view) = ConfigView::new_checked(argument) {
        if let Ok(parsed) = Config::parse(&view) {
            assert!(parsed.string.len() <= config::MAX_STRING);
            same(argument, parsed.emitted(), |bytes| parsed.emit(bytes));
        }
        if let Ok(replacement) = view.replacement() {
            let old = view.string().expect("the old string is before the new one");
            assert!(old.len() + replacement.len() + 10 <= argument.len() && replacement.len() <= config::MAX_STRING);
        }
    }
    if let Ok(view) = MaskView::new_checked(argument) {
        let parsed = Mask::parse(&view);
        same(argument, parsed.emitted(), |bytes| parsed.emit(bytes));
    }
    if let Ok(view) = ReserveView::new_checked(argument) {
        let parsed = Reserve::parse(&view);
        same(argument, parsed.emitted(), |bytes| parsed.emit(bytes));
    }
}

fn same(bytes: &[u8], length: usize, emit: impl FnOnce(&mut [u8])) {
    let mut emitted = vec![0; length];
    emit(&mut emitted);
    assert_eq!(emitted, bytes[..length]);
}
