//! One line of JSON per event on standard error (plain text on a terminal): a constant message and keys.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Info,
    Warn,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// Lets a message be written once a second.
#[derive(Debug, Default)]
pub struct Limit(Option<Instant>);

impl Limit {
    /// Whether the message may be written now.
    pub fn take(&mut self, now: Instant) -> bool {
        let free = self.0.is_none_or(|next| now >= next);
        if free {
            self.0 = Some(now + Duration::from_secs(1));
        }
        free
    }
}

static SILENT: AtomicBool = AtomicBool::new(false);

/// Writes nothing from now on: for tests that start thousands of servers.
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Writes one event. Errors are ignored: there is nowhere to report them.
pub fn write(level: Level, message: &str, keys: &[(&str, String)]) {
    if SILENT.load(Ordering::Relaxed) {
        return;
    }
    let mut error = std::io::stderr().lock();
    let _ = error.write_all(line(level, message, keys, std::io::stderr().is_terminal()).as_bytes());
}

fn line(level: Level, message: &str, keys: &[(&str, String)], plain: bool) -> String {
    if plain {
        let keys: String = keys.iter().map(|(key, value)| format!(" {key}={value:?}")).collect();
        return format!("{}: {message}{keys}\n", level.name());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64);
    let mut event = Map::new();
    event.insert("level".into(), level.name().into());
    event.insert("time".into(), now.into());
    event.insert("msg".into(), message.into());
    event.extend(keys.iter().map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str()))));
    format!("{}\n", Value::Object(event))
}

/// `log!(Warn, "message", key = value, ...)`: values by `Display`.
#[macro_export]
macro_rules! log {
    ($level:ident, $message:literal $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::log::write($crate::log::Level::$level, $message, &[$((stringify!($key), $value.to_string())),*])
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let text = line(Level::Warn, "message", &[("uid", "a\nb".into())], false);
        assert_eq!(text.matches('\n').count(), 1);
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&event["level"], &event["msg"], &event["uid"]), (&"warn".into(), &"message".into(), &"a\nb".into()));
    }
}
