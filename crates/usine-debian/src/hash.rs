//! Size and the three checksums that Debian's file lists use, in one pass over the bytes.

use std::io::{self, Read};
use std::path::Path;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::open;

/// What a `.dsc` or `.changes` says of a file; digests are lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// In bytes.
    pub size: u64,
    /// 32 digits.
    pub md5: String,
    /// 40 digits.
    pub sha1: String,
    /// 64 digits.
    pub sha256: String,
}

/// Reads a regular file (links are followed) to its end.
pub fn hash_file(path: &Path) -> io::Result<Hashes> {
    hash_reader(open::regular(path)?)
}

/// Reads `reader` to its end, in constant memory.
pub fn hash_reader(mut reader: impl Read) -> io::Result<Hashes> {
    let (mut md5, mut sha1, mut sha256) = (Md5::new(), Sha1::new(), Sha256::new());
    let mut size = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        size += count as u64;
        md5.update(&buffer[..count]);
        sha1.update(&buffer[..count]);
        sha256.update(&buffer[..count]);
    }
    Ok(Hashes {
        size,
        md5: hex::encode(md5.finalize()),
        sha1: hex::encode(sha1.finalize()),
        sha256: hex::encode(sha256.finalize()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classic_test_vectors() {
        let hashes = hash_reader(&b"abc"[..]).unwrap();
        assert_eq!(hashes.size, 3);
        assert_eq!(hashes.md5, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hashes.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hashes.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(hash_file(directory.path()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
