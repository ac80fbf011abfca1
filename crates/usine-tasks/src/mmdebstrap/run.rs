//! Running mmdebstrap, and describing the tarball that it made.

use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::Results;

use super::command::{TARBALL, TEST_INIT, command};
use super::data::MmdebstrapData;
use crate::bootstrap::{Configuration, Made, configure, describe_system, read_small};
use crate::run::{Bench, BoxFuture, Command, NewArtifact, Run, TaskError};

pub(super) struct MmdebstrapRun {
    data: MmdebstrapData,
    configuration: Configuration,
}

impl MmdebstrapRun {
    pub fn new(data: MmdebstrapData) -> Self {
        Self { data, configuration: Configuration::default() }
    }
}

impl Run for MmdebstrapRun {
    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(async move {
            self.configuration = configure(&self.data.bootstrap(), bench).await?;
            Ok(true)
        })
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(async move {
            let argv = command(&self.data.bootstrap(), &self.configuration, bench.surroundings.http_read_timeout);
            let ended = bench.run(&Command { argv, ..Command::default() }).await?;
            Ok(if ended.code == Some(0) { Results::Success } else { Results::Failure })
        })
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, result: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move {
            if result == Results::Success {
                let with_init = read_small(&bench.exec.join(TEST_INIT))?.trim() == "0";
                let admin_directory = "var_lib_dpkg/dpkg".to_owned();
                let made = Made { filename: TARBALL.to_owned(), admin_directory, with_init };
                let data = describe_system(&self.data.bootstrap(), &self.configuration, made, bench).await?;
                let tarball = bench.exec.join(TARBALL);
                bench.upload(NewArtifact::new(ArtifactCategory::SystemTarball, &data)?.with_file(&tarball, None)?)?;
            }
            Ok(())
        })
    }
}
