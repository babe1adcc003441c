//! The state directory: one JSON file per volume in `volumes/`, the interfaces in `interfaces.json`. A file is replaced
//! whole: after a crash at any point it is the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::definition::{Address, Definition, Invalid};
use crate::wire::Mac;

/// The state of a volume that is kept across restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    #[serde(flatten)]
    pub definition: Definition,
    #[serde(with = "text_or_hex", default)]
    pub config: Vec<u8>,
    #[serde(default)]
    pub mask: Vec<Mac>,
    #[serde(default)]
    pub reserve: Vec<Mac>,
}

impl Saved {
    pub fn new(definition: Definition) -> Saved {
        Saved { definition, config: Vec::new(), mask: Vec::new(), reserve: Vec::new() }
    }
}

#[derive(Serialize, Deserialize)]
struct Interfaces {
    interfaces: Vec<String>,
}

/// A state directory, locked against a second process.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    _lock: File,
}

/// Why a state file is passed over.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Definition(#[from] Invalid),
    /// The file has the name of another volume.
    #[error("the file holds volume {0}")]
    OtherVolume(String),
}

/// The saved state at start. `problems`: each file that was passed over, and why.
#[derive(Default)]
pub struct Loaded {
    pub volumes: Vec<Saved>,
    pub interfaces: Vec<String>,
    pub problems: Vec<(PathBuf, Unusable)>,
}

/// How long an earlier process may take to end.
const PREDECESSOR: Duration = Duration::from_secs(3);

impl Store {
    /// Makes the directory if it does not exist. Waits a little for an earlier process that is just ending.
    pub fn open(directory: &Path) -> io::Result<Store> {
        fs::create_dir_all(directory.join("volumes"))?;
        Ok(Store { directory: directory.to_owned(), _lock: lock(directory, "aoe-target")? })
    }

    pub fn load(&self) -> io::Result<Loaded> {
        let mut loaded = Loaded::default();
        for entry in fs::read_dir(self.directory.join("volumes"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                let _ = fs::remove_file(&path); // a replacement that a crash cut short
                continue;
            }
            match read_volume(&path) {
                Ok(saved) => loaded.volumes.push(saved),
                Err(problem) => loaded.problems.push((path, problem)),
            }
        }
        loaded.volumes.sort_by(|a, b| a.definition.uid.cmp(&b.definition.uid));
        let path = self.directory.join("interfaces.json");
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice::<Interfaces>(&bytes) {
                Ok(found) => loaded.interfaces = found.interfaces,
                Err(error) => loaded.problems.push((path, error.into())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => loaded.problems.push((path, error.into())),
        }
        Ok(loaded)
    }

    /// Saves a volume. It is on disk when this returns.
    pub fn save(&self, saved: &Saved) -> io::Result<()> {
        let folder = self.directory.join("volumes");
        replace(&folder, &format!("{}.json", saved.definition.uid), &serde_json::to_vec_pretty(saved)?)
    }

    pub fn save_interfaces(&self, names: &[String]) -> io::Result<()> {
        replace(&self.directory, "interfaces.json", &serde_json::to_vec_pretty(&Interfaces { interfaces: names.to_vec() })?)
    }

    pub fn remove(&self, uid: &str) -> io::Result<()> {
        let folder = self.directory.join("volumes");
        match fs::remove_file(folder.join(format!("{uid}.json"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::open(folder)?.sync_all(),
        }
    }
}

fn read_volume(path: &Path) -> Result<Saved, Unusable> {
    let saved: Saved = serde_json::from_slice(&fs::read(path)?)?;
    saved.definition.check()?;
    let address = saved.definition.address;
    Address::checked(address.shelf.into(), address.slot.into())?;
    if path.file_name().and_then(|name| name.to_str()) != Some(&format!("{}.json", saved.definition.uid)) {
        return Err(Unusable::OtherVolume(saved.definition.uid));
    }
    Ok(saved)
}

/// Locks a state directory against a second process of this program, for as long as the file is open.
pub fn lock(directory: &Path, program: &str) -> io::Result<File> {
    let lock = File::create(directory.join("lock"))?;
    let limit = Instant::now() + PREDECESSOR;
    // SAFETY: the descriptor is open.
    while unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EWOULDBLOCK) {
            return Err(error);
        }
        if Instant::now() > limit {
            return Err(io::Error::new(error.kind(), format!("another {program} uses this state directory")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(lock)
}

/// Replaces a file whole. It is on disk when this returns.
pub fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!(".{name}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// Config strings are written as text for people to read, or as `hex:` when they are not printable.
mod text_or_hex {
    use serde::{Deserialize, Deserializer, Serializer};

    const HEX: &str = "hex:";

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with(HEX) && !text.chars().any(char::is_control) => serializer.serialize_str(text),
            _ => serializer.serialize_str(&bytes.iter().fold(HEX.to_owned(), |text, byte| text + &format!("{byte:02x}"))),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Some(hex) = text.strip_prefix(HEX) else { return Ok(text.into_bytes()) };
        let bad = || serde::de::Error::custom("bad hex in a config string");
        let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).map_err(|_| bad()));
        digits.map(|pair| u8::from_str_radix(pair?, 16).map_err(|_| bad())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Access;
    use proptest::prelude::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("aoe-store-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn saved(uid: &str) -> Saved {
        let access = Access { macs: vec![Mac([2, 0, 0, 0, 0, 1])], writes_need_lock: true, ..Access::default() };
        let address = Address { shelf: 7, slot: 3 };
        Saved::new(Definition {
            uid: uid.into(),
            address,
            path: "/dev/x".into(),
            serial: "S".into(),
            read_only: false,
            access,
            sectors: 0,
            for_copies: false,
            limits: None,
            reclaim: false,
        })
    }

    #[test]
    fn what_was_saved_is_loaded_again() {
        let folder = Folder::new("again");
        let store = Store::open(&folder.0).unwrap();
        let volume = Saved { config: b"holder".to_vec(), mask: vec![Mac([2, 0, 0, 0, 0, 1])], ..saved("a") };
        store.save(&volume).unwrap();
        store.save(&saved("b")).unwrap();
        store.save_interfaces(&["eth0".into()]).unwrap();
        store.remove("b").unwrap();
        store.remove("b").unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.volumes, [volume]);
        assert_eq!(loaded.interfaces, ["eth0"]);
        assert!(loaded.problems.is_empty());
    }

    #[test]
    fn torn_and_unknown_files_are_reported_and_passed_over() {
        let folder = Folder::new("torn");
        let store = Store::open(&folder.0).unwrap();
        store.save(&saved("good")).unwrap();
        let volumes = folder.0.join("volumes");
        let whole = fs::read(volumes.join("good.json")).unwrap();
        fs::write(volumes.join("torn.json"), &whole[..whole.len() / 2]).unwrap();
        fs::write(volumes.join("other.json"), &whole).unwrap();
        fs::write(volumes.join("empty.json"), b"").unwrap();
        fs::write(volumes.join(".good.json.tmp"), b"{").unwrap();
        fs::write(folder.0.join("interfaces.json"), b"[").unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.volumes, [saved("good")]);
        assert_eq!(loaded.problems.len(), 4);
        assert!(!volumes.join(".good.json.tmp").exists());
    }

    proptest! {
        #[test]
        fn config_strings_of_any_bytes_survive(config in prop::collection::vec(any::<u8>(), 0..64)) {
            let volume = Saved { config, ..saved("a") };
            let text = serde_json::to_vec(&volume).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Saved>(&text).unwrap(), volume);
        }
    }
}
