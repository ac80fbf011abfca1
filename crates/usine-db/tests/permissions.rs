//! Each predicate says the same of a row in memory as of a table in a query: in worlds that change at random, for everybody
//! who may ask. The seed is fixed, so that a world that fails can be made again.

mod farm;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use farm::{Farm, stories};
use sea_orm::{EntityTrait, JoinType, QueryFilter, QuerySelect, RelationTrait, Select};
use serde_json::json;
use strum::IntoEnumIterator;
use support::dice::Dice;
use usine_db::account::User;
use usine_db::artifact::NewArtifact;
use usine_db::entity::{artifact, group, scope, user, work_request, workspace};
use usine_db::tenancy::permission::condition;
use usine_db::tenancy::{Group, NewWorkspace, Scope, Workspace, WorkspaceChanges};
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{ArtifactManager, Database, GroupManager, PermissionManager, ScopeManager, WorkspaceManager};
use usine_model::artifact::ArtifactCategory;
use usine_model::permission::{
    ALL, Actor, ArtifactFacts, Facts, MembershipRole, OwnWorkRequest, PermissionContext, Predicate, Resource,
    ScopeRole, UserFacts, WorkRequestFacts, WorkspaceRole,
};

const ROUNDS: usize = 12;
const CHANGES: usize = 6;

/// Everything that there is, as rows.
struct World<'a> {
    farm: Farm<'a>,
    dice: Dice,
    users: Vec<User>,
    scopes: Vec<Scope>,
    workspaces: Vec<(Workspace, Scope)>,
    groups: Vec<(Group, Scope, Option<Workspace>)>,
    work_requests: Vec<WorkRequestFacts>,
    artifacts: Vec<ArtifactFacts>,
}

impl<'a> World<'a> {
    /// Scopes with workspaces, groups of both, users; each workspace with work requests and artifacts.
    async fn new(db: &'a Database, seed: u64) -> Self {
        let farm = Farm::new(db);
        let mut users = Vec::new();
        for name in ["alice", "bob", "carol", "dave"] {
            users.push(farm.user(name).await);
        }
        let (scopes, workspaces) = (ScopeManager(db), WorkspaceManager(db));
        for name in ["north", "south"] {
            let scope = scopes.create(name, None, Some("Owners"), None, farm.now()).await.unwrap();
            let owners = GroupManager(db).get_group_or_none(&scope, None, "Owners").await.unwrap().unwrap();
            for name in ["one", "two"] {
                let new = NewWorkspace { name, public: false, default_expiration_delay: 0 };
                let workspace = workspaces.create(&scope, &new, &owners, None, farm.now()).await.unwrap();
                let groups = GroupManager(db);
                groups.create(&scope, Some(&workspace), "Builders", false, None, farm.now()).await.unwrap();
            }
            for name in ["red", "green"] {
                GroupManager(db).create(&scope, None, name, false, None, farm.now()).await.unwrap();
            }
        }
        let mut world = Self {
            farm,
            dice: Dice(seed),
            users,
            scopes: Vec::new(),
            workspaces: Vec::new(),
            groups: Vec::new(),
            work_requests: Vec::new(),
            artifacts: Vec::new(),
        };
        world.read().await;
        for (workspace, _) in world.workspaces.clone() {
            world.fill(&workspace).await;
        }
        world
    }

    /// Work requests of several users, artifacts of work requests and of nobody.
    async fn fill(&mut self, workspace: &Workspace) {
        let db = self.farm.db;
        for _ in 0..2 {
            let by = self.dice.pick(&self.users).id;
            let new = NewWorkRequest::of_worker_task(workspace.id, by, "noop");
            let row = self.farm.work_requests().create(&new, &SchedulerTags::default(), self.farm.now()).await.unwrap();
            for maker in [Some(row.id), None] {
                let new = NewArtifact {
                    category: ArtifactCategory::Test,
                    workspace_id: workspace.id,
                    data: json!({}),
                    files: Vec::new(),
                    created_by: None,
                    created_by_work_request: maker,
                    expiration_delay: None,
                };
                ArtifactManager(db).create(new, self.farm.now()).await.unwrap();
            }
        }
    }

    /// What is in the database now.
    async fn read(&mut self) {
        let db = self.farm.db;
        self.scopes = ScopeManager(db).list().await.unwrap();
        self.workspaces = WorkspaceManager(db).list().await.unwrap();
        self.groups.clear();
        for scope in &self.scopes {
            for (group, workspace, _) in GroupManager(db).list(scope, None).await.unwrap() {
                self.groups.push((group, scope.clone(), workspace));
            }
        }
        let place = |id| {
            let (workspace, scope) = self.workspaces.iter().find(|(workspace, _)| workspace.id == id).unwrap();
            workspace.facts(scope)
        };
        let rows = work_request::Entity::find().all(db.reader()).await.unwrap();
        let facts = rows.iter().map(|row| WorkRequestFacts {
            workspace: place(row.workspace_id),
            id: row.id,
            created_by: row.created_by_id,
        });
        self.work_requests = facts.collect();
        let rows = artifact::Entity::find().all(db.reader()).await.unwrap();
        let facts = rows.iter().map(|row| ArtifactFacts {
            workspace: place(row.workspace_id),
            id: row.id,
            created_by_work_request: row.created_by_work_request_id,
        });
        self.artifacts = facts.collect();
    }

    /// Something becomes public or private; somebody joins or leaves a group; a group gets or loses a role.
    async fn change(&mut self) {
        let (db, now) = (self.farm.db, self.farm.now());
        let (scopes, workspaces, groups) = (ScopeManager(db), WorkspaceManager(db), GroupManager(db));
        let (group, scope, _) = self.dice.pick(&self.groups).clone();
        let user = self.dice.pick(&self.users).clone();
        let here: Vec<_> = self.workspaces.iter().filter(|(_, of)| of.id == scope.id).cloned().collect();
        let (workspace, _) = self.dice.pick(&here).clone();
        match self.dice.roll(12) {
            0 => drop(scopes.update(&scope, None, None, Some(!scope.public), None, now).await.unwrap()),
            1 => {
                let changes = WorkspaceChanges { public: Some(!workspace.public), ..WorkspaceChanges::default() };
                workspaces.update(&workspace, &scope, changes, None, now).await.unwrap();
            }
            2..6 => {
                let role = *self.dice.pick(&MembershipRole::iter().collect::<Vec<_>>());
                groups.add_users(&group, &[user], role, true, None, now).await.unwrap();
            }
            6 => groups.remove_users(&group, &[user], None, now).await.unwrap(),
            7 | 8 => {
                let role = *self.dice.pick(&WorkspaceRole::iter().collect::<Vec<_>>());
                workspaces.grant_role(&workspace, &scope, &group, role, None, now).await.unwrap();
            }
            9 => {
                let role = *self.dice.pick(&ScopeRole::iter().collect::<Vec<_>>());
                scopes.grant_role(&scope, &group, role, None, now).await.unwrap();
            }
            10 => {
                for held in workspaces.list_roles(&workspace).await.unwrap() {
                    workspaces.revoke_role(&workspace, &scope, &held.group, held.role, None, now).await.unwrap();
                }
            }
            _ => {
                for held in scopes.list_roles(&scope).await.unwrap() {
                    scopes.revoke_role(&scope, &held.group, held.role, None, now).await.unwrap();
                }
            }
        }
        self.read().await;
    }

    /// Everybody who may ask, each for themselves and for a work request.
    async fn contexts(&mut self) -> Vec<PermissionContext> {
        let of = |actor| PermissionContext { actor, ..PermissionContext::default() };
        let mut all: Vec<_> =
            [Actor::System, Actor::Anonymous, Actor::Worker, Actor::ExplicitGrantsOnly].map(of).into();
        for user in &self.users {
            all.push(PermissionManager(self.farm.db).context_of(user).await.unwrap());
        }
        for n in 0..all.len() {
            let row = *self.dice.pick(&self.work_requests);
            let inputs = (0..2).map(|_| self.dice.pick(&self.artifacts).id).collect();
            let own = OwnWorkRequest { id: row.id, workspace_id: row.workspace.id, inputs };
            all.push(PermissionContext { work_request: Some(own), ..all[n].clone() });
        }
        all
    }

    /// What there is of a kind, by id.
    fn facts(&self, kind: Resource) -> Vec<(i64, Box<dyn Facts>)> {
        fn boxed<F: Facts + 'static>(id: i64, facts: F) -> (i64, Box<dyn Facts>) {
            (id, Box::new(facts))
        }
        match kind {
            Resource::Scope => self.scopes.iter().map(|scope| boxed(scope.id, scope.facts())).collect(),
            Resource::Workspace => self.workspaces.iter().map(|(row, scope)| boxed(row.id, row.facts(scope))).collect(),
            Resource::WorkRequest => self.work_requests.iter().map(|facts| boxed(facts.id, *facts)).collect(),
            Resource::Artifact => self.artifacts.iter().map(|facts| boxed(facts.id, *facts)).collect(),
            Resource::Group => {
                self.groups.iter().map(|(row, scope, of)| boxed(row.id, row.facts(scope, of.as_ref()))).collect()
            }
            // The system itself is a row, too.
            Resource::User => {
                let system = UserFacts { id: 1 };
                let people = self.users.iter().map(|user| boxed(user.id, UserFacts { id: user.id }));
                people.chain([boxed(1, system)]).collect()
            }
        }
    }
}

/// The ids of the rows that a predicate lets through.
async fn selected(db: &Database, predicate: &Predicate, context: &PermissionContext) -> BTreeSet<i64> {
    let condition = condition(predicate, context);
    macro_rules! ids {
        ($room:ident, $query:expr) => {{
            let query: Select<$room::Entity> = $query;
            let rows = query.filter(condition).all(db.reader()).await.unwrap();
            rows.into_iter().map(|row| row.id).collect()
        }};
    }
    let inner = JoinType::InnerJoin;
    match predicate.resource {
        Resource::Scope => ids!(scope, scope::Entity::find()),
        Resource::Workspace => ids!(workspace, workspace::Entity::find().inner_join(scope::Entity)),
        Resource::WorkRequest => ids!(
            work_request,
            work_request::Entity::find()
                .join(inner, work_request::Relation::Workspace.def())
                .join(inner, workspace::Relation::Scope.def())
        ),
        Resource::Artifact => ids!(
            artifact,
            artifact::Entity::find()
                .join(inner, artifact::Relation::Workspace.def())
                .join(inner, workspace::Relation::Scope.def())
        ),
        Resource::Group => {
            ids!(group, group::Entity::find().left_join(workspace::Entity).inner_join(scope::Entity))
        }
        Resource::User => ids!(user, user::Entity::find()),
    }
}

stories! {
    async fn lists_have_what_may_be_looked_at_one_by_one(db: &Database) {
        let mut world = World::new(db, 20_261_129).await;
        // How often each predicate let a row of somebody other than the system through, and how often not.
        let mut seen: BTreeMap<(String, &str), [usize; 2]> = BTreeMap::new();
        for round in 0..ROUNDS {
            for _ in 0..CHANGES {
                world.change().await;
            }
            for context in world.contexts().await {
                for predicate in ALL {
                    let facts = world.facts(predicate.resource);
                    let allowed = facts.iter().filter(|(_, facts)| predicate.allows(&context, &**facts));
                    let allowed: BTreeSet<i64> = allowed.map(|(id, _)| *id).collect();
                    let listed = selected(db, predicate, &context).await;
                    assert_eq!(listed, allowed, "round {round}: {predicate:?} for {context:?}");
                    if context.actor != Actor::System {
                        let counts = seen.entry((predicate.resource.to_string(), predicate.name)).or_default();
                        counts[0] += allowed.len();
                        counts[1] += facts.len() - allowed.len();
                    }
                }
            }
        }
        assert_eq!(seen.len(), ALL.len());
        for (predicate, [yes, no]) in seen {
            assert!(yes > 0 && no > 0, "the worlds say nothing of {predicate:?}: {yes} allowed, {no} denied");
        }
    }

    async fn the_lists_of_managers_show_what_may_be_displayed(db: &Database) {
        let mut world = World::new(db, 7).await;
        for _ in 0..4 * CHANGES {
            world.change().await;
        }
        for context in world.contexts().await {
            let allowed = |kind: Resource| -> BTreeSet<i64> {
                let predicate = ALL.iter().find(|one| one.resource == kind && one.name == "can_display").unwrap();
                let facts = world.facts(kind);
                facts.iter().filter(|(_, facts)| predicate.allows(&context, &**facts)).map(|(id, _)| *id).collect()
            };
            let scopes = ScopeManager(db).displayable(&context).await.unwrap();
            assert_eq!(scopes.iter().map(|row| row.id).collect::<BTreeSet<_>>(), allowed(Resource::Scope));
            let workspaces = WorkspaceManager(db).displayable(&context, None).await.unwrap();
            assert_eq!(workspaces.iter().map(|row| row.0.id).collect::<BTreeSet<_>>(), allowed(Resource::Workspace));
            let mut groups = BTreeSet::new();
            for scope in &world.scopes {
                let some = WorkspaceManager(db).displayable(&context, Some(scope)).await.unwrap();
                assert!(some.iter().all(|(_, of)| of.id == scope.id));
                groups.extend(GroupManager(db).displayable(&context, scope).await.unwrap().iter().map(|row| row.id));
            }
            assert_eq!(groups, allowed(Resource::Group));
        }
    }
}
