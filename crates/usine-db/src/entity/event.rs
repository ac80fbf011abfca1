//! What happened, written in the transaction that made it happen.

use sea_orm::NotSet;
use sea_orm::entity::prelude::*;
use usine_model::event::EventKind;

use crate::Text;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// When.
    pub created_at: DateTimeUtc,
    /// What.
    pub kind: Text<EventKind>,
    /// Which work request it concerns.
    pub work_request_id: Option<i64>,
    /// Which worker it concerns.
    pub worker_id: Option<i64>,
    /// Who did it, if a person did.
    pub user_id: Option<i64>,
    /// More about it.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub detail: Option<Json>,
    /// The life of the server that wrote it.
    pub origin: Option<i64>,
}

/// None.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// An event that is about to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    /// When.
    pub(crate) at: DateTimeUtc,
    /// What.
    pub(crate) kind: EventKind,
    /// Which work request it concerns.
    pub(crate) work_request_id: Option<i64>,
    /// Which worker it concerns.
    pub(crate) worker_id: Option<i64>,
    /// Who did it, if a person did.
    pub(crate) user_id: Option<i64>,
    /// More about it.
    pub(crate) detail: Option<Json>,
}

impl NewEvent {
    /// Something happened to a work request.
    pub(crate) fn of_work_request(kind: EventKind, work_request: i64, worker: Option<i64>, at: DateTimeUtc) -> Self {
        Self { at, kind, work_request_id: Some(work_request), worker_id: worker, user_id: None, detail: None }
    }

    /// Something happened to a worker.
    pub(crate) fn of_worker(kind: EventKind, worker: i64, at: DateTimeUtc) -> Self {
        Self { at, kind, work_request_id: None, worker_id: Some(worker), user_id: None, detail: None }
    }

    /// Adds who did it.
    pub(crate) fn by(mut self, user: Option<i64>) -> Self {
        self.user_id = user;
        self
    }

    /// Adds more about it.
    pub(crate) fn detail(mut self, detail: Json) -> Self {
        self.detail = Some(detail);
        self
    }
}

impl NewEvent {
    /// The event, once it has its id; `origin` is the life of the server that writes it.
    pub(crate) fn written_as(self, id: i64, origin: Option<i64>) -> Model {
        let Self { at, kind, work_request_id, worker_id, user_id, detail } = self;
        Model { id, created_at: at, kind: Text(kind), work_request_id, worker_id, user_id, detail, origin }
    }

    /// The row to be written.
    pub(crate) fn row(self, origin: Option<i64>) -> ActiveModel {
        let row = ActiveModel::from(self.written_as(0, origin)).reset_all();
        ActiveModel { id: NotSet, ..row }
    }
}
