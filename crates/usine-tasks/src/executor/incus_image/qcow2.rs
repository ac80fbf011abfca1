//! Whether a disk image can be given to QEMU: its header may name other files, of which the machine that runs it would
//! show the content to the guest. Environments come from whoever may make artifacts, so such images are refused.
//!
//! The header: QEMU's `docs/interop/qcow2`; all its numbers are big-endian.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::run::TaskError;

const MAGIC: [u8; 4] = *b"QFI\xfb";
const VERSION: usize = 4;
const BACKING_FILE_OFFSET: usize = 8;
const INCOMPATIBLE_FEATURES: usize = 72;
const HEADER_LENGTH: usize = 100;

/// How long the header is at least, in bytes; version 2 ends before the features.
const LENGTH_2: usize = INCOMPATIBLE_FEATURES;
const LENGTH_3: usize = 104;

/// The incompatible feature "external data file".
const EXTERNAL_DATA: u64 = 1 << 2;

/// Refuses a disk image that is not qcow2, or that needs another file.
///
/// # Errors
/// If it is so, or if the image cannot be read.
pub(in crate::executor) fn check(image: &Path) -> Result<(), TaskError> {
    let fault = || TaskError::io(format!("cannot read {}", image.display()));
    let mut header = Vec::new();
    File::open(image).map_err(fault())?.take(LENGTH_3 as u64).read_to_end(&mut header).map_err(fault())?;
    judge(&header).map_err(|problem| TaskError::Other(format!("the disk image {} {problem}", image.display())))
}

fn judge(header: &[u8]) -> Result<(), String> {
    let short = || "ends within its qcow2 header".to_owned();
    if bytes(header, 0) != Some(MAGIC) {
        return Err("is not in the format qcow2".to_owned());
    }
    let version = bytes(header, VERSION).map(u32::from_be_bytes).ok_or_else(short)?;
    if ![2, 3].contains(&version) {
        return Err(format!("is qcow2 of version {version}; only 2 and 3 are accepted"));
    }
    if header.len() < if version == 2 { LENGTH_2 } else { LENGTH_3 } {
        return Err(short());
    }
    if bytes(header, BACKING_FILE_OFFSET).map(u64::from_be_bytes) != Some(0) {
        return Err("has a backing file, which may be any file of the worker: \
             make it whole with qemu-img convert"
            .to_owned());
    }
    if version == 2 {
        return Ok(());
    }
    let length = bytes(header, HEADER_LENGTH).map(u32::from_be_bytes).ok_or_else(short)?;
    if (length as usize) < LENGTH_3 {
        return Err(format!("says that its qcow2 header has {length} bytes; version 3 has at least {LENGTH_3}"));
    }
    let features = bytes(header, INCOMPATIBLE_FEATURES).map(u64::from_be_bytes).ok_or_else(short)?;
    if features & EXTERNAL_DATA != 0 {
        return Err("has an external data file, which may be any file of the worker: \
             make it whole with qemu-img convert"
            .to_owned());
    }
    Ok(())
}

fn bytes<const N: usize>(header: &[u8], offset: usize) -> Option<[u8; N]> {
    header.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
pub(in crate::executor) mod tests {
    use super::*;

    /// The header of an image of its own.
    pub fn header(version: u32) -> Vec<u8> {
        let mut header = vec![0; if version == 2 { LENGTH_2 } else { LENGTH_3 }];
        header[..4].copy_from_slice(&MAGIC);
        header[VERSION..VERSION + 4].copy_from_slice(&version.to_be_bytes());
        if version == 3 {
            header[HEADER_LENGTH..].copy_from_slice(&104_u32.to_be_bytes());
        }
        header
    }

    fn refusal(version: u32, offset: usize, value: &[u8]) -> String {
        let mut header = header(version);
        header[offset..offset + value.len()].copy_from_slice(value);
        judge(&header).unwrap_err()
    }

    #[test]
    fn whole_images_are_accepted() {
        for version in [2, 3] {
            let mut longer = header(version);
            assert_eq!(judge(&longer), Ok(()));
            longer.extend_from_slice(&[0xff; 200]);
            assert_eq!(judge(&longer), Ok(()));
        }
        // Dirty, corrupt, another compression, extended entries: nothing that leads to other files.
        let mut features = header(3);
        features[INCOMPATIBLE_FEATURES + 7] = 0b1_1011;
        assert_eq!(judge(&features), Ok(()));
    }

    #[test]
    fn images_that_need_other_files_are_refused() {
        for version in [2, 3] {
            for offset in [104_u64, 1 << 40] {
                let refused = refusal(version, BACKING_FILE_OFFSET, &offset.to_be_bytes());
                assert!(refused.starts_with("has a backing file"), "{refused}");
            }
        }
        let refused = refusal(3, INCOMPATIBLE_FEATURES, &0b101_u64.to_be_bytes());
        assert!(refused.starts_with("has an external data file"), "{refused}");
    }

    #[test]
    fn what_is_not_qcow2_is_refused() {
        assert_eq!(judge(b""), Err("is not in the format qcow2".into()));
        assert_eq!(judge(b"\xfd7zXZ\0"), Err("is not in the format qcow2".into()));
        assert_eq!(judge(&MAGIC), Err("ends within its qcow2 header".into()));
        assert_eq!(judge(&header(2)[..71]), Err("ends within its qcow2 header".into()));
        assert_eq!(judge(&header(3)[..103]), Err("ends within its qcow2 header".into()));
        assert_eq!(refusal(3, VERSION, &1_u32.to_be_bytes()), "is qcow2 of version 1; only 2 and 3 are accepted");
        let refused = refusal(3, HEADER_LENGTH, &72_u32.to_be_bytes());
        assert_eq!(refused, "says that its qcow2 header has 72 bytes; version 3 has at least 104");
    }

    #[test]
    fn a_refusal_names_the_image() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("image.qcow2");
        let missing = check(&path).unwrap_err().to_string();
        assert!(missing.starts_with(&format!("cannot read {}: ", path.display())), "{missing}");
        std::fs::write(&path, "raw").unwrap();
        let refused = check(&path).unwrap_err().to_string();
        assert_eq!(refused, format!("the disk image {} is not in the format qcow2", path.display()));
        std::fs::write(&path, header(3)).unwrap();
        assert!(check(&path).is_ok());
    }
}
