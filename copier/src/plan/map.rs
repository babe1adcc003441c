use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::job::Range;

/// Where a source may hold data. Elsewhere it promises to read as zeros.
pub enum Map {
    /// Everywhere.
    Whole,
    /// In these ranges, which ascend.
    Ranges(Vec<Range>),
    /// Where a sparse file says so. The file stays open with the map.
    File(File),
}

impl Map {
    /// Start and end of the first data at or after a place; none when nothing follows. What lies before the place may be in it.
    pub fn data_after(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        match self {
            Map::Whole => Ok(Some((offset, u64::MAX))),
            Map::Ranges(ranges) => {
                let next = ranges.partition_point(|range| range.end() <= offset);
                Ok(ranges.get(next).map(|range| (range.offset, range.end())))
            }
            Map::File(file) => data_after(file, offset),
        }
    }
}

/// Start and end of the first data of a sparse file at or after a place; none when nothing follows.
pub fn data_after(file: &File, offset: u64) -> io::Result<Option<(u64, u64)>> {
    let Some(start) = seek(file, offset, libc::SEEK_DATA)? else { return Ok(None) };
    // None: the file was cut short in between. What is missing is found out when it is read.
    let end = seek(file, start, libc::SEEK_HOLE)?.unwrap_or(u64::MAX);
    Ok(Some((start, end)))
}

/// None at the end of the file.
fn seek(file: &File, offset: u64, whence: i32) -> io::Result<Option<u64>> {
    // SAFETY: no memory is passed.
    let found = unsafe { libc::lseek(file.as_raw_fd(), offset as libc::off_t, whence) };
    match u64::try_from(found) {
        Ok(found) => Ok(Some(found)),
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_sparse_file_says_where_it_holds_data() {
        let path = std::env::temp_dir().join(format!("aoe-copier-map-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();
        file.write_all_at(&[1; 4096], 5 << 20).unwrap();
        let map = Map::File(file);
        let (start, end) = map.data_after(0).unwrap().unwrap();
        assert!(start <= 1 << 20 && end >= (1 << 20) + 4096);
        let (start, end) = map.data_after(end).unwrap().unwrap();
        assert!(start <= 5 << 20 && end >= (5 << 20) + 4096);
        assert!(map.data_after(end).unwrap().is_none_or(|(start, _)| start > 5 << 20));
        assert_eq!(map.data_after(8 << 20).unwrap(), None);
    }

    #[test]
    fn ranges_are_found_by_place() {
        let map = Map::Ranges(vec![Range { offset: 0, bytes: 10 }, Range { offset: 20, bytes: 10 }]);
        let at = |offset| map.data_after(offset).unwrap();
        assert_eq!((at(0), at(9), at(10), at(29), at(30)), (Some((0, 10)), Some((0, 10)), Some((20, 30)), Some((20, 30)), None));
    }
}
