//! Runs of extractforsigning and assemblesignedsource that find something wrong, in an instance that is none.

use serde_json::json;
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::Results;
use usine_tasks::Outcome;

use crate::support::signing::{deb, files_json, signed, template, tiny};
use crate::support::{DirHost, Stored, log, of};
use crate::world::{World, run};

fn host(world: &World) -> DirHost {
    let image = world.file("system.tar.xz", "");
    DirHost::new().with(3, ArtifactCategory::SystemTarball, json!({"codename": "bookworm"}), vec![image])
}

async fn extract(world: &World, template: Stored, binaries: &[Stored]) -> Outcome {
    let numbered = (20..).zip(binaries.iter().cloned());
    let host = numbered.fold(host(world).stored(10, template), |host, (id, binary)| host.stored(id, binary));
    let ids: Vec<i64> = (20..).take(binaries.len()).collect();
    let data = json!({"input": {"template_artifact": 10, "binary_artifacts": ids}, "environment": 3});
    let dynamic = json!({"environment_id": 3, "input_template_artifact_id": 10, "input_binary_artifacts_ids": ids});
    run("extractforsigning", &data, Some(&dynamic), &world.surroundings(), &host).await
}

async fn assemble(world: &World, template: Stored, signed: Stored) -> Outcome {
    let base = world.root.path().join("signed");
    let host = host(world).stored(10, template).stored(50, signed).below(50, base);
    let data = json!({"template": 10, "signed": [50], "environment": 3});
    let dynamic = json!({"environment_id": 3, "template_id": 10, "signed_ids": [50], "unsigned_ids": []});
    run("assemblesignedsource", &data, Some(&dynamic), &world.surroundings(), &host).await
}

fn failed(outcome: &Outcome, stage: &str, text: &str) {
    assert_eq!((outcome.result, outcome.artifacts.len()), (Some(Results::Failure), 1), "only the logs");
    let log = log(outcome, &format!("{stage}.log")).unwrap_or_default();
    assert!(log.contains(text), "{text} is not in: {log}");
}

#[tokio::test]
async fn what_is_extracted_is_what_the_package_has() {
    let world = World::new();
    let root = world.instance().root.path();
    let outcome = extract(&world, template(root, &files_json(&["boot/tiny.efi"]), &[]), &[tiny(root)]).await;
    assert_eq!(outcome.result, Some(Results::Success), "{:?}", log(&outcome, "execution.log"));
    let file = of(&outcome, ArtifactCategory::SigningInput)[0].files.values().next().unwrap().path.clone();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "code\n");
}

#[tokio::test]
async fn what_cannot_be_extracted_is_reported() {
    let world = World::new();
    let root = world.instance().root.path();
    let tiny = tiny(root);
    for (files, problem) in [
        (files_json(&["boot/out.efi"]), "file name 'boot/out.efi' may not traverse symlinks to outside the package"),
        (files_json(&["../x"]), "file name '../x' of tiny may not contain '..' segments"),
        (files_json(&["/etc/hostname"]), "file name '/etc/hostname' of tiny may not be absolute"),
        (files_json(&["boot/none"]), "tiny has no file 'boot/none', which the template names"),
        (files_json(&["boot"]), "boot is not a regular file"),
        (files_json(&[]), "Expected at least one file to sign of tiny"),
        (
            files_json(&["x"]).replace("\"tiny\"", "\"other\""),
            "the template names other, which is not among the binary packages",
        ),
        (files_json(&["x"]).replace("\"tiny\"", "\"../tiny\""), "'../tiny' is not a valid package name"),
        ("{".to_owned(), "usr/share/code-signing/tiny-signed-template/files.json of tiny-signed-template: EOF"),
    ] {
        let outcome = extract(&world, template(root, &files, &[]), std::slice::from_ref(&tiny)).await;
        failed(&outcome, "execution", problem);
    }
    let outcome = extract(&world, tiny.clone(), &[]).await;
    failed(&outcome, "execution", "tiny has no file usr/share/code-signing/tiny/files.json");
    let twice = extract(&world, template(root, &files_json(&["x"]), &[]), &[tiny.clone(), tiny]).await;
    failed(&twice, "execution", "several binary packages are tiny: artifacts 20, 21");
}

#[tokio::test]
async fn inputs_that_are_none_are_reported() {
    let world = World::new();
    let root = world.instance().root.path();
    let (template, tiny) = (template(root, &files_json(&["x"]), &[]), tiny(root));
    let upload = Stored { category: ArtifactCategory::Upload, ..tiny.clone() };
    let outcome = extract(&world, template.clone(), &[upload]).await;
    let expected = "input.binary_artifacts[0] points to a debian:upload, not the expected debian:binary-package.";
    failed(&outcome, "fetch_input", expected);
    let broken = Stored { files: vec![world.file("tiny_1.0_amd64.deb", "not a package")], ..tiny.clone() };
    failed(&extract(&world, template.clone(), &[broken]).await, "fetch_input", "is not a readable binary package");
    let output = signed(&root.join("signed"), &["tiny/boot/tiny.efi"]);
    let other = Stored { category: ArtifactCategory::SigningInput, ..output };
    failed(&assemble(&world, template, other).await, "fetch_input", "signed[0] points to a debusine:signing-input");
}

#[tokio::test]
async fn what_cannot_be_assembled_is_reported() {
    let world = World::new();
    let root = world.instance().root.path();
    let signed = signed(&root.join("signed"), &["tiny/boot/tiny.efi"]);
    let files = files_json(&["boot/tiny.efi"]);
    let unknown = files.replace("\"efi\"", "\"linux-module\"");
    let missing = files_json(&["boot/tiny.efi", "boot/none.efi"]);
    for (files, more, problem) in [
        (&missing, ("x", ""), "uefi signature of 'tiny/boot/none.efi' not available"),
        (&unknown, ("x", ""), "Cannot handle sig_type 'linux-module'"),
        (&files, ("debian/source/options", "x"), "Template may not contain debian/source/options"),
        (&files, ("debian/source/local-options", "x"), "Template may not contain debian/source/local-options"),
        (
            &files,
            ("debian/source/format", "3.0 (quilt)\n"),
            "Expected template source format '3.0 (native)', got '3.0 (quilt)'",
        ),
        (&files, ("debian/changelog", "x\n"), "debian/changelog of the template: 'x' is not the first line"),
        (&files, ("debian/signatures/tiny/boot/tiny.efi.sig", "forged"), "cannot copy "),
    ] {
        let outcome = assemble(&world, template(root, files, &[more]), signed.clone()).await;
        failed(&outcome, "execution", problem);
    }
    let empty = deb(root, "tiny-signed-template", |tree| {
        let place = tree.join("usr/share/code-signing/tiny-signed-template");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("files.json"), &files).unwrap();
        // A link is not the directory, wherever it leads.
        std::os::unix::fs::symlink("/etc", place.join("source-template")).unwrap();
    });
    let problem = "tiny-signed-template has no directory usr/share/code-signing/tiny-signed-template/source-template";
    failed(&assemble(&world, empty, signed).await, "execution", problem);
}
