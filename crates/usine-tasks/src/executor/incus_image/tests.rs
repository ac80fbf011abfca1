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
    pack_container(&tarball, &target, "architecture: x86_64\n").unwrap();
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
        pack_container(&tarball, &target, "").unwrap_err().to_string()
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
    unpack_disk(&tarball, &target).unwrap();
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
        let error = unpack_disk(&tarball, &root.path().join(index.to_string())).unwrap_err();
        assert!(error.to_string().contains("exactly one member"), "{error}");
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
