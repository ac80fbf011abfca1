//! Results as pages show them: a build log with its failing line on top, lintian's tags by severity, a table of tests, a
//! coloured diff, what is in a package.
//!
//! [`of_artifact`] gives the view of an artifact by its category, [`of_file`] that of a file by its name. Both answer with a
//! fragment of HTML; what cannot be shown is said in the fragment, in a sentence.
//!
//! # How to add a view
//!
//! 1. A file here with `parse`, a pure function from a [`Text`](lines::Text) or bytes to a struct, and `render`, which gives
//!    the struct to an askama template below `templates/results/`. Askama escapes; `|safe` is for parts that are templates
//!    themselves. A log in phases is an [`Outline`](sections::Outline), shown by [`Sections`](sections::Sections).
//! 2. A line in [`of_artifact`] or [`of_file`], below.
//! 3. A sample made by the real tool in `fixtures/`, and tests: the sample, nothing, something strange, markup in it.
//!
//! All of it shows what strangers wrote. So every read has a bound ([`read`]), everything that is listed has one and says how
//! much is left out, `Text` takes away what terminals act on, and no work grows faster than its input.

mod autopkgtest;
mod blhc;
mod build_log;
mod debdiff;
mod file;
mod lines;
mod lintian;
mod package;
mod piuparts;
mod read;
mod sections;
mod source;
pub(crate) mod untrusted;

use std::sync::Arc;

use askama::Template;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use usine_db::Artifact;
use usine_db::artifact::{File, FileInArtifact};
use usine_model::artifact::{ArtifactCategory, PackageBuildLog};
use usine_store::FileStore;

use crate::paths::in_address;
use crate::problem::{ApiError, ApiResult};
use crate::state::AppState;
use read::{Absent, Found, Stored};

/// Largest `analysis.json` that is read, in bytes.
const MAX_ANALYSIS: u64 = 32 * 1024 * 1024;

/// What a result says, as a part of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultView {
    /// The label of its tab.
    pub title: &'static str,
    /// A fragment: everything in it is escaped. It begins with an `h2` or a panel that has one.
    pub html: String,
}

/// A file, as a part of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileView {
    /// A fragment: everything in it is escaped.
    pub html: String,
}

/// The view of an artifact's result; `None` where the category has none. `base` is the artifact's address,
/// `/SCOPE/WORKSPACE/artifact/ID/`.
///
/// # Errors
/// Only for faults of the server. What is missing or damaged is said in the view.
pub async fn of_artifact(
    state: &AppState,
    artifact: &Artifact,
    files: &[(FileInArtifact, File)],
    base: &str,
) -> ApiResult<Option<ResultView>> {
    About { store: &state.store, artifact, files, base }.view().await
}

/// One file, by its name and kind. `base` is the artifact's address.
///
/// # Errors
/// Only for faults of the server. What is missing or damaged is said in the view.
pub async fn of_file(
    state: &AppState,
    artifact: &Artifact,
    entry: &FileInArtifact,
    content: &File,
    base: &str,
) -> ApiResult<FileView> {
    file_view(&state.store, *artifact.category, entry, content, base).await
}

async fn file_view(
    store: &Arc<dyn FileStore>,
    category: ArtifactCategory,
    entry: &FileInArtifact,
    content: &File,
    base: &str,
) -> ApiResult<FileView> {
    let address = Address::new(base, &entry.path);
    let html = match Stored::of(store, entry, content)? {
        Ok(stored) => file::view(stored, category, entry, &address).await?,
        Err(absent) => Err(absent),
    };
    match html {
        Ok(html) => Ok(FileView { html }),
        Err(absent) => Ok(FileView { html: notice("Content", &absent)? }),
    }
}

/// What a view is about.
struct About<'a> {
    store: &'a Arc<dyn FileStore>,
    artifact: &'a Artifact,
    files: &'a [(FileInArtifact, File)],
    base: &'a str,
}

impl About<'_> {
    async fn view(&self) -> ApiResult<Option<ResultView>> {
        let (title, view) = match *self.artifact.category {
            ArtifactCategory::PackageBuildLog => ("Build log", self.build_log().await?),
            ArtifactCategory::Lintian => ("Lintian", self.lintian().await?),
            ArtifactCategory::Autopkgtest => ("Autopkgtest", self.autopkgtest().await?),
            ArtifactCategory::Blhc => ("Hardening flags", self.blhc().await?),
            ArtifactCategory::Piuparts => ("Piuparts", self.piuparts().await?),
            ArtifactCategory::Debdiff => ("Differences", self.debdiff().await?),
            ArtifactCategory::BinaryPackage => ("Package", self.package().await?),
            ArtifactCategory::BinaryPackages => ("Packages", self.control("Packages", self.artifact.data.as_object())?),
            ArtifactCategory::SourcePackage => {
                ("Source package", self.control("Source package", self.field("dsc_fields"))?)
            }
            ArtifactCategory::Upload => ("Upload", self.control("Upload", self.field("changes_fields"))?),
            _ => return Ok(None),
        };
        let html = match view {
            Ok(html) => html,
            Err(absent) => notice(title, &absent)?,
        };
        Ok(Some(ResultView { title, html }))
    }

    /// The first file whose path fits.
    fn find(&self, what: &str, fits: impl Fn(&str) -> bool) -> ApiResult<Found<(Stored, Address)>> {
        match self.files.iter().find(|(entry, _)| fits(&entry.path)) {
            None => Ok(Err(Absent(format!("This artifact has no file {what}.")))),
            Some((entry, content)) => {
                let stored = Stored::of(self.store, entry, content)?;
                Ok(stored.map(|stored| (stored, Address::new(self.base, &entry.path))))
            }
        }
    }

    /// The data of the artifact, as far as they are what their category asks.
    fn data<T: DeserializeOwned>(&self) -> Option<T> {
        T::deserialize(&self.artifact.data).ok()
    }

    /// A view of the text of one file, made on a thread of its own.
    async fn of_text(
        &self,
        found: Found<(Stored, Address)>,
        render: impl FnOnce(&lines::Text, &Address) -> askama::Result<String> + Send + 'static,
    ) -> ApiResult<Found<String>> {
        let (stored, address) = match found {
            Ok(found) => found,
            Err(absent) => return Ok(Err(absent)),
        };
        let _turn = read::turn().await?;
        match stored.text().await? {
            Ok(text) => rendered(read::blocking(move || render(&text, &address)).await?).map(Ok),
            Err(absent) => Ok(Err(absent)),
        }
    }

    async fn build_log(&self) -> ApiResult<Found<String>> {
        let data: Option<PackageBuildLog> = self.data();
        let found = self.find("*.build", |path| path.ends_with(".build"))?;
        let uninstallable = data.and_then(|data| data.bd_uninstallable);
        self.of_text(found, move |text, address| build_log::render(text, uninstallable.as_ref(), address)).await
    }

    async fn blhc(&self) -> ApiResult<Found<String>> {
        let found = self.find("blhc.txt", |path| path == "blhc.txt")?;
        self.of_text(found, blhc::render).await
    }

    async fn piuparts(&self) -> ApiResult<Found<String>> {
        let data = self.data();
        let found = self.find("piuparts.txt", |path| path == "piuparts.txt")?;
        self.of_text(found, move |text, address| piuparts::render(text, data.as_ref(), address)).await
    }

    async fn debdiff(&self) -> ApiResult<Found<String>> {
        let data = self.data();
        let found = self.find("debdiff.txt", |path| path == "debdiff.txt")?;
        self.of_text(found, move |text, address| debdiff::render(text, data.as_ref(), address)).await
    }

    async fn lintian(&self) -> ApiResult<Found<String>> {
        let stored = match self.find("analysis.json", |path| path == "analysis.json")? {
            Ok((stored, _)) => stored,
            Err(absent) => return Ok(Err(absent)),
        };
        if stored.size() > MAX_ANALYSIS {
            let size = bytes(stored.size());
            return Ok(Err(Absent(format!("analysis.json is too large to be shown as a list: it has {size}."))));
        }
        let _turn = read::turn().await?;
        let json = match stored.head(MAX_ANALYSIS).await? {
            Ok(json) => json,
            Err(absent) => return Ok(Err(absent)),
        };
        let report = Address::new(self.base, "lintian.txt");
        let work = move || lintian::parse(&json).map(|analysis| lintian::render(&analysis, &report));
        match read::blocking(work).await? {
            Ok(html) => rendered(html).map(Ok),
            Err(error) => Ok(Err(Absent(format!("analysis.json is not an analysis of lintian: {error}.")))),
        }
    }

    async fn autopkgtest(&self) -> ApiResult<Found<String>> {
        let Some(data) = self.data() else {
            return Ok(Err(Absent("The data of this artifact are not those of autopkgtest.".to_owned())));
        };
        let _turn = read::turn().await?;
        let log = match self.find("log", |path| path == "log")? {
            Ok((stored, address)) => stored.text().await?.map(|text| (text, address)),
            Err(absent) => Err(absent),
        };
        let work = move || match &log {
            Ok((text, address)) => autopkgtest::render(&data, Ok((text, address))),
            Err(Absent(why)) => autopkgtest::render(&data, Err(why)),
        };
        rendered(read::blocking(work).await?).map(Ok)
    }

    async fn package(&self) -> ApiResult<Found<String>> {
        let is_package = |path: &str| file::Kind::of(path) == file::Kind::Package;
        let (stored, address) = match self.find("*.deb", is_package)? {
            Ok(found) => found,
            Err(absent) => return Ok(Err(absent)),
        };
        package::view(stored, &address).await
    }

    /// An object in the artifact's data.
    fn field(&self, name: &str) -> Option<&Map<String, Value>> {
        self.artifact.data.get(name)?.as_object()
    }

    /// What is known of packages, and their files, each of which has a view of its own.
    fn control(&self, title: &str, fields: Option<&Map<String, Value>>) -> ApiResult<Found<String>> {
        rendered(source::render(title, fields, self.files, self.base)).map(Ok)
    }
}

/// Where a file of an artifact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    name: String,
    base: String,
    path: String,
}

impl Address {
    /// Of the file with this path in the artifact with this address.
    pub fn new(base: &str, path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Self { name, base: base.to_owned(), path: in_address(path) }
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The page of the file.
    pub fn file(&self) -> String {
        format!("{}file/{}", self.base, self.path)
    }

    /// A line on that page.
    pub fn line(&self, number: usize) -> String {
        format!("{}#L{number}", self.file())
    }

    /// The bytes, to be looked at.
    pub fn raw(&self) -> String {
        format!("{}raw/{}", self.base, self.path)
    }

    /// The bytes, to be saved.
    pub fn download(&self) -> String {
        format!("{}download/{}", self.base, self.path)
    }
}

/// `12 bytes`, `1.5 KiB`, `3.0 GiB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") };
    }
    let mut value = count as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"KiB");
    while value >= 1023.95 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[derive(Template)]
#[template(path = "results/notice.html")]
struct Notice<'a> {
    title: &'a str,
    text: &'a str,
}

fn notice(title: &str, Absent(text): &Absent) -> ApiResult<String> {
    rendered(Notice { title, text }.render())
}

fn rendered(html: askama::Result<String>) -> ApiResult<String> {
    html.map_err(|error| ApiError::Internal(Box::new(error)))
}

#[cfg(test)]
mod tests;
