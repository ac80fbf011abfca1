//! The image that Incus makes instances from: one tar archive of a description, two templates, and the system of an
//! environment artifact. Made on first use, streamed from the worker's cache, and then kept by Incus.
//!
//! Its format: Incus's documentation, "Image format". What a container needs in addition — the generator, and systemd's
//! network for the interface of the profile — is put in here, because the environments are made for all executors.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::json;
use tar::{Archive, Builder, EntryType, Header};
use tokio_util::sync::CancellationToken;

use super::Image;
use super::incus::{Kind, PROFILE, alias};
use crate::run::{Shell, Step, TaskError};

pub(super) mod qcow2;

/// How often to look whether another run has imported the image.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// What the decoder may need: four times that of `xz -9`.
const XZ_MEMORY_BYTES: u64 = 256 << 20;

/// What an environment may decompress to: some MiB of xz can become as many TiB and fill the worker's disk. A full desktop
/// has some 10 GiB; a disk has room to work besides.
const MAX_CONTAINER_BYTES: u64 = 16 << 30;
const MAX_DISK_BYTES: u64 = 64 << 30;

/// Brings the image of an environment into Incus, unless it is there. `directory` holds the archive for a while.
pub(super) async fn import(kind: Kind, image: &Image, directory: &Path, shell: Shell<'_>) -> Result<(), TaskError> {
    let alias = alias(image);
    // One at a time. Nobody else locks the file itself: the cache locks its directory.
    let file = File::open(&image.path).map_err(TaskError::io(format!("cannot read {}", image.path.display())))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK | Errno::INTR) => shell.pause(LOCK_POLL).await?,
            Err(error) => {
                return Err(TaskError::io(format!("cannot lock {}", image.path.display()))(error.into()));
            }
        }
    }
    if is_known(&alias, shell).await? {
        return Ok(());
    }
    let archive = directory.join("incus.tar");
    let description = description(image, &file)?;
    let disk = match kind {
        Kind::Container => None,
        Kind::VirtualMachine => Some(disk(image, directory, shell).await?),
    };
    let (source, target) = (disk.clone().unwrap_or_else(|| image.path.clone()), archive.clone());
    blocking(&image.path, shell, move |cancel| match kind {
        Kind::Container => pack_container(&source, &target, &description, cancel),
        Kind::VirtualMachine => pack_machine(&source, &target, &description),
    })
    .await?;
    shell.own(&archive)?;
    let step = Step::new(["incus", "image", "import", &archive.display().to_string(), "--alias", &alias]);
    let imported = shell.output(step).await;
    for file in std::iter::once(&archive).chain(disk.as_ref().filter(|disk| disk.starts_with(directory))) {
        fs::remove_file(file).map_err(TaskError::io(format!("cannot remove {}", file.display())))?;
    }
    match imported {
        // Another worker of this machine, with a cache of its own, may have been faster.
        Err(TaskError::Other(_)) if is_known(&alias, shell).await? => Ok(()),
        other => other.map(drop),
    }
}

async fn is_known(alias: &str, shell: Shell<'_>) -> Result<bool, TaskError> {
    Ok(shell.attempt(Step::new(["incus", "image", "info", alias])).await?.status.success())
}

/// Runs what reads and writes a lot, and asks it to end early when the run is cancelled.
async fn blocking<T: Send + 'static>(
    path: &Path,
    shell: Shell<'_>,
    work: impl FnOnce(&CancellationToken) -> io::Result<T> + Send + 'static,
) -> Result<T, TaskError> {
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    // When nobody waits for it any more, too.
    let _guard = cancel.clone().drop_guard();
    let mut work = tokio::task::spawn_blocking(move || work(&token));
    let done = tokio::select! {
        done = &mut work => done,
        Err(cancelled) = shell.pause(Duration::MAX) => {
            cancel.cancel();
            // Its directory is removed next.
            drop(work.await);
            return Err(cancelled);
        }
    };
    let done = done.map_err(io::Error::other).flatten();
    done.map_err(TaskError::io(format!("cannot make an image for Incus from {}", path.display())))
}

/// The disk of a virtual machine as qcow2: the image itself, or a new file in `directory`.
async fn disk(image: &Image, directory: &Path, shell: Shell<'_>) -> Result<PathBuf, TaskError> {
    if image.path.extension().is_some_and(|suffix| suffix == "qcow2") {
        qcow2::check(&image.path)?;
        return Ok(image.path.clone());
    }
    let (raw, disk) = (directory.join("disk.raw"), directory.join("disk.qcow2"));
    let (source, target) = (image.path.clone(), raw.clone());
    blocking(&image.path, shell, move |cancel| unpack_disk(&source, &target, cancel)).await?;
    shell.own(&raw)?;
    // The format is said: a raw disk may begin like another format, which could name files of this machine.
    let (from, to) = (raw.display().to_string(), disk.display().to_string());
    shell.output(Step::new(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", &from, &to])).await?;
    fs::remove_file(&raw).map_err(TaskError::io(format!("cannot remove {from}")))?;
    Ok(disk)
}

/// What Debian calls an architecture, and what Incus does.
fn incus_architecture(debian: &str) -> Option<&'static str> {
    Some(match debian {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "armel" => "armv6l",
        "armhf" => "armv7l",
        "i386" => "i686",
        "loong64" => "loongarch64",
        "mips64el" => "mips64",
        "mipsel" => "mips",
        "powerpc" => "ppc",
        "ppc64" => "ppc64",
        "ppc64el" => "ppc64le",
        "riscv64" => "riscv64",
        "s390x" => "s390x",
        _ => return None,
    })
}

/// `metadata.yaml`; YAML has room for JSON.
fn description(image: &Image, file: &File) -> Result<String, TaskError> {
    let (vendor, codename, debian) = (image.text("vendor")?, image.text("codename")?, image.text("architecture")?);
    let architecture = incus_architecture(debian)
        .ok_or_else(|| TaskError::Other(format!("Incus has no name for the architecture {debian}")))?;
    let id = image.artifact.id;
    let made = file.metadata().and_then(|metadata| metadata.modified()).ok();
    let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let template =
        |file: &str| json!({"when": ["create", "copy"], "create_only": false, "template": file, "properties": {}});
    let description = json!({
        "architecture": architecture,
        "creation_date": made.as_secs(),
        "profiles": [PROFILE],
        "properties": {
            "description": format!("{vendor} {codename} {debian} (artifact {id})"),
            "os": vendor,
            "release": codename,
            "debusine_artifact_id": id.to_string(),
            "debian_architecture": debian,
        },
        "templates": {"/etc/hostname": template("hostname.tpl"), "/etc/hosts": template("hosts.tpl")},
    });
    Ok(format!("{description:#}\n"))
}

const HOSTNAME: &str = "{{ container.name }}\n";
const HOSTS: &str = "127.0.0.1 localhost\n127.0.1.1 {{ container.name }}\n\
     ::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n";

/// Without it systemd's services ask for a protection that a container cannot give, and systemd-networkd, seeing a
/// writable `/sys`, waits for a udev that does not run. A systemd.generator(7), so that it also serves systems whose
/// units come later.
const GENERATOR: &str = r#"#!/bin/sh
# Makes systemd's services fit for a container of Incus.
set -eu
grep -q --text container=lxc /proc/1/environ || exit 0
units=/run/systemd/system

mkdir -p "$units/service.d"
cat > "$units/service.d/zzz-lxc-service.conf" <<END
[Service]
ProcSubset=all
ProtectProc=default
ProtectControlGroups=no
ProtectKernelTunables=no
NoNewPrivileges=no
LoadCredential=
END

for service in systemd-networkd systemd-resolved; do
    mkdir -p "$units/$service.service.d"
    printf '[Service]\nBindReadOnlyPaths=/sys\n' > "$units/$service.service.d/zzz-lxc-ropath.conf"
done

for unit in dev-hugepages.mount systemd-binfmt.service systemd-firstboot.service systemd-journald-audit.socket \
    systemd-modules-load.service; do
    ln -sf /dev/null "$units/$unit"
done
"#;

/// Behind all that an environment may bring: the first that matches counts (systemd.network(5)).
const NETWORK_FILE: &str = "rootfs/etc/systemd/network/99-usine-eth0.network";
const NETWORK: &str = "[Match]\nName=eth0\n\n[Network]\nDHCP=yes\n";

type Target = Builder<BufWriter<File>>;

/// An archive that begins with what both kinds have.
fn begin(target: &Path, description: &str) -> io::Result<Target> {
    let mut archive = Builder::new(BufWriter::new(File::create_new(target)?));
    add(&mut archive, "metadata.yaml", description, 0o644)?;
    add(&mut archive, "templates/hostname.tpl", HOSTNAME, 0o644)?;
    add(&mut archive, "templates/hosts.tpl", HOSTS, 0o644)?;
    Ok(archive)
}

fn finish(archive: Target) -> io::Result<()> {
    archive.into_inner()?.into_inner().map(drop).map_err(io::IntoInnerError::into_error)
}

fn add(archive: &mut Target, name: &str, content: &str, mode: u32) -> io::Result<()> {
    archive.append_data(&mut header(EntryType::Regular, mode, content.len() as u64), name, content.as_bytes())
}

fn add_link(archive: &mut Target, name: &str, to: &str) -> io::Result<()> {
    archive.append_link(&mut header(EntryType::Symlink, 0o777, 0), name, to)
}

/// A header of root's.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// A virtual machine: its disk as it is.
fn pack_machine(disk: &Path, target: &Path, description: &str) -> io::Result<()> {
    let mut archive = begin(target, description)?;
    archive.append_file("rootfs.img", &mut File::open(disk)?)?;
    finish(archive)
}

/// A container: a system tarball below `rootfs/`, and what makes it boot as a container.
fn pack_container(tarball: &Path, target: &Path, description: &str, cancel: &CancellationToken) -> io::Result<()> {
    let mut archive = begin(target, description)?;
    let mut has_init = false;
    let mut system = Archive::new(decompress(tarball, MAX_CONTAINER_BYTES, cancel)?);
    for entry in system.entries()? {
        let mut entry = entry?;
        let name = below_root(&entry.path_bytes())?;
        has_init |= matches!(name.as_slice(), b"rootfs/sbin/init" | b"rootfs/usr/sbin/init");
        copy_member(&mut entry, &name, &mut archive)?;
    }
    if !has_init {
        return Err(io::Error::other("Image doesn't contain an init, not bootable in LXC"));
    }
    for (target, unit) in [("multi-user", "systemd-networkd"), ("network-online", "systemd-networkd-wait-online")] {
        let name = format!("rootfs/etc/systemd/system/{target}.target.wants/{unit}.service");
        add_link(&mut archive, &name, &format!("/lib/systemd/system/{unit}.service"))?;
    }
    add(&mut archive, NETWORK_FILE, NETWORK, 0o644)?;
    add(&mut archive, "rootfs/etc/systemd/system-generators/lxc", GENERATOR, 0o755)?;
    finish(archive)
}

fn decompress(path: &Path, limit: u64, cancel: &CancellationToken) -> io::Result<impl Read + use<>> {
    let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES, CONCATENATED).map_err(io::Error::from)?;
    let inner = XzDecoder::new_stream(BufReader::new(File::open(path)?), stream);
    Ok(Bounded { inner, limit, used: 0, cancel: cancel.clone() })
}

/// Fails where [`Read::take`] would seem to end — an archive cut off between two members looks whole — and when cancelled.
struct Bounded<R> {
    inner: R,
    limit: u64,
    used: u64,
    cancel: CancellationToken,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        check_cancelled(&self.cancel)?;
        let count = self.inner.read(buffer)?;
        self.used += count as u64;
        if self.used > self.limit { Err(too_large(self.limit)) } else { Ok(count) }
    }
}

/// Not [`io::ErrorKind::Interrupted`], after which readers try again.
fn check_cancelled(cancel: &CancellationToken) -> io::Result<()> {
    if cancel.is_cancelled() { Err(io::Error::other("the run was cancelled")) } else { Ok(()) }
}

fn too_large(limit: u64) -> io::Error {
    io::Error::other(format!("the environment decompresses to more than {limit} bytes"))
}

/// `./usr/bin` becomes `rootfs/usr/bin`.
fn below_root(name: &[u8]) -> io::Result<Vec<u8>> {
    let mut below = b"rootfs".to_vec();
    for part in name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if part == b".." {
            let name = String::from_utf8_lossy(name);
            return Err(io::Error::other(format!("the environment has a member {name:?} outside of itself")));
        }
        below.push(b'/');
        below.extend_from_slice(part);
    }
    Ok(below)
}

/// The pax extensions that are copied. Others would contradict what is written anew (name, size, owner), or make Incus's
/// tar see another archive than this one.
fn is_copied(key: &str) -> bool {
    ["SCHILY.xattr.", "LIBARCHIVE.xattr."].iter().any(|prefix| key.starts_with(prefix))
        || ["mtime", "atime"].contains(&key)
}

/// What may be in a system. Not: sparse files, whose content is a list of pieces, and headers that this reader did not
/// take for headers, such as those for all members that follow.
fn is_plain(kind: EntryType) -> bool {
    kind.is_file()
        || kind.is_contiguous()
        || kind.is_dir()
        || kind.is_symlink()
        || kind.is_hard_link()
        || kind.is_character_special()
        || kind.is_block_special()
        || kind.is_fifo()
}

/// The keys with which newer archives say that a member is a sparse file.
const SPARSE: &str = "GNU.sparse.";

fn sparse(name: &[u8]) -> io::Error {
    let name = String::from_utf8_lossy(name);
    io::Error::other(format!("the environment has a sparse member {name:?}: make it without tar --sparse"))
}

/// Copies a member of an archive under another name, extended attributes included. Targets of hard links are members, too.
fn copy_member<R: Read>(entry: &mut tar::Entry<R>, name: &[u8], archive: &mut Target) -> io::Result<()> {
    let (old, kind, size) = (entry.header().clone(), entry.header().entry_type(), entry.size());
    if kind.is_gnu_sparse() {
        return Err(sparse(name));
    }
    if !is_plain(kind) {
        let (name, kind) = (String::from_utf8_lossy(name), char::from(kind.as_byte()));
        return Err(io::Error::other(format!("the environment has a member {name:?} of the unknown type {kind:?}")));
    }
    let link = match (kind, entry.link_name_bytes()) {
        (EntryType::Link, Some(link)) => below_root(&link)?,
        (_, Some(link)) => link.into_owned(),
        (_, None) => Vec::new(),
    };
    let mut extensions: Vec<(String, Vec<u8>)> = Vec::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        let key = extension.key().map_err(io::Error::other)?;
        if key.starts_with(SPARSE) {
            return Err(sparse(name));
        }
        if is_copied(key) {
            extensions.push((key.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    let mut header = header(kind, old.mode()?, size);
    header.set_uid(old.uid()?);
    header.set_gid(old.gid()?);
    header.set_mtime(old.mtime()?);
    if let (Ok(Some(major)), Ok(Some(minor))) = (old.device_major(), old.device_minor()) {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    let fields = header.as_old_mut();
    for (field, text, key) in [(&mut fields.name, name, "path"), (&mut fields.linkname, &link, "linkpath")] {
        let fitting = text.len().min(field.len());
        field[..fitting].copy_from_slice(&text[..fitting]);
        if fitting < text.len() {
            extensions.push((key.to_owned(), text.to_vec()));
        }
    }
    header.set_cksum();
    if !extensions.is_empty() {
        archive.append_pax_extensions(extensions.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
    }
    archive.append(&header, entry)
}

/// The raw disk that is the one member of a tarball, with holes where it has nothing but zeros.
fn unpack_disk(tarball: &Path, target: &Path, cancel: &CancellationToken) -> io::Result<()> {
    let odd = || io::Error::other("the tarball of a raw disk must have exactly one member, a file");
    let mut archive = Archive::new(decompress(tarball, MAX_DISK_BYTES, cancel)?);
    let mut entries = archive.entries()?;
    let mut disk = entries.next().ok_or_else(odd)??;
    if !disk.header().entry_type().is_file() && !disk.header().entry_type().is_gnu_sparse() {
        return Err(odd());
    }
    for extension in disk.pax_extensions()?.into_iter().flatten() {
        if extension?.key_bytes().starts_with(SPARSE.as_bytes()) {
            return Err(io::Error::other("the raw disk is sparse in the pax format: make it with tar --format=gnu"));
        }
    }
    // The zeros of a sparse file are not in the tarball.
    if disk.size() > MAX_DISK_BYTES {
        return Err(too_large(MAX_DISK_BYTES));
    }
    let mut file = File::create_new(target)?;
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        check_cancelled(cancel)?;
        let mut piece = disk.by_ref().take(buffer.len() as u64);
        let mut count = 0;
        loop {
            match piece.read(&mut buffer[count..])? {
                0 => break,
                more => count += more,
            }
        }
        if count == 0 {
            break;
        }
        if buffer[..count].iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Current(count as i64))?;
        } else {
            file.write_all(&buffer[..count])?;
        }
        size += count as u64;
    }
    file.set_len(size)?;
    drop(disk);
    if entries.next().is_some() { Err(odd()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
