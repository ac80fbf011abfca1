//! Finding rows whose time has come without reading the others.
//!
//! Rows with the same delay expire in the order in which they were made. So for each delay that exists there is one range
//! of an index that has exactly the expired ones.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Cond, Expr, ExprTrait, Order, Query, SelectStatement};
use sea_orm::{ColumnTrait, EntityName, EntityTrait, FromQueryResult, QueryFilter};
use usine_model::expiry::made_before;

use super::ExpiryManager;
use crate::entity::{artifact, work_request, workspace};
use crate::{Database, Result};

/// Rows of a table that have expired, batch by batch. Something else may keep them all the same.
pub struct Due<'a> {
    database: &'a Database,
    table: &'static str,
    now: DateTime<Utc>,
    /// What is left to look at.
    delays: VecDeque<Delay>,
    /// The last row seen of the first of them.
    after: Option<Row>,
}

/// A delay, of the rows themselves or of their workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delay {
    of_workspace: Option<i64>,
    seconds: i64,
}

#[derive(Debug, Clone, Copy, FromQueryResult)]
struct Row {
    created_at: DateTime<Utc>,
    id: i64,
}

#[derive(FromQueryResult)]
struct Own {
    expiration_delay: i64,
}

impl<'a> ExpiryManager<'a> {
    /// Artifacts that have expired.
    pub async fn due_artifacts(&self, now: DateTime<Utc>) -> Result<Due<'a>> {
        Due::new(self.0, artifact::Entity.table_name(), now).await
    }

    /// Work requests that have expired.
    pub async fn due_work_requests(&self, now: DateTime<Utc>) -> Result<Due<'a>> {
        Due::new(self.0, work_request::Entity.table_name(), now).await
    }
}

impl<'a> Due<'a> {
    async fn new(database: &'a Database, table: &'static str, now: DateTime<Utc>) -> Result<Self> {
        let mut delays = VecDeque::new();
        // Each delay is found by one look into the index, however many rows have it.
        let mut last = None;
        while let Some(own) = Self::next_delay(database, table, last).await? {
            delays.push_back(Delay { of_workspace: None, seconds: own });
            last = Some(own);
        }
        let workspaces = workspace::Entity::find().filter(workspace::Column::DefaultExpirationDelay.ne(0));
        for workspace in workspaces.all(database.reader()).await? {
            let seconds = workspace.default_expiration_delay;
            delays.push_back(Delay { of_workspace: Some(workspace.id), seconds });
        }
        Ok(Self { database, table, now, delays, after: None })
    }

    /// The next expired rows, at most `limit`, by their ids; empty when there are no more.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<i64>> {
        let mut ids = Vec::new();
        while let Some(delay) = self.delays.front().copied()
            && ids.len() < limit
        {
            let wanted = limit - ids.len();
            let rows = match self.statement(delay, wanted) {
                Some(statement) => {
                    let statement = self.database.backend().build(&statement);
                    Row::find_by_statement(statement).all(self.database.reader()).await?
                }
                None => Vec::new(),
            };
            ids.extend(rows.iter().map(|row| row.id));
            self.after = rows.last().copied();
            if rows.len() < wanted {
                self.delays.pop_front();
                self.after = None;
            }
        }
        Ok(ids)
    }

    /// What [`Due::next`] will ask the database, for whoever wants to have it explained.
    pub fn statements(&self) -> Vec<sea_orm::Statement> {
        let statements = self.delays.iter().filter_map(|delay| self.statement(*delay, super::BATCH));
        statements.map(|statement| self.database.backend().build(&statement)).collect()
    }

    fn statement(&self, delay: Delay, limit: usize) -> Option<SelectStatement> {
        let column = |name: &'static str| Expr::col(Alias::new(name));
        let until = made_before(self.now, delay.seconds)?;
        let mut query = Query::select();
        query.columns([Alias::new("created_at"), Alias::new("id")]).from(Alias::new(self.table));
        match delay.of_workspace {
            Some(workspace) => {
                query.and_where(column("workspace_id").eq(workspace)).and_where(column("expiration_delay").is_null())
            }
            None => query.and_where(column("expiration_delay").eq(delay.seconds)),
        };
        query.and_where(column("created_at").lte(until));
        if let Some(after) = self.after {
            let later = Cond::any()
                .add(column("created_at").gt(after.created_at))
                .add(Cond::all().add(column("created_at").eq(after.created_at)).add(column("id").gt(after.id)));
            query.and_where(column("created_at").gte(after.created_at)).cond_where(later);
        }
        query.order_by(Alias::new("created_at"), Order::Asc).order_by(Alias::new("id"), Order::Asc);
        Some(query.limit(limit as u64).to_owned())
    }

    async fn next_delay(database: &Database, table: &str, last: Option<i64>) -> Result<Option<i64>> {
        let delay = || Expr::col(Alias::new("expiration_delay"));
        let mut query = Query::select();
        query.column(Alias::new("expiration_delay")).from(Alias::new(table)).and_where(delay().is_not_null());
        if let Some(last) = last {
            query.and_where(delay().gt(last));
        }
        query.order_by(Alias::new("expiration_delay"), Order::Asc).limit(1);
        let statement = database.backend().build(&query);
        Ok(Own::find_by_statement(statement).one(database.reader()).await?.map(|row| row.expiration_delay))
    }
}
