//! Actions and the versions of their schemas.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};

use super::{
    error::{Error, Kind, Result},
    not_found, permit,
    system_log::{SystemEvent, SystemLog},
    to_its_end, unknown_cursor,
};
use crate::{
    domain::{
        action_schema::{Action, ActionSchema, SchemaDefinition},
        caller::Caller,
        clock::Clock,
        event_draft::check_action_name,
        ids::{ActionCursor, EnvironmentId},
        page::{Page, PageDraft},
        permissions::Operation,
        schema_check::CompiledSchema,
        violation::Violations,
    },
    store::{NewSchema, Store},
};

/// Most bytes of compiled schemas that are kept, as they are estimated.
const COMPILED_BYTES: u64 = 128 * 1_024 * 1_024;
/// Estimate of the bytes that a schema takes, and each of its patterns.
const SCHEMA_BYTES: usize = 16 * 1_024;
const PATTERN_BYTES: usize = 256 * 1_024;

type SchemaKey = (EnvironmentId, String, u32);

/// How many schemas a deployment may well have; only a hint.
const COMMON_SCHEMAS: usize = 1_000;

/// Weighs compiled schemas by the bytes that they are estimated to take.
#[derive(Debug, Clone)]
struct EstimatedBytes;

impl Weighter<SchemaKey, (Arc<CompiledSchema>, u64)> for EstimatedBytes {
    fn weight(&self, _: &SchemaKey, (_, bytes): &(Arc<CompiledSchema>, u64)) -> u64 {
        *bytes
    }
}

/// Manages actions and schemas.
#[derive(Clone)]
pub struct Schemas {
    store: Store,
    clock: Arc<dyn Clock>,
    system_log: SystemLog,
    /// A version never changes, so what is here is never out of date, on any replica.
    compiled: Arc<Cache<SchemaKey, (Arc<CompiledSchema>, u64), EstimatedBytes>>,
}

/// What is known of an action's version.
pub(super) enum Lookup {
    /// It has this schema.
    Schema(Arc<CompiledSchema>),
    /// The action exists, but not the version.
    UnknownVersion,
    /// There is no such action.
    UnknownAction,
}

/// Prefix of the cursors in the list of an action's schema versions.
const SCHEMA_CURSOR: &str = "als_";

/// The cursor of a schema version.
pub fn schema_cursor(schema: &ActionSchema) -> String {
    schema_cursor_of(schema.version)
}

fn schema_cursor_of(version: u32) -> String {
    format!("{SCHEMA_CURSOR}{version:010}")
}

fn parse_schema_cursor(cursor: &str) -> Option<u32> {
    let version = cursor.strip_prefix(SCHEMA_CURSOR)?.parse().ok()?;
    (schema_cursor_of(version) == cursor).then_some(version)
}

impl Schemas {
    /// Schemas are kept in `store`; changes are recorded in `system_log`.
    pub fn new(store: Store, clock: Arc<dyn Clock>, system_log: SystemLog) -> Self {
        let compiled = Cache::with_weighter(COMMON_SCHEMAS, COMPILED_BYTES, EstimatedBytes);
        Self { store, clock, system_log, compiled: Arc::new(compiled) }
    }

    /// Creates a version of an action's schema, unless the newest is equal. Returns the newest
    /// version and whether it was created.
    pub async fn create(
        &self,
        caller: &Caller,
        action_name: &str,
        definition: SchemaDefinition,
    ) -> Result<(ActionSchema, bool)> {
        permit(caller, Operation::CreateActionSchema)?;
        let definition = definition.validate(action_name)?;
        let fingerprint = definition.fingerprint();
        let fingerprint = fingerprint.map_err(|error| Error::Internal(error.to_string()))?;
        let now = self.clock.now();
        let cursor = ActionCursor::generate(now, &mut rand::rng());
        let (this, caller, action_name) = (self.clone(), caller.clone(), action_name.to_owned());
        to_its_end(async move {
            let (action_name, definition) = (&*action_name, &definition);
            let new = NewSchema { action_name, definition, fingerprint, cursor, now };
            let (schema, created) = this.store.put_schema(&caller.environment, &new).await?;
            if created {
                let done = SystemEvent::by(&caller, "action_schema.created")
                    .on("action", action_name)
                    .with("version", schema.version);
                this.system_log.record(done).await;
            }
            Ok((schema, created))
        })
        .await
    }

    /// The compiled schema of an action's version.
    pub(super) async fn lookup(
        &self,
        environment: &EnvironmentId,
        action: &str,
        version: u32,
    ) -> Result<Lookup> {
        let key = (environment.clone(), action.to_owned(), version);
        if let Some((compiled, _)) = self.compiled.get(&key) {
            return Ok(Lookup::Schema(compiled));
        }
        let Some(schema) = self.store.get_schema(environment, action, version).await? else {
            let exists = self.store.action_exists(environment, action).await?;
            return Ok(if exists { Lookup::UnknownVersion } else { Lookup::UnknownAction });
        };
        let compiled = CompiledSchema::compile(&schema.definition).map_err(Error::Internal)?;
        let compiled = Arc::new(compiled);
        let bytes = SCHEMA_BYTES + PATTERN_BYTES * schema.definition.patterns();
        self.compiled.insert(key, (compiled.clone(), bytes as u64));
        Ok(Lookup::Schema(compiled))
    }

    /// Lists the environment's actions, each with its cursor.
    pub async fn list_actions(
        &self,
        caller: &Caller,
        page: PageDraft,
    ) -> Result<Page<(ActionCursor, Action)>> {
        permit(caller, Operation::ListActions)?;
        let page = page.validate()?;
        if let Some(cursor) = page.cursor_text()
            && !self.store.action_cursor_exists(&caller.environment, cursor).await?
        {
            return Err(unknown_cursor(&page));
        }
        Ok(self.store.list_actions(&caller.environment, &page).await?)
    }

    /// Lists the versions of an action's schema.
    pub async fn list_schemas(
        &self,
        caller: &Caller,
        action: &str,
        page: PageDraft,
    ) -> Result<Page<ActionSchema>> {
        permit(caller, Operation::ListActionSchemas)?;
        let mut violations = Violations::default();
        check_action_name("action_name", action, &mut violations);
        let page = page.check(&mut violations);
        violations.into_result(())?;
        let environment = &caller.environment;
        if !self.store.action_exists(environment, action).await? {
            return Err(not_found(Kind::Action, "action_name", action));
        }
        let unknown = unknown_cursor(&page);
        let parse = |cursor: String| parse_schema_cursor(&cursor).ok_or(());
        let Ok(page) = page.map_cursor(parse) else { return Err(unknown) };
        if let Some(version) = page.cursor_key()
            && self.store.get_schema(environment, action, *version).await?.is_none()
        {
            return Err(unknown);
        }
        Ok(self.store.list_schemas(environment, action, &page).await?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursors_parse_only_as_they_were_made(version: u32, text in "\\PC*") {
            prop_assert_eq!(parse_schema_cursor(&format!("als_{version:010}")), Some(version));
            if let Some(version) = parse_schema_cursor(&text) {
                prop_assert_eq!(text, format!("als_{version:010}"));
            }
        }
    }
}
