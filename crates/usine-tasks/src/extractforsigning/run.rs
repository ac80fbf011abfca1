//! Running extractforsigning: the template says what, the packages bring it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use usine_model::artifact::{ArtifactCategory, ArtifactPath, RelationType, SigningInput};
use usine_model::work_request::Results;

use super::ExtractForSigningDynamicData;
use crate::Backend;
use crate::run::{ArtifactRef, BYTES, Bench, BoxFuture, LocalFile, NewArtifact, Run, TaskError};
use crate::signing_template::{Binary, PackageToSign, Template, Tree};

pub(super) struct ExtractForSigningRun {
    dynamic: ExtractForSigningDynamicData,
    template: Option<Binary>,
    binaries: Vec<Binary>,
    /// What was extracted, and the artifact that it came from.
    extracted: Vec<(NewArtifact, i64)>,
}

impl ExtractForSigningRun {
    pub fn new(dynamic: ExtractForSigningDynamicData) -> Self {
        Self { dynamic, template: None, binaries: Vec::new(), extracted: Vec::new() }
    }

    async fn fetch_packages(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        let expected = [ArtifactCategory::BinaryPackage];
        let id = self.dynamic.input_template_artifact_id;
        let Some(template) = bench.expect("input.template_artifact", id, &expected).await? else { return Ok(false) };
        let directory = bench.download_apart(&template, "template").await?;
        self.template = Some(Binary::read(&template, &directory, &[".deb"])?);
        for (index, id) in self.dynamic.input_binary_artifacts_ids.iter().enumerate() {
            let field = format!("input.binary_artifacts[{index}]");
            let Some(binary) = bench.expect(&field, *id, &expected).await? else { return Ok(false) };
            let directory = bench.download_apart(&binary, &format!("binary-{id}")).await?;
            self.binaries.push(Binary::read(&binary, &directory, &[".deb", ".udeb"])?);
        }
        Ok(true)
    }

    async fn extract(&mut self, bench: &mut Bench<'_>) -> Result<Results, TaskError> {
        let template = self.template.as_ref().ok_or_else(|| TaskError::Other("there is no template".to_owned()))?;
        let template = Template::unpack(bench, template).await?;
        for (package, to_sign) in &template.packages {
            let binary = self.binary(package)?;
            // No package name has an underscore, so this directory is not the template's.
            let tree = Tree::of_package(bench, &binary.path, &format!("binary_{package}")).await?;
            let id = binary.id;
            let artifact = signing_input(bench, package, to_sign, &tree)?;
            self.extracted.push((artifact, id));
        }
        Ok(Results::Success)
    }

    fn binary(&self, package: &str) -> Result<&Binary, TaskError> {
        let fitting: Vec<&Binary> = self.binaries.iter().filter(|binary| binary.package == package).collect();
        match fitting.as_slice() {
            [binary] => Ok(binary),
            [] => {
                Err(TaskError::Other(format!("the template names {package}, which is not among the binary packages")))
            }
            several => {
                let ids: Vec<String> = several.iter().map(|binary| binary.id.to_string()).collect();
                Err(TaskError::Other(format!("several binary packages are {package}: artifacts {}", ids.join(", "))))
            }
        }
    }
}

/// The files of one package that are to be signed.
fn signing_input(
    bench: &Bench<'_>,
    package: &str,
    to_sign: &PackageToSign,
    tree: &Tree,
) -> Result<NewArtifact, TaskError> {
    let data =
        SigningInput { trusted_certs: to_sign.trusted_certs.clone(), binary_package_name: Some(package.to_owned()) };
    if to_sign.files.is_empty() {
        return Err(TaskError::Other(format!("Expected at least one file to sign of {package}")));
    }
    let place = bench.make_directory("to-sign-", 0o700)?;
    let mut files: BTreeMap<ArtifactPath, LocalFile> = BTreeMap::new();
    for (index, to_sign) in to_sign.files.iter().enumerate() {
        let file = &to_sign.file;
        let path: PathBuf = place.join(index.to_string());
        if !tree.copy_out(file, &path)? {
            return Err(TaskError::Other(format!("{package} has no file '{file}', which the template names")));
        }
        let name = format!("{package}/{file}");
        let name = name.parse().map_err(|error| TaskError::Other(format!("{name}: {error}")))?;
        files.insert(name, LocalFile { path, content_type: Some(BYTES.to_owned()) });
    }
    let artifact = NewArtifact::new(ArtifactCategory::SigningInput, &data)?;
    Ok(NewArtifact { files, ..artifact })
}

impl Run for ExtractForSigningRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.fetch_packages(bench))
    }

    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(async move {
            bench.start_instance(Backend::Auto, self.dynamic.environment_id).await?;
            Ok(true)
        })
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(self.extract(bench))
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, result: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move {
            if result != Results::Success {
                return Ok(());
            }
            for (artifact, binary) in self.extracted.drain(..) {
                let input = bench.upload(artifact)?;
                for id in [self.dynamic.input_template_artifact_id, binary] {
                    bench.relate(input, RelationType::RelatesTo, ArtifactRef::Existing(id));
                }
            }
            Ok(())
        })
    }
}
