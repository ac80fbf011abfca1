//! The base tarball as piuparts can use it: without `/dev`, with a plain `/etc/resolv.conf`, with the file
//! `/var/lib/dpkg/available`. A tarball that is not so is written anew, member by member: nothing of it is unpacked here, so
//! that the names of its members can do no harm, and nothing is held in memory but the headers of one member.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use tar::{Archive, Builder, EntryType, Header, PaxExtensions};
use tokio_util::sync::CancellationToken;

use crate::run::TaskError;

/// What xz may use; its highest level takes 65 MiB.
const XZ_MEMORY: u64 = 256 * 1024 * 1024;
/// What the extension headers of one member may have: a long name, a long link, extended attributes.
const MAX_EXTENSIONS: u64 = 1024 * 1024;
/// What the tarball may decompress to; a full desktop has some 10 GiB.
const MAX_BYTES: u64 = 64 * 1024 * 1024 * 1024;

const AVAILABLE: &str = "var/lib/dpkg/available";
const RESOLVER: &str = "etc/resolv.conf";

/// The tarball to use: `tarball` itself, or the one that was written beside it in its place.
///
/// # Errors
/// If the tarball cannot be read or the new one not written, or if the run is cancelled.
pub(super) fn prepare(tarball: &Path, with_dev: bool, cancel: &CancellationToken) -> Result<PathBuf, TaskError> {
    let fault = |error: Fault| match error {
        Fault::Cancelled => TaskError::Cancelled,
        Fault::Io(source) => TaskError::Io { what: format!("cannot rewrite {}", tarball.display()), source },
    };
    if !with_dev && is_usable(tarball, cancel).map_err(fault)? {
        return Ok(tarball.to_owned());
    }
    let name = tarball.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.strip_suffix(".xz").unwrap_or(&name);
    let stem = stem.strip_suffix(".tar").unwrap_or(stem);
    let target = tarball.with_file_name(format!("{stem}.tar.gz"));
    rewrite(tarball, &target, with_dev, cancel).map_err(fault)?;
    fs::remove_file(tarball).map_err(TaskError::io(format!("cannot remove {}", tarball.display())))?;
    Ok(target)
}

enum Fault {
    Cancelled,
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

/// A member with all that was written before it for it.
struct Member<'a> {
    /// Its place, without `./` and a final slash.
    path: String,
    extensions: Vec<(Header, Vec<u8>)>,
    header: Header,
    content: &'a mut dyn Read,
}

/// Calls `visit` with each member, in order.
fn for_each(
    tarball: &Path,
    cancel: &CancellationToken,
    mut visit: impl FnMut(Member<'_>) -> io::Result<()>,
) -> Result<(), Fault> {
    let file = BufReader::with_capacity(128 * 1024, File::open(tarball)?);
    let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED).map_err(io::Error::from)?;
    let mut archive = Archive::new(XzDecoder::new_stream(file, stream).take(MAX_BYTES));
    let mut extensions: Vec<(Header, Vec<u8>)> = Vec::new();
    // Raw: headers are copied as they are, extended attributes and all.
    for entry in archive.entries()?.raw(true) {
        if cancel.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        let mut entry = entry?;
        let header = entry.header().clone();
        let kind = header.entry_type();
        if kind.is_gnu_sparse() {
            return Err(invalid("it has a sparse file").into());
        }
        if kind.is_pax_local_extensions() || kind.is_gnu_longname() || kind.is_gnu_longlink() {
            let used: usize = extensions.iter().map(|(_, content)| content.len()).sum();
            let left = MAX_EXTENSIONS.saturating_sub(used as u64);
            let mut content = Vec::new();
            entry.take(left + 1).read_to_end(&mut content)?;
            if content.len() as u64 > left || extensions.len() > 16 {
                return Err(invalid("the headers of one of its members are too large").into());
            }
            extensions.push((header, content));
            continue;
        }
        let path = path_of(&header, &extensions)?;
        visit(Member { path, extensions: std::mem::take(&mut extensions), header, content: &mut entry })?;
    }
    Ok(())
}

/// Where a member belongs.
fn path_of(header: &Header, extensions: &[(Header, Vec<u8>)]) -> io::Result<String> {
    let mut name = header.path_bytes().into_owned();
    for (header, content) in extensions {
        match header.entry_type() {
            EntryType::GNULongName => {
                name = content.strip_suffix(b"\0").unwrap_or(content).to_vec();
            }
            EntryType::XHeader => {
                for record in PaxExtensions::new(content) {
                    let record = record?;
                    match record.key_bytes() {
                        b"path" => name = record.value_bytes().to_vec(),
                        // Only files of 8 GiB and more have it, and the reader does not heed it here.
                        b"size" => return Err(invalid("it has a file of 8 GiB or more")),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let name = String::from_utf8_lossy(&name).into_owned();
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(invalid(format!("its member {name:?} is outside of it")));
    }
    Ok(parts.join("/"))
}

/// Whether piuparts can use the tarball as it is; whether it should have `/dev` is another question.
fn is_usable(tarball: &Path, cancel: &CancellationToken) -> Result<bool, Fault> {
    let (mut has_available, mut has_link) = (false, false);
    for_each(tarball, cancel, |member| {
        has_available |= member.path == AVAILABLE;
        has_link |= is_linked_resolver(&member);
        Ok(())
    })?;
    Ok(has_available && !has_link)
}

fn is_linked_resolver(member: &Member<'_>) -> bool {
    member.path == RESOLVER && member.header.entry_type().is_symlink()
}

fn rewrite(tarball: &Path, target: &Path, with_dev: bool, cancel: &CancellationToken) -> Result<(), Fault> {
    let file = BufWriter::with_capacity(128 * 1024, File::create_new(target)?);
    let mut written = Builder::new(GzEncoder::new(file, Compression::fast()));
    let mut directories = BTreeSet::new();
    let mut has_available = false;
    for_each(tarball, cancel, |member| {
        if with_dev && (member.path == "dev" || member.path.starts_with("dev/")) {
            return Ok(());
        }
        if is_linked_resolver(&member) {
            return add(&mut written, RESOLVER, EntryType::Regular);
        }
        has_available |= member.path == AVAILABLE;
        if AVAILABLE.starts_with(&format!("{}/", member.path)) {
            directories.insert(member.path);
        }
        for (header, content) in &member.extensions {
            written.append(header, content.as_slice())?;
        }
        written.append(&member.header, member.content)
    })?;
    if !has_available {
        for (end, _) in AVAILABLE.match_indices('/').filter(|(end, _)| !directories.contains(&AVAILABLE[..*end])) {
            add(&mut written, &AVAILABLE[..end], EntryType::Directory)?;
        }
        add(&mut written, AVAILABLE, EntryType::Regular)?;
    }
    written.into_inner()?.finish()?.flush()?;
    Ok(())
}

/// Adds an empty file or directory of root's.
fn add(tar: &mut Builder<impl Write>, path: &str, kind: EntryType) -> io::Result<()> {
    let mut header = Header::new_gnu();
    let is_directory = kind.is_dir();
    // Not by set_path, which drops the `./` that all other members have.
    let name = format!("./{path}{}", if is_directory { "/" } else { "" });
    let field = header.as_old_mut().name.get_mut(..name.len());
    field.ok_or_else(|| invalid(format!("{name} is too long for tar")))?.copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(if is_directory { 0o755 } else { 0o644 });
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    tar.append(&header, io::empty())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Runs a script in a directory; gives what it prints.
    fn shell(directory: &Path, script: &str) -> String {
        let output = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A tarball of what a script makes in `root/`, packed as mmdebstrap does it.
    fn tarball(directory: &Path, script: &str) -> PathBuf {
        shell(directory, &format!("mkdir root; cd root; {script}"));
        shell(directory, "tar --format=pax --sort=name --numeric-owner -C root -cJf system.tar.xz . && rm -r root");
        directory.join("system.tar.xz")
    }

    fn listing(tarball: &Path) -> Vec<String> {
        let name = tarball.display();
        shell(Path::new("/"), &format!("tar -tf {name}")).lines().map(str::to_owned).collect()
    }

    const FULL: &str = "mkdir -p dev/pts etc var/lib/dpkg; touch dev/null devices etc/hostname var/lib/dpkg/available;                         echo nameserver > etc/resolv.conf";

    #[test]
    fn what_fits_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = tarball(directory.path(), FULL);
        assert_eq!(prepare(&path, false, &CancellationToken::new()).unwrap(), path);
        assert!(path.is_file());
    }

    #[test]
    fn devices_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = tarball(directory.path(), FULL);
        let made = prepare(&path, true, &CancellationToken::new()).unwrap();
        assert_eq!(made, directory.path().join("system.tar.gz"));
        assert!(!path.exists(), "the old one would only be copied around");
        let expected = [
            "./",
            "./devices",
            "./etc/",
            "./etc/hostname",
            "./etc/resolv.conf",
            "./var/",
            "./var/lib/",
            "./var/lib/dpkg/",
            "./var/lib/dpkg/available",
        ];
        assert_eq!(listing(&made), expected);
        assert_eq!(shell(directory.path(), "tar -xOzf system.tar.gz ./etc/resolv.conf"), "nameserver\n");
    }

    #[test]
    fn what_is_missing_is_added_and_a_link_becomes_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = tarball(directory.path(), "mkdir -p dev etc var; ln -s ../run/resolv.conf etc/resolv.conf");
        let made = prepare(&path, false, &CancellationToken::new()).unwrap();
        let lines = shell(directory.path(), "tar -tvzf system.tar.gz --numeric-owner | cut -c1-10,60-");
        assert!(made.ends_with("system.tar.gz"));
        assert!(lines.contains("drwxr-xr-x") && !lines.contains("lrwx"), "{lines}");
        let names = ["./", "./dev/", "./etc/", "./etc/resolv.conf", "./var/"];
        let added = ["./var/lib/", "./var/lib/dpkg/", "./var/lib/dpkg/available"];
        assert_eq!(listing(&made), [&names[..], &added].concat());
        shell(directory.path(), "mkdir out; tar -C out -xzf system.tar.gz");
        shell(
            directory.path(),
            "cd out; test ! -L etc/resolv.conf; test -f etc/resolv.conf; test ! -s etc/resolv.conf",
        );
        assert_eq!(
            shell(directory.path(), "cd out; stat -c %a etc/resolv.conf var/lib var/lib/dpkg var/lib/dpkg/available"),
            "644\n755\n755\n644\n"
        );
    }

    #[test]
    fn contents_links_and_long_names_survive() {
        let directory = tempfile::tempdir().unwrap();
        let long = "l".repeat(180);
        let script = format!(
            "mkdir -p dev usr/{long}; seq 100000 > usr/{long}/{long}; ln usr/{long}/{long} hard; ln -s usr/{long}/{long} soft;              chmod 4750 hard; touch -d @1700000000.25 usr"
        );
        let path = tarball(directory.path(), &script);
        let sums = "sha256sum hard soft usr/*/*; stat -c '%n %a %s %h %y' hard usr/*/* usr; readlink soft";
        shell(directory.path(), "mkdir before after; tar -C before -xJpf system.tar.xz");
        let before = shell(&directory.path().join("before"), sums);
        prepare(&path, true, &CancellationToken::new()).unwrap();
        shell(directory.path(), "tar -C after -xzpf system.tar.gz");
        assert_eq!(shell(&directory.path().join("after"), sums), before);
    }

    #[test]
    fn names_that_lead_out_and_broken_tarballs_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system.tar.xz");
        shell(directory.path(), "mkdir a; touch x; tar -C a -cJPf system.tar.xz ../x");
        let refused = |with_dev| prepare(&path, with_dev, &CancellationToken::new()).unwrap_err().to_string();
        assert!(refused(true).contains(r#""../x" is outside"#), "{}", refused(false));
        assert!(refused(false).contains(r#""../x" is outside"#));
        shell(directory.path(), "rm system.tar.gz; head -c 100 system.tar.xz > short; mv short system.tar.xz");
        assert!(refused(true).contains("cannot rewrite"));
        fs::write(&path, "no tarball").unwrap();
        assert!(refused(false).contains("cannot rewrite"));
    }

    #[test]
    fn it_can_be_cancelled() {
        let directory = tempfile::tempdir().unwrap();
        let path = tarball(directory.path(), FULL);
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert!(matches!(prepare(&path, true, &cancel), Err(TaskError::Cancelled)));
    }
}
