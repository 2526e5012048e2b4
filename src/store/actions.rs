//! Actions and the versions of their schemas.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter,
    QuerySelect, Set,
};

use super::{
    Result, Store, StoreError,
    entity::{action, action_schema},
    paging::read_page,
};
use crate::domain::{
    action_schema::{Action, ActionSchema, SchemaDefinition},
    ids::{ActionCursor, EnvironmentId},
    page::{Page, PageRequest},
    timestamp::Timestamp,
};

/// A schema that is to be there afterwards.
#[derive(Debug)]
pub struct NewSchema<'a> {
    /// The action; created if need be.
    pub action_name: &'a str,
    /// The schema, validated.
    pub definition: &'a SchemaDefinition,
    /// Equal for definitions that mean the same.
    pub fingerprint: Vec<u8>,
    /// Place of the action in the list, if it is created.
    pub cursor: ActionCursor,
    /// The time.
    pub now: Timestamp,
}

impl Store {
    /// Makes a schema the newest version of its action, unless the newest is equal. Returns the
    /// newest version and whether it was created. One transaction; callers that race get versions
    /// one after the other.
    pub async fn put_schema(
        &self,
        environment: &EnvironmentId,
        new: &NewSchema<'_>,
    ) -> Result<(ActionSchema, bool)> {
        let transaction = self.begin().await?;
        let action = lock_or_create_action(&transaction, environment, new).await?;
        if action.latest_version > 0 {
            let newest = (environment.as_str(), new.action_name, action.latest_version);
            let id = (newest.0.to_owned(), newest.1.to_owned(), newest.2);
            let row = action_schema::Entity::find_by_id(id).one(&transaction).await?;
            let row = row.ok_or(StoreError::inconsistent("actions", "latest_version"))?;
            if row.fingerprint == new.fingerprint {
                return Ok((schema(&row)?, false));
            }
        }
        let version = action.latest_version + 1;
        let definition = serde_json::to_string(new.definition)
            .map_err(|_| StoreError::inconsistent("action_schemas", "definition"))?;
        let row = action_schema::ActiveModel {
            environment_id: Set(environment.as_str().to_owned()),
            action_name: Set(new.action_name.to_owned()),
            version: Set(version),
            definition: Set(definition),
            fingerprint: Set(new.fingerprint.clone()),
            created_at: Set(new.now.micros()),
        };
        let row = row.insert(&transaction).await?;
        let mut action: action::ActiveModel = action.into();
        action.latest_version = Set(version);
        action.update(&transaction).await?;
        transaction.commit().await?;
        Ok((schema(&row)?, true))
    }

    /// One version of an action's schema.
    pub async fn get_schema(
        &self,
        environment: &EnvironmentId,
        action: &str,
        version: u32,
    ) -> Result<Option<ActionSchema>> {
        let row = action_schema::scoped(environment)
            .filter(action_schema::Column::ActionName.eq(action))
            .filter(action_schema::Column::Version.eq(i64::from(version)))
            .one(self.reader())
            .await?;
        row.as_ref().map(schema).transpose()
    }

    /// Whether the environment has that action.
    pub async fn action_exists(&self, environment: &EnvironmentId, name: &str) -> Result<bool> {
        let query = action::scoped(environment).filter(action::Column::Name.eq(name));
        Ok(query.one(self.reader()).await?.is_some())
    }

    /// Whether the environment has any action.
    pub async fn has_actions(&self, environment: &EnvironmentId) -> Result<bool> {
        Ok(action::scoped(environment).limit(1).one(self.reader()).await?.is_some())
    }

    /// Whether the list of actions has that cursor.
    pub async fn action_cursor_exists(
        &self,
        environment: &EnvironmentId,
        cursor: &str,
    ) -> Result<bool> {
        let query = action::scoped(environment).filter(action::Column::Cursor.eq(cursor));
        Ok(query.one(self.reader()).await?.is_some())
    }

    /// A page of the environment's actions, each with its cursor.
    pub async fn list_actions(
        &self,
        environment: &EnvironmentId,
        request: &PageRequest,
    ) -> Result<Page<(ActionCursor, Action)>> {
        let query = action::scoped(environment);
        let page = read_page(self.reader(), query, action::Column::Cursor, request, |_| 0).await?;
        let newest = page.items.iter().map(|row| {
            Condition::all()
                .add(action_schema::Column::ActionName.eq(row.name.as_str()))
                .add(action_schema::Column::Version.eq(row.latest_version))
        });
        let any = newest.fold(Condition::any(), Condition::add);
        let newest = if any.is_empty() {
            Vec::new()
        } else {
            action_schema::scoped(environment).filter(any).all(self.reader()).await?
        };
        let newest_of =
            |row: &action::Model| newest.iter().find(|schema| schema.action_name == row.name);
        let bytes = |row: &action::Model| newest_of(row).map_or(0, |new| new.definition.len());
        let page = request.bounded(page, bytes);
        page.try_map(|row| {
            let newest =
                newest_of(&row).ok_or(StoreError::inconsistent("actions", "latest_version"))?;
            let created_at = Timestamp::from_micros(row.created_at);
            let action = Action { name: row.name, schema: schema(newest)?, created_at };
            Ok((ActionCursor::from_stored(row.cursor), action))
        })
    }

    /// A page of the versions of an action's schema.
    pub async fn list_schemas(
        &self,
        environment: &EnvironmentId,
        action: &str,
        request: &PageRequest<u32>,
    ) -> Result<Page<ActionSchema>> {
        let query =
            action_schema::scoped(environment).filter(action_schema::Column::ActionName.eq(action));
        let request =
            request.clone().map_cursor(|version| Ok::<_, StoreError>(i64::from(version)))?;
        let size = |row: &action_schema::Model| row.definition.len();
        let version = action_schema::Column::Version;
        let page = read_page(self.reader(), query, version, &request, size).await?;
        page.try_map(|row| schema(&row))
    }
}

/// Returns the row of the action, locked until the transaction ends.
async fn lock_or_create_action(
    transaction: &impl ConnectionTrait,
    environment: &EnvironmentId,
    new: &NewSchema<'_>,
) -> Result<action::Model> {
    let row = action::ActiveModel {
        environment_id: Set(environment.as_str().to_owned()),
        name: Set(new.action_name.to_owned()),
        cursor: Set(new.cursor.as_str().to_owned()),
        latest_version: Set(0),
        created_at: Set(new.now.micros()),
    };
    action::Entity::insert(row)
        .on_conflict_do_nothing()
        .exec_without_returning(transaction)
        .await?;
    let locked = action::scoped(environment)
        .filter(action::Column::Name.eq(new.action_name))
        .lock_exclusive()
        .one(transaction)
        .await?;
    locked.ok_or(StoreError::inconsistent("actions", "name"))
}

fn schema(row: &action_schema::Model) -> Result<ActionSchema> {
    let definition = serde_json::from_str(&row.definition)
        .map_err(|_| StoreError::inconsistent("action_schemas", "definition"))?;
    let version = u32::try_from(row.version)
        .map_err(|_| StoreError::inconsistent("action_schemas", "version"))?;
    Ok(ActionSchema { version, definition, created_at: Timestamp::from_micros(row.created_at) })
}
