//! Running assemblesignedsource: the template's source tree, its signatures, the source package, its upload.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use usine_debian::{ChangelogHeader, Changes, Dsc};
use usine_model::artifact::{
    ArtifactCategory, ArtifactPath, RelationType, SigningOutcome, SigningOutput, SigningPurpose,
};
use usine_model::work_request::Results;
use walkdir::WalkDir;

use super::AssembleSignedSourceDynamicData;
use crate::Backend;
use crate::executor::Inside;
use crate::packages;
use crate::run::{ArtifactInfo, ArtifactRef, Bench, BoxFuture, Recommends, Run, TaskError};
use crate::signing_template::{Binary, FileToSign, Template, Tree};

/// What the source tree must have.
const REQUIRED: [&str; 5] =
    ["debian/source/format", "debian/changelog", "debian/control", "debian/copyright", "debian/rules"];
/// What it may not have: dpkg-source(1) takes options from there.
const FORBIDDEN: [&str; 2] = ["debian/source/options", "debian/source/local-options"];
const FORMAT: &str = "3.0 (native)";

pub(super) struct AssembleSignedSourceRun {
    dynamic: AssembleSignedSourceDynamicData,
    template: Option<Binary>,
    signatures: Signatures,
    /// The binary packages that the signed files came from.
    built_using: Vec<i64>,
    /// The upload's `.changes`, once it is made.
    changes: Option<PathBuf>,
}

/// Signatures by what was signed.
#[derive(Debug, Default)]
struct Signatures(BTreeMap<String, PathBuf>);

impl Signatures {
    /// Adds those that an artifact brings for Secure Boot: nothing else is delivered.
    fn add(&mut self, artifact: &ArtifactInfo, directory: PathBuf) -> Result<(), TaskError> {
        let fault = |text: String| TaskError::Other(format!("artifact {}: {text}", artifact.id));
        let output = SigningOutput::deserialize(&artifact.data).map_err(|error| fault(error.to_string()))?;
        if output.purpose != SigningPurpose::Uefi {
            return Ok(());
        }
        for result in output.results {
            let SigningOutcome::OutputFile(name) = result.outcome else { continue };
            let path: ArtifactPath = name.parse().map_err(|error| fault(format!("signature '{name}': {error}")))?;
            if !artifact.files.contains_key(&path) {
                return Err(fault(format!("it has no file '{name}', the signature of '{}'", result.file)));
            }
            self.0.insert(result.file, directory.join(path.as_str()));
        }
        Ok(())
    }
}

impl AssembleSignedSourceRun {
    pub fn new(dynamic: AssembleSignedSourceDynamicData) -> Self {
        let signatures = Signatures::default();
        Self { dynamic, template: None, signatures, built_using: Vec::new(), changes: None }
    }

    async fn fetch_inputs(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        let id = self.dynamic.template_id;
        let template = bench.expect("template", id, &[ArtifactCategory::BinaryPackage]).await?;
        let Some(template) = template else { return Ok(false) };
        let directory = bench.download_apart(&template, "template").await?;
        self.template = Some(Binary::read(&template, &directory, &[".deb"])?);
        for (index, id) in self.dynamic.signed_ids.iter().enumerate() {
            let field = format!("signed[{index}]");
            let signed = bench.expect(&field, *id, &[ArtifactCategory::SigningOutput]).await?;
            let Some(signed) = signed else { return Ok(false) };
            let directory = bench.download_apart(&signed, &format!("signed-{id}")).await?;
            self.signatures.add(&signed, directory)?;
        }
        for id in &self.dynamic.unsigned_ids {
            if bench.artifact(*id).await?.category == ArtifactCategory::BinaryPackage {
                self.built_using.push(*id);
            }
        }
        Ok(true)
    }

    async fn assemble(&mut self, bench: &mut Bench<'_>) -> Result<Results, TaskError> {
        let template = self.template.as_ref().ok_or_else(|| problem("there is no template"))?;
        let template = Template::unpack(bench, template).await?;
        let path = template.source_directory();
        // No package name has an underscore, so this directory is not the unpacked template's.
        let source = template.tree.take_directory(&path, bench.exec.join("source_tree"))?;
        let source = source.ok_or_else(|| problem(format!("{} has no directory {path}", template.package)))?;
        let header = check_source(&source)?;
        self.add_signatures(&template, &source)?;
        for entry in WalkDir::new(source.path()) {
            let entry = entry.map_err(|error| problem(error.to_string()))?;
            bench.own(entry.path())?;
        }
        bench.push_directory(source.path()).await?;
        self.build(bench, &source, &header).await
    }

    fn add_signatures(&self, template: &Template, source: &Tree) -> Result<(), TaskError> {
        for (package, to_sign) in &template.packages {
            for FileToSign { sig_type, file } in &to_sign.files {
                if sig_type != "efi" {
                    return Err(problem(format!("Cannot handle sig_type '{sig_type}'")));
                }
                let name = format!("{package}/{file}");
                let signature = self.signatures.0.get(&name);
                let signature =
                    signature.ok_or_else(|| problem(format!("uefi signature of '{name}' not available")))?;
                source.copy_in(signature, &format!("debian/signatures/{name}.sig"))?;
            }
        }
        Ok(())
    }

    /// Makes the source package and its upload inside, and brings them out.
    async fn build(
        &mut self,
        bench: &mut Bench<'_>,
        source: &Tree,
        header: &ChangelogHeader,
    ) -> Result<Results, TaskError> {
        let name = format!("{}_{}_source.changes", header.source, header.version.without_epoch());
        let distribution = header.distributions.first().map_or("", String::as_str);
        for argv in [
            vec!["dpkg-source".to_owned(), "-b".to_owned(), ".".to_owned()],
            vec![
                "dpkg-genchanges".to_owned(),
                "-S".to_owned(),
                format!("-DDistribution={distribution}"),
                "-UCloses".to_owned(),
                format!("-O../{name}"),
            ],
        ] {
            let inside = Inside::new(argv).within(source.path());
            if bench.run_inside(&inside, None).await?.code != Some(0) {
                return Ok(Results::Failure);
            }
        }
        let path = bench.exec.join(name);
        bench.pull(&path, &path).await?;
        for name in Changes::read(&path)?.names() {
            let file = bench.exec.join(name);
            bench.pull(&file, &file).await?;
        }
        self.changes = Some(path);
        Ok(Results::Success)
    }

    fn upload_all(&self, bench: &mut Bench<'_>) -> Result<(), TaskError> {
        let Some(path) = &self.changes else { return Ok(()) };
        let source = bench.upload(packages::source_package(&dsc_of(path)?)?)?;
        for id in &self.built_using {
            bench.relate(source, RelationType::BuiltUsing, ArtifactRef::Existing(*id));
        }
        let upload = bench.upload(packages::upload(path)?)?;
        bench.relate(upload, RelationType::Extends, source);
        Ok(())
    }
}

/// What the source tree must and may not be; gives what it says of itself.
fn check_source(source: &Tree) -> Result<ChangelogHeader, TaskError> {
    let mut contents = BTreeMap::new();
    for path in REQUIRED {
        let content = source.read(path)?;
        let content = content.ok_or_else(|| problem(format!("Required file {path} missing from template")))?;
        contents.insert(path, String::from_utf8_lossy(&content).into_owned());
    }
    let format = contents["debian/source/format"].trim_end();
    if format != FORMAT {
        return Err(problem(format!("Expected template source format '{FORMAT}', got '{format}'")));
    }
    for path in FORBIDDEN {
        if source.has(path)? {
            return Err(problem(format!("Template may not contain {path}")));
        }
    }
    contents["debian/changelog"].parse().map_err(|error| problem(format!("debian/changelog of the template: {error}")))
}

/// The `.dsc` that a `.changes` lists.
fn dsc_of(changes: &std::path::Path) -> Result<PathBuf, TaskError> {
    let read = Changes::read(changes)?;
    let mut found = read.source_packages();
    match (found.next(), found.next()) {
        (Some(name), None) => Ok(changes.with_file_name(name)),
        _ => Err(problem(format!("{} does not list one .dsc", changes.display()))),
    }
}

fn problem(text: impl Into<String>) -> TaskError {
    TaskError::Other(text.into())
}

impl Run for AssembleSignedSourceRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.fetch_inputs(bench))
    }

    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(async move {
            bench.start_instance(Backend::Auto, self.dynamic.environment_id).await?;
            bench.install(&["dpkg-dev"], Recommends::Yes).await?;
            Ok(true)
        })
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(self.assemble(bench))
    }

    fn check<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Vec<String>, TaskError>> {
        Box::pin(async move {
            let Some(path) = &self.changes else { return Ok(Vec::new()) };
            let mut problems = Changes::read(path)?.listing().verify(&bench.exec)?;
            problems.extend(Dsc::read(&dsc_of(path)?)?.listing().verify(&bench.exec)?);
            Ok(problems)
        })
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, result: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move { if result == Results::Success { self.upload_all(bench) } else { Ok(()) } })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use serde_json::{Value, json};
    use usine_model::artifact::ArtifactCategory;

    use super::*;
    use crate::run::FileInfo;

    fn source() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("debian/source")).unwrap();
        for path in REQUIRED {
            fs::write(root.path().join(path), "x").unwrap();
        }
        fs::write(root.path().join("debian/source/format"), "3.0 (native)\n").unwrap();
        fs::write(root.path().join("debian/changelog"), "tiny-signed (1:1.0) sid; urgency=low\n").unwrap();
        root
    }

    fn checked(root: &tempfile::TempDir) -> Result<ChangelogHeader, String> {
        check_source(&Tree::open(root.path().to_owned()).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_source_tree_has_what_it_must_and_not_what_it_may_not() {
        assert_eq!(checked(&source()).unwrap().source, "tiny-signed");
        for path in REQUIRED {
            let root = source();
            fs::remove_file(root.path().join(path)).unwrap();
            assert_eq!(checked(&root), Err(format!("Required file {path} missing from template")));
            symlink("/etc/passwd", root.path().join(path)).unwrap();
            let expected = format!("file name '{path}' may not traverse symlinks to outside the package");
            assert_eq!(checked(&root), Err(expected));
        }
        for path in FORBIDDEN {
            let root = source();
            symlink("nowhere", root.path().join(path)).unwrap();
            assert_eq!(checked(&root), Err(format!("Template may not contain {path}")));
        }
        for format in ["3.0 (quilt)", "1.0", ""] {
            let root = source();
            fs::write(root.path().join("debian/source/format"), format).unwrap();
            let expected = format!("Expected template source format '3.0 (native)', got '{format}'");
            assert_eq!(checked(&root), Err(expected));
        }
        let root = source();
        fs::write(root.path().join("debian/changelog"), "tiny (../1.0) sid; urgency=low\n").unwrap();
        assert!(checked(&root).unwrap_err().starts_with("debian/changelog of the template: 'tiny (../1.0) sid"));
    }

    #[test]
    fn signatures_are_collected_by_what_was_signed() {
        let artifact = |purpose: &str, results: Value| {
            let info = FileInfo { size: 1, sha256: String::new(), url: String::new() };
            let files = BTreeMap::from([("tiny/boot/a.efi.sig".parse().unwrap(), info)]);
            let data = json!({"purpose": purpose, "fingerprint": "ab", "results": results});
            ArtifactInfo { id: 50, category: ArtifactCategory::SigningOutput, data, files }
        };
        let good = json!([
            {"file": "tiny/boot/a.efi", "output_file": "tiny/boot/a.efi.sig"},
            {"file": "tiny/boot/b.ko", "error_message": "Skipped"},
        ]);
        let mut signatures = Signatures::default();
        signatures.add(&artifact("openpgp", good.clone()), "/s".into()).unwrap();
        assert!(signatures.0.is_empty());
        signatures.add(&artifact("uefi", good), "/s".into()).unwrap();
        let expected = ("tiny/boot/a.efi".to_owned(), PathBuf::from("/s/tiny/boot/a.efi.sig"));
        assert_eq!(signatures.0.into_iter().collect::<Vec<_>>(), [expected]);
        for (output, problem) in [
            ("other.sig", "artifact 50: it has no file 'other.sig', the signature of 'x'"),
            ("../../etc/passwd", "artifact 50: signature '../../etc/passwd': file path"),
        ] {
            let bad = artifact("uefi", json!([{"file": "x", "output_file": output}]));
            let error = Signatures::default().add(&bad, "/s".into()).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
        let error = Signatures::default().add(&artifact("uefi", json!([{"file": "x"}])), "/s".into()).unwrap_err();
        assert!(error.to_string().contains("Exactly one of output_file and error_message"), "{error}");
    }
}
