//! The command line of piuparts(1), and the scripts that it runs inside the system under test.

use std::path::Path;

use crate::extra_repositories::RepositoryFile;
use crate::run::quote;

/// Where piuparts' own scripts are.
const OWN_SCRIPTS: &str = "/etc/piuparts/scripts";

/// Program and arguments.
pub(super) fn command(base: &Path, scripts: &Path, packages: &[String]) -> Vec<String> {
    let mut argv = vec![
        "piuparts".to_owned(),
        "--keep-sources-list".to_owned(),
        "--allow-database".to_owned(),
        "--warn-on-leftovers-after-purge".to_owned(),
        format!("--basetgz={}", base.display()),
        format!("--scriptsdir={OWN_SCRIPTS}"),
        format!("--scriptsdir={}", scripts.display()),
    ];
    argv.extend(packages.iter().cloned());
    argv
}

/// A script: its name says when piuparts runs it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub name: &'static str,
    pub content: String,
}

/// The scripts of a run that may use these repositories.
pub(super) fn scripts(repositories: &[RepositoryFile]) -> Vec<Script> {
    let mut scripts = vec![
        // Takes the place of a script of piuparts' own.
        Script { name: "pre_remove_50_find_bad_permissions", content: "#!/bin/sh\nexit 0\n".to_owned() },
        Script {
            name: "post_setup_00_passwd",
            content: "#!/bin/sh\nset -e\n[ -x /usr/sbin/useradd ] || apt-get --yes install passwd\n".to_owned(),
        },
    ];
    if !repositories.is_empty() {
        let content = unpack_repositories(repositories);
        scripts.push(Script { name: "post_chroot_unpack_debusine_extra_repos", content });
    }
    scripts
}

fn unpack_repositories(repositories: &[RepositoryFile]) -> String {
    let mut script = "#!/bin/sh\nset -eux\n".to_owned();
    if repositories.iter().any(|file| file.is_key) {
        script.push_str("mkdir -p /etc/apt/keyrings\n");
    }
    for file in repositories {
        let directory = if file.is_key { "/etc/apt/keyrings" } else { "/etc/apt/sources.list.d" };
        script.push_str(&format!("printf %s {} > {directory}/{}\n", quote(&file.content), file.name));
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line() {
        let packages = ["/f/a_1_amd64.deb".to_owned(), "/f/b_1_all.deb".to_owned()];
        assert_eq!(
            command("/f/base_tar/system.tar.gz".as_ref(), "/f/scripts".as_ref(), &packages),
            [
                "piuparts",
                "--keep-sources-list",
                "--allow-database",
                "--warn-on-leftovers-after-purge",
                "--basetgz=/f/base_tar/system.tar.gz",
                "--scriptsdir=/etc/piuparts/scripts",
                "--scriptsdir=/f/scripts",
                "/f/a_1_amd64.deb",
                "/f/b_1_all.deb",
            ]
        );
    }

    #[test]
    fn scripts_and_repositories() {
        let names = |scripts: &[Script]| scripts.iter().map(|script| script.name).collect::<Vec<_>>();
        let always = ["pre_remove_50_find_bad_permissions", "post_setup_00_passwd"];
        assert_eq!(names(&scripts(&[])), always);
        let file =
            |name: &str, content: &str, is_key| RepositoryFile { name: name.into(), content: content.into(), is_key };
        let source = file("extra_repository_0.sources", "Types: deb\nURIs: https://d/it's\n", false);
        let all = scripts(std::slice::from_ref(&source));
        assert_eq!(names(&all)[2..], ["post_chroot_unpack_debusine_extra_repos"]);
        let written = "printf %s 'Types: deb\nURIs: https://d/it'\"'\"'s\n' > /etc/apt/sources.list.d/extra_repository_0.sources\n";
        assert_eq!(all[2].content, format!("#!/bin/sh\nset -eux\n{written}"));
        let with_key = scripts(&[source, file("extra_apt_key_0.asc", "-----BEGIN\n", true)]);
        assert_eq!(
            with_key[2].content,
            format!(
                "#!/bin/sh\nset -eux\nmkdir -p /etc/apt/keyrings\n{written}\
                 printf %s '-----BEGIN\n' > /etc/apt/keyrings/extra_apt_key_0.asc\n"
            )
        );
    }
}
