//! What a frame means, as JSON with bytes in hex: the TypeScript codec gives the same (test/conformance/decode.ts).

use aoe_target::wire::header::{self, command};
use aoe_target::wire::{Ata, AtaView, Config, ConfigView, Header, HeaderView, Mask, MaskView, Reserve, ReserveView, ata};
use serde_json::{Value, json};

/// Decodes a frame, and encodes it again. Null: no AoE frame. Argument null: it is cut short, or the command has none.
pub fn decode(frame: &[u8]) -> Value {
    let Ok(view) = HeaderView::new_checked(frame) else { return Value::Null };
    let header = Header::parse(&view);
    let mut emitted = vec![0; header::LENGTH];
    header.emit(&mut emitted);
    let argument = match argument(header.command, view.argument()) {
        Some((argument, bytes)) => {
            emitted.extend(bytes);
            argument
        }
        None => Value::Null,
    };
    json!({
        "header": {
            "destination": header.destination.to_string(),
            "source": header.source.to_string(),
            "version": header.version,
            "flags": header.flags,
            "error": header.error,
            "shelf": header.shelf,
            "slot": header.slot,
            "command": header.command,
            "tag": header.tag,
        },
        "argument": argument,
        "emitted": hex(&emitted),
    })
}

fn argument(command: u8, bytes: &[u8]) -> Option<(Value, Vec<u8>)> {
    match command {
        command::ATA => {
            let view = AtaView::new_checked(bytes).ok()?;
            let ata = Ata::parse(&view);
            let mut emitted = vec![0; ata::LENGTH];
            ata.emit(&mut emitted);
            emitted.extend(view.data());
            let [a, b, c, d, e, f] = ata.lba;
            let lba = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
            let reserved = u16::from_be_bytes(ata.reserved);
            let Ata { flags, feature, count, command, .. } = ata;
            let data = hex(view.data());
            let value = json!({
                "flags": flags, "feature": feature, "count": count, "command": command, "lba": lba, "reserved": reserved, "data": data,
            });
            Some((value, emitted))
        }
        command::CONFIG => {
            let view = ConfigView::new_checked(bytes).ok()?;
            let config = Config::parse(&view).ok()?;
            let mut emitted = vec![0; config.emitted()];
            config.emit(&mut emitted);
            let replacement = view.replacement().ok().map(hex);
            let Config { buffers, firmware, sectors, version, command, string } = config;
            let value = json!({
                "buffers": buffers, "firmware": firmware, "sectors": sectors, "version": version, "command": command,
                "string": hex(&string), "replacement": replacement,
            });
            Some((value, emitted))
        }
        command::MASK => {
            let mask = Mask::parse(&MaskView::new_checked(bytes).ok()?);
            let mut emitted = vec![0; mask.emitted()];
            mask.emit(&mut emitted);
            let entries = mask.directives.iter();
            let directives: Vec<Value> = entries
                .map(|entry| json!({ "reserved": entry.reserved, "command": entry.command, "mac": entry.mac.to_string() }))
                .collect();
            let value = json!({ "reserved": mask.reserved, "command": mask.command, "error": mask.error, "directives": directives });
            Some((value, emitted))
        }
        command::RESERVE => {
            let reserve = Reserve::parse(&ReserveView::new_checked(bytes).ok()?);
            let mut emitted = vec![0; reserve.emitted()];
            reserve.emit(&mut emitted);
            let macs: Vec<String> = reserve.macs.iter().map(ToString::to_string).collect();
            Some((json!({ "command": reserve.command, "macs": macs }), emitted))
        }
        _ => None,
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hex digits; spaces do not count.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
