//! Uploads that are more than they look: pages look into them, and stay within their bounds.

use std::process::{Command, Stdio};

use crate::house::House;
use crate::{assert_serves, house_with, key, memory, peak, raw};

/// What a page may take for one of these, in MiB: a text of 50 MiB with the places of 4 million lines, or what a decompressor needs.
const MOST: u64 = 400;

/// Runs a pipeline of the shell in the house.
fn make(house: &House, script: &str) {
    let status = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(house.path())
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{script}");
}

/// The header of a member of an ar archive, as printf(1) takes it.
const AR: &str = r#"member() { printf '%-16s%-12s%-6s%-6s%-8s%-10s`\n' "$1" 0 0 0 100644 "$(stat -c %s "$2")"; cat "$2"; [ $(($(stat -c %s "$2") % 2)) = 0 ] || echo; }"#;

#[test]
fn bombs_do_not_go_off() {
    let mut house = house_with("");
    make(&house, "truncate -s 600M zeros; tar -cf - zeros | gzip -1 >bomb.tar.gz; rm zeros");
    // One name of 100 MB: GNU's long names are entries of their own, whose header has the checksum in it.
    make(
        &house,
        r"head -c 100M /dev/zero | tr '\0' a >name; tar --format=gnu -cf - --transform='s/^name$/.\/.@LongLink/' name >long.tar
        printf L | dd of=long.tar bs=1 seek=156 conv=notrunc status=none
        sum=$(head -c 512 long.tar | od -An -v -tu1 -w1 | awk 'NR<149||NR>156{s+=$1} NR>=149&&NR<=156{s+=32} END{print s}')
        printf '%06o\0 ' $sum | dd of=long.tar bs=1 seek=148 conv=notrunc status=none
        gzip -1 -c long.tar >name.tar.gz; rm name long.tar",
    );
    make(
        &house,
        &format!(
            "{AR}; mkdir c; printf 'Package: a\\nVersion: 1\\nArchitecture: all\\n' >c/control; tar -C c -czf control.tar.gz ./control
            echo 2.0 >debian-binary; {{ printf '!<arch>\\n'; member debian-binary debian-binary; member control.tar.gz control.tar.gz
            member data.tar.gz bomb.tar.gz; }} >data.deb
            {{ printf '!<arch>\\n'; member debian-binary debian-binary; member control.tar.gz bomb.tar.gz; }} >control.deb",
        ),
    );
    make(&house, r"head -c 80M /dev/zero | tr '\0' '\n' >lines.log; head -c 80M /dev/zero | tr '\0' x >line.log");
    make(&house, r"head -c 60M < <(yes '<b>&') >markup.txt; head -c 1M /dev/zero >zeros.txt");
    house.start_server();
    let files =
        ["bomb.tar.gz", "name.tar.gz", "data.deb", "control.deb", "lines.log", "line.log", "markup.txt", "zeros.txt"];
    let paths: Vec<_> = files.iter().map(|name| house.path().join(name).to_str().unwrap().to_owned()).collect();
    let mut arguments = vec!["artifact", "create", "debusine:test", "--upload"];
    arguments.extend(paths.iter().map(String::as_str));
    house.client(&arguments);
    for (name, words) in files.into_iter().zip([
        "decompresses to more than is allowed",
        "decompresses to more than is allowed",
        "decompresses to more than is allowed",
        "decompresses to more than is allowed",
        "80.0 MiB",
        "80.0 MiB",
        "&#60;b&#62;&#38;",
        "not text",
    ]) {
        let before = memory(&house);
        let head = format!(
            "GET /debusine/System/artifact/1/file/{name} HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\nToken: {}\r\n",
            key(&house)
        );
        let answer = raw::exchange(&house, &head);
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert!(answer.body.contains(words), "{name}: {:.3000}", answer.body);
        assert!(answer.body.len() < 12 << 20, "{name}: a page of {} bytes", answer.body.len());
        let most = peak(&house);
        assert!(most <= before + MOST, "{name}: {before} MiB before, at most {most} MiB");
    }
    assert_serves(&house, "after all bombs");
}

/// What a browser brings in pieces is judged when it has come; so many at once that it takes long do not keep others out.
#[test]
fn many_who_look_into_bombs_wait_in_turn() {
    let mut house = house_with("max-requests = 40\nmax-waiting = 40");
    make(&house, "truncate -s 600M zeros; tar -cf - zeros | gzip -1 >bomb.tar.gz; rm zeros");
    house.start_server();
    let path = house.path().join("bomb.tar.gz");
    house.client(&["artifact", "create", "debusine:test", "--upload", path.to_str().unwrap()]);
    let head = format!(
        "GET /debusine/System/artifact/1/file/bomb.tar.gz HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\nToken: {}\r\n",
        key(&house)
    );
    let before = memory(&house);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let looks: Vec<_> = (0..40).map(|_| scope.spawn(|| raw::exchange(&house, &head))).collect();
        std::thread::sleep(std::time::Duration::from_secs(1));
        assert_serves(&house, "while 40 look into a bomb");
        let answers = looks.into_iter().map(|look| look.join().unwrap());
        answers
            .inspect(|answer| assert!(answer.status == 200 || answer.header("retry-after").is_some()))
            .map(|a| a.status)
            .collect()
    });
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
    let most = peak(&house);
    assert!(most <= before + MOST, "{before} MiB before, at most {most} MiB");
}
