//! Inputs that follow from others by relations.

mod app;
#[path = "../../usine-db/tests/support/mod.rs"]
mod support;

use app::{App, noon, stories};
use sea_orm::{ActiveModelTrait, NotSet, Set};
use serde_json::{Value, json};
use usine_db::ArtifactManager;
use usine_db::artifact::NewArtifact;
use usine_db::entity::workspace;
use usine_model::artifact::{ArtifactCategory, RelationType};
use usine_server::requirements::derive;
use usine_tasks::{Derived, ResolvedArtifact};

use ArtifactCategory::{BinaryPackage, SigningInput, SigningOutput};

/// From signatures to what was signed, and on to the packages that it came from.
const DERIVED: Derived = Derived {
    field: "binaries",
    from: "input.signed_artifacts",
    steps: &[(RelationType::RelatesTo, SigningInput), (RelationType::RelatesTo, BinaryPackage)],
};

async fn artifact(app: &App, category: ArtifactCategory, workspace_id: i64) -> i64 {
    let data = match category {
        BinaryPackage => {
            json!({"srcpkg_name": "a", "srcpkg_version": "1", "deb_fields": {}, "deb_control_files": []})
        }
        SigningOutput => json!({"purpose": "uefi", "fingerprint": "0", "results": []}),
        _ => json!({}),
    };
    let new = NewArtifact {
        category,
        workspace_id,
        data,
        files: Vec::new(),
        created_by: None,
        created_by_work_request: None,
        expiration_delay: None,
    };
    ArtifactManager(&app.state.database).create(new, noon()).await.unwrap().id
}

async fn relate(app: &App, from: i64, to: i64, relation_type: RelationType) {
    ArtifactManager(&app.state.database).relate(from, to, relation_type).await.unwrap();
}

async fn other_workspace(app: &App) -> workspace::Model {
    let row = workspace::ActiveModel {
        id: NotSet,
        scope_id: Set(1),
        name: Set("other".to_owned()),
        public: Set(true),
        default_expiration_delay: Set(0),
        expiration_delay: Set(None),
        created_at: Set(noon()),
        description: Set(String::new()),
        ..Default::default()
    };
    row.insert(app.state.database.reader()).await.unwrap()
}

fn resolved(id: i64) -> ResolvedArtifact {
    let data = Value::Null;
    ResolvedArtifact { id, category: SigningOutput, data, workspace: "System".to_owned(), lookup: json!(id) }
}

stories! {
    /// The artifacts of all steps, each once, by id; other relations, categories and workspaces lead nowhere.
    async fn relations_are_followed_step_by_step(app: App) {
        let database = &app.state.database;
        let (system, _) = usine_db::WorkspaceManager(database).get(1).await.unwrap();
        let other = other_workspace(&app).await;
        let late = artifact(&app, BinaryPackage, 1).await;
        let outputs = [artifact(&app, SigningOutput, 1).await, artifact(&app, SigningOutput, 1).await];
        let input = artifact(&app, SigningInput, 1).await;
        let early = artifact(&app, BinaryPackage, 1).await;
        let (unrelated, test) = (artifact(&app, SigningInput, 1).await, artifact(&app, ArtifactCategory::Test, 1).await);
        let hidden = artifact(&app, BinaryPackage, other.id).await;
        for output in outputs {
            relate(&app, output, input, RelationType::RelatesTo).await;
        }
        // Not a signing-input: not a step.
        relate(&app, outputs[0], early, RelationType::RelatesTo).await;
        relate(&app, outputs[0], unrelated, RelationType::Extends).await;
        for package in [early, late, hidden, test] {
            relate(&app, input, package, RelationType::RelatesTo).await;
        }

        let found = derive(database, &DERIVED, &outputs.map(resolved), &system).await.unwrap();
        let found: Vec<_> = found.iter().map(|artifact| (artifact.id, artifact.category)).collect();
        assert_eq!(found, [(late, BinaryPackage), (input, SigningInput), (early, BinaryPackage)]);
        let found = derive(database, &DERIVED, &outputs.map(resolved), &other).await.unwrap();
        assert_eq!(found, vec![], "the way leads through another workspace");
        assert_eq!(derive(database, &DERIVED, &[], &system).await.unwrap(), vec![]);
        app.end().await;
    }
}
