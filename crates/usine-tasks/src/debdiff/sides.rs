//! The two sides of a comparison. Server and worker say the same of them.

use serde_json::Value;
use usine_model::artifact::{ArtifactCategory, source_name_and_version};

/// Old and new.
pub(super) type Sides<T> = [T; 2];

/// What the artifacts of a side are, and their data.
type Side<'a> = Vec<(ArtifactCategory, &'a Value)>;

/// The source package that all artifacts are, or come from; none if there are several.
pub(super) fn source_name(sides: &Sides<Side<'_>>) -> Option<String> {
    let mut names =
        sides.iter().flatten().map(|(category, data)| source_name_and_version(*category, data).map(|(name, _)| name));
    let first = names.next()??;
    names.all(|name| name.as_ref() == Some(&first)).then_some(first)
}

/// `NAME: OLD → NEW (WHAT)`; none without a single name. The first artifact of a side gives the version.
pub(super) fn parameter_summary(sides: &Sides<Side<'_>>, what: &str) -> Option<String> {
    let name = source_name(sides)?;
    let [old, new] = sides.each_ref().map(|side| side.first().and_then(|(category, data)| version(*category, data)));
    Some(format!("{name}: {} → {} ({what})", old?, new?))
}

/// A binary package's own version, which is not always that of its source.
fn version(category: ArtifactCategory, data: &Value) -> Option<String> {
    match category {
        ArtifactCategory::BinaryPackage => Some(data.get("deb_fields")?.get("Version")?.as_str()?.to_owned()),
        _ => source_name_and_version(category, data)?.1,
    }
}
