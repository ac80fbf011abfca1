//! The rules of artifacts, for what a task makes: nothing goes to the tray that the server would refuse.

use usine_debian::check_artifact;
use usine_model::artifact::imposed_content_type;

use super::{NewArtifact, TaskError};

impl NewArtifact {
    /// Gives files the content types that the category imposes, and checks the artifact against all its rules.
    pub(super) fn follow_rules(&mut self) -> Result<(), TaskError> {
        for (path, file) in &mut self.files {
            if let Some(imposed) = imposed_content_type(self.category, path.as_str()) {
                file.content_type = Some(imposed.to_owned());
            }
        }
        let files = self.files.iter().map(|(path, file)| (path.as_str(), file.path.as_path()));
        check_artifact(self.category, &self.data, files)
            .map_err(|error| TaskError::Other(format!("cannot make a {} artifact: {error}", self.category)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use usine_model::artifact::{ArtifactCategory, Blhc, SigningInput};

    use super::*;

    #[test]
    fn what_a_task_makes_follows_the_rules() {
        let directory = tempfile::tempdir().unwrap();
        let (report, other) = (directory.path().join("blhc.txt"), directory.path().join("other.txt"));
        let made = |path| {
            let artifact = NewArtifact::new(ArtifactCategory::Blhc, &Blhc::default()).unwrap();
            artifact.with_file(path, None).unwrap()
        };
        made(&report).follow_rules().unwrap();
        let text = made(&other).follow_rules().unwrap_err().to_string();
        let expected = "cannot make a debian:blhc artifact: Files required: ['blhc.txt'] Actual: ['other.txt']";
        assert_eq!(text, expected);
        let mut wrong = made(&report);
        wrong.data["colour"] = json!("red");
        let text = wrong.follow_rules().unwrap_err().to_string();
        assert!(text.starts_with("cannot make a debian:blhc artifact: colour: unknown field"), "{text}");
    }

    #[test]
    fn the_category_has_the_last_word_on_content_types() {
        let mut artifact = NewArtifact::new(ArtifactCategory::SigningInput, &SigningInput::default())
            .and_then(|artifact| artifact.with_file(std::path::Path::new("/run/a_1_amd64.changes"), None))
            .unwrap();
        artifact.follow_rules().unwrap();
        let types: Vec<_> = artifact.files.values().map(|file| file.content_type.as_deref()).collect();
        assert_eq!(types, [Some("application/octet-stream")]);
    }
}
