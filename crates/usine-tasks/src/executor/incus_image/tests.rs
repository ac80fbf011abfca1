use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::tests::image;
use super::*;

/// A member of an archive: type, mode, link target, content, extended attribute.
type Seen = (EntryType, u32, String, Vec<u8>, Option<Vec<u8>>);

fn members(archive: &Path) -> BTreeMap<String, Seen> {
    let mut archive = Archive::new(File::open(archive).unwrap());
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let attribute = entry.pax_extensions().unwrap().and_then(|mut all| {
            all.find_map(|one| {
                let one = one.unwrap();
                (one.key() == Ok("SCHILY.xattr.security.capability")).then(|| one.value_bytes().to_vec())
            })
        });
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let link = entry.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).unwrap());
        let header = entry.header();
        let seen = (header.entry_type(), header.mode().unwrap(), link.unwrap_or_default(), content, attribute);
        found.insert(name, seen);
    }
    found
}

fn compressed(path: &Path, fill: impl FnOnce(&mut Builder<liblzma::write::XzEncoder<File>>)) {
    let mut archive = Builder::new(liblzma::write::XzEncoder::new(File::create(path).unwrap(), 0));
    fill(&mut archive);
    archive.into_inner().unwrap().finish().unwrap();
}

fn member<W: Write>(archive: &mut Builder<W>, name: &str, kind: EntryType, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(3);
    header.set_gid(4);
    header.set_mtime(5);
    header.set_size(content.len() as u64);
    if link.is_empty() {
        archive.append_data(&mut header, name, content).unwrap();
    } else {
        archive.append_link(&mut header, name, link).unwrap();
    }
}

#[test]
fn a_system_tarball_becomes_a_container() {
    let root = tempfile::tempdir().unwrap();
    let (tarball, target) = (root.path().join("system.tar.xz"), root.path().join("incus.tar"));
    let long = format!("usr/share/{}", "long/".repeat(40));
    let deep = format!("./{long}file");
    compressed(&tarball, |archive| {
        member(archive, "./", EntryType::Directory, "", b"");
        archive.append_pax_extensions([("SCHILY.xattr.security.capability", &b"\x01\0cap"[..])]).unwrap();
        member(archive, "./usr/bin/ping", EntryType::Regular, "", b"ping");
        member(archive, "./usr/bin/also-ping", EntryType::Link, "./usr/bin/ping", b"");
        member(archive, "./usr/sbin/init", EntryType::Symlink, "../lib/systemd/systemd", b"");
        member(archive, &deep, EntryType::Regular, "", b"deep");
        member(archive, "./usr/bin/deep", EntryType::Link, &deep, b"");
    });
    pack_container(&tarball, &target, "architecture: x86_64\n", &CancellationToken::new()).unwrap();
    let members = members(&target);
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    let long = format!("rootfs/{long}file");
    assert_eq!(
        names,
        [
            "metadata.yaml",
            "rootfs",
            "rootfs/etc/systemd/network/99-usine-eth0.network",
            "rootfs/etc/systemd/system-generators/lxc",
            "rootfs/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
            "rootfs/etc/systemd/system/network-online.target.wants/systemd-networkd-wait-online.service",
            "rootfs/usr/bin/also-ping",
            "rootfs/usr/bin/deep",
            "rootfs/usr/bin/ping",
            "rootfs/usr/sbin/init",
            &long,
            "templates/hostname.tpl",
            "templates/hosts.tpl",
        ]
    );
    let ping = &members["rootfs/usr/bin/ping"];
    assert_eq!((ping.1, ping.3.as_slice(), ping.4.as_deref()), (0o755, &b"ping"[..], Some(&b"\x01\0cap"[..])));
    let link = |name: &str| (members[name].0, members[name].2.as_str());
    assert_eq!(link("rootfs/usr/bin/also-ping"), (EntryType::Link, "rootfs/usr/bin/ping"));
    assert_eq!(link("rootfs/usr/bin/deep"), (EntryType::Link, long.as_str()));
    assert_eq!(link("rootfs/usr/sbin/init"), (EntryType::Symlink, "../lib/systemd/systemd"));
    assert_eq!(
        link("rootfs/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"),
        (EntryType::Symlink, "/lib/systemd/system/systemd-networkd.service")
    );
    assert_eq!(members[&long].3, b"deep");
    assert_eq!(members["rootfs/etc/systemd/system-generators/lxc"].1, 0o755);
    assert_eq!(members["metadata.yaml"].3, b"architecture: x86_64\n");
}

#[test]
fn a_system_that_cannot_boot_or_leaves_its_root_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let refusal = |name: &str| {
        let (tarball, target) =
            (root.path().join("system.tar.xz"), root.path().join(format!("incus-{}.tar", name.len())));
        compressed(&tarball, |archive| {
            let mut header = Header::new_old();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(0);
            header.set_cksum();
            archive.append(&header, io::empty()).unwrap();
        });
        pack_container(&tarball, &target, "", &CancellationToken::new()).unwrap_err().to_string()
    };
    assert_eq!(refusal("./usr/sbin/init.old"), "Image doesn't contain an init, not bootable in LXC");
    assert_eq!(refusal("./../etc/passwd"), "the environment has a member \"./../etc/passwd\" outside of itself");
}

#[test]
fn a_raw_disk_is_one_file_with_holes() {
    let root = tempfile::tempdir().unwrap();
    let (tarball, target) = (root.path().join("image.tar.xz"), root.path().join("disk.raw"));
    let mut content = vec![0; 3 << 20];
    content.extend_from_slice(b"end");
    content.extend_from_slice(&[0; 100]);
    compressed(&tarball, |archive| member(archive, "system.img", EntryType::Regular, "", &content));
    let cancel = CancellationToken::new();
    unpack_disk(&tarball, &target, &cancel).unwrap();
    assert!(fs::read(&target).unwrap() == content);
    use std::os::unix::fs::MetadataExt;
    assert!(target.metadata().unwrap().blocks() * 512 < 1 << 20);
    let packed = root.path().join("incus.tar");
    pack_machine(&target, &packed, "x").unwrap();
    assert!(members(&packed)["rootfs.img"].3 == content);

    for (index, wrong) in [vec![], vec![EntryType::Directory], vec![EntryType::Regular; 2], vec![EntryType::Symlink]]
        .into_iter()
        .enumerate()
    {
        compressed(&tarball, |archive| {
            for kind in wrong {
                member(archive, "system.img", kind, if kind.is_symlink() { "/etc/passwd" } else { "" }, b"");
            }
        });
        let error = unpack_disk(&tarball, &root.path().join(index.to_string()), &cancel).unwrap_err();
        assert!(error.to_string().contains("exactly one member"), "{error}");
    }
}

/// The refusal of a container with one member, made by hand.
fn refused_container(kind: EntryType, extensions: &[(&str, &str)]) -> String {
    let root = tempfile::tempdir().unwrap();
    let tarball = root.path().join("system.tar.xz");
    compressed(&tarball, |archive| {
        if !extensions.is_empty() {
            archive.append_pax_extensions(extensions.iter().map(|(key, value)| (*key, value.as_bytes()))).unwrap();
        }
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..5].copy_from_slice(b"./log");
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        header.as_gnu_mut().unwrap().set_real_size(0);
        header.set_cksum();
        archive.append(&header, io::empty()).unwrap();
    });
    let cancel = CancellationToken::new();
    pack_container(&tarball, &root.path().join("incus.tar"), "", &cancel).unwrap_err().to_string()
}

#[test]
fn sparse_and_unknown_members_are_refused() {
    let sparse = "the environment has a sparse member \"rootfs/log\": make it without tar --sparse";
    assert_eq!(refused_container(EntryType::GNUSparse, &[]), sparse);
    assert_eq!(refused_container(EntryType::Regular, &[("GNU.sparse.major", "1")]), sparse);
    // It would hold for all members that follow.
    let unknown = "the environment has a member \"rootfs/log\" of the unknown type 'g'";
    assert_eq!(refused_container(EntryType::XGlobalHeader, &[]), unknown);
}

#[test]
fn only_known_extensions_are_copied() {
    let root = tempfile::tempdir().unwrap();
    let (tarball, target) = (root.path().join("system.tar.xz"), root.path().join("incus.tar"));
    let kept = ["SCHILY.xattr.user.a", "LIBARCHIVE.xattr.user.b", "mtime", "atime"];
    let dropped = ["hdrcharset", "uid", "gid", "SCHILY.realsize", "path", "comment"];
    compressed(&tarball, |archive| {
        archive.append_pax_extensions(kept.into_iter().chain(dropped).map(|key| (key, &b"7"[..]))).unwrap();
        member(archive, "./usr/sbin/init", EntryType::Regular, "", b"init");
        member(archive, "./sbin/init", EntryType::Regular, "", b"init");
    });
    pack_container(&tarball, &target, "", &CancellationToken::new()).unwrap();
    let mut archive = Archive::new(File::open(&target).unwrap());
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            found.push(extension.unwrap().key().unwrap().to_owned());
        }
        if !found.is_empty() {
            // The owner is what the extensions said, in the header.
            assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (7, 7));
            break;
        }
    }
    assert_eq!(found, kept);
}

#[test]
fn what_decompresses_is_bounded_and_can_be_cancelled() {
    let bounded = |limit, cancel: &CancellationToken| {
        let mut bounded = Bounded { inner: &b"four"[..], limit, used: 0, cancel: cancel.clone() };
        io::copy(&mut bounded, &mut io::sink()).map_err(|error| error.to_string())
    };
    let cancel = CancellationToken::new();
    assert_eq!(bounded(4, &cancel), Ok(4));
    assert_eq!(bounded(3, &cancel), Err("the environment decompresses to more than 3 bytes".into()));

    let root = tempfile::tempdir().unwrap();
    let tarball = root.path().join("image.tar.xz");
    compressed(&tarball, |archive| {
        let mut header = Header::new_gnu();
        header.set_path("system.img").unwrap();
        header.set_size(MAX_DISK_BYTES + 1);
        header.set_cksum();
        archive.append(&header, io::empty()).unwrap();
    });
    let error = unpack_disk(&tarball, &root.path().join("disk"), &cancel).unwrap_err().to_string();
    assert_eq!(error, format!("the environment decompresses to more than {MAX_DISK_BYTES} bytes"));

    cancel.cancel();
    assert_eq!(bounded(4, &cancel), Err("the run was cancelled".into()));
    for error in [
        unpack_disk(&tarball, &root.path().join("disk"), &cancel),
        pack_container(&tarball, &root.path().join("incus.tar"), "", &cancel),
    ] {
        assert_eq!(error.unwrap_err().to_string(), "the run was cancelled");
    }
}

#[test]
fn the_description_says_where_the_image_is_from() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("system.tar.xz");
    let file = File::create(&path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
    let data = json!({"vendor": "debian", "codename": "bookworm", "architecture": "ppc64el"});
    let text = description(&image(7, data, &path.display().to_string()), &file).unwrap();
    let found: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(found["architecture"], "ppc64le");
    assert_eq!(found["creation_date"], 1_700_000_000);
    assert_eq!(found["profiles"], json!(["debusine"]));
    assert_eq!(
        found["properties"],
        json!({"description": "debian bookworm ppc64el (artifact 7)", "os": "debian", "release": "bookworm",
            "debusine_artifact_id": "7", "debian_architecture": "ppc64el"})
    );
    let hosts = json!({"when": ["create", "copy"], "create_only": false, "template": "hosts.tpl", "properties": {}});
    assert_eq!(found["templates"]["/etc/hosts"], hosts);
    let data = json!({"vendor": "debian", "codename": "sid", "architecture": "hurd-i386"});
    let error = description(&image(7, data, "/x"), &file).unwrap_err();
    assert_eq!(error.to_string(), "Incus has no name for the architecture hurd-i386");
}
