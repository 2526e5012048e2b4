//! The demo: puts AWS CloudTrail records through the public API of a server and gets a CSV back.
//!
//! It is a client like any other and needs a key with the scopes `schemas:write`, `events:write` and
//! `exports`. Whatever the size of the input, it holds a few batches of it at a time.

pub mod cloudtrail;
pub mod progress;

mod arn;
mod facts;
mod identifiers;
mod ingest;
mod naming;
mod schemas;
mod source;
mod summary;
mod targets;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, anyhow, ensure};

use self::{
    cloudtrail::proto_time,
    ingest::{Ingested, Ingestion},
    progress::{ExportBar, ingestion_bar},
    schemas::Survey,
};
pub use self::{source::Input, summary::Summary};
use crate::{
    client::{Client, explain},
    proto::v1,
};

/// Where a demo goes.
pub struct Demo {
    /// The server, such as `http://127.0.0.1:50051`.
    pub url: String,
    /// The key.
    pub api_key: String,
    /// Whose log takes the events.
    pub organization_id: String,
    /// The CSV file to write.
    pub output: PathBuf,
}

impl Demo {
    /// Registers the schemas, ingests all records, exports them and counts what came back.
    pub async fn run(&self, input: Input) -> Result<Summary> {
        let first_pass = input.clone();
        let survey = tokio::task::spawn_blocking(move || Survey::of(first_pass.open()?));
        let survey = survey.await.context("the reader failed")??;
        let client = Client::connect(&self.url, &self.api_key).await?;
        let versions = register(&client, &survey).await?;
        let actions = versions.len() as u64;

        let started = Instant::now();
        let ingested = self.ingest(&client, &survey, versions, input).await?;
        let seconds_ingest = started.elapsed().as_secs_f64();
        ensure!(ingested.events == survey.events, "the file changed while it was read");

        let started = Instant::now();
        self.export(&client, &survey).await.context("the export failed")?;
        let seconds_export = started.elapsed().as_secs_f64();
        Ok(Summary {
            organization_id: self.organization_id.clone(),
            events: ingested.events,
            duplicates: ingested.duplicates,
            actions,
            rows: self.check_rows(&ingested).await?,
            seconds_ingest,
            seconds_export,
            output: self.output.clone(),
        })
    }

    async fn ingest(
        &self,
        client: &Client,
        survey: &Survey,
        versions: HashMap<String, i32>,
        input: Input,
    ) -> Result<Ingested> {
        let bar = ingestion_bar(survey.events);
        let ingestion = Ingestion {
            client: client.audit_logs(),
            organization_id: self.organization_id.clone(),
            versions,
            name: input.to_string(),
            bar: bar.clone(),
        };
        let ingested = ingestion.run(input).await;
        bar.finish_and_clear();
        ingested
    }

    async fn export(&self, client: &Client, survey: &Survey) -> Result<v1::Export> {
        let request = v1::CreateExportRequest {
            organization_id: self.organization_id.clone(),
            range_start: Some(proto_time(survey.range.0)),
            range_end: Some(proto_time(survey.range.1)),
            ..Default::default()
        };
        let bar = ExportBar::new();
        let export = client.export(request, &self.output, |export| bar.update(export)).await;
        bar.finish();
        export
    }

    /// The number of rows in the file, which must be that of the events.
    async fn check_rows(&self, ingested: &Ingested) -> Result<u64> {
        let path = self.output.clone();
        let counted = tokio::task::spawn_blocking(move || count_rows(&path));
        let rows = counted.await.context("the reader failed")??;
        ensure!(
            rows == ingested.distinct,
            "{} has {rows} rows, but {} events were acknowledged; has {} other events of that time?",
            self.output.display(),
            ingested.distinct,
            self.organization_id
        );
        Ok(rows)
    }
}

/// Registers the schemas and returns the version of each action's.
async fn register(client: &Client, survey: &Survey) -> Result<HashMap<String, i32>> {
    let mut versions = HashMap::new();
    for request in survey.schemas() {
        let action = request.action_name.clone();
        let response = client.audit_logs().create_action_schema(request).await;
        let response = response.map_err(|status| {
            anyhow!("the server refused the schema of {action}: {}", explain(&status))
        })?;
        let schema = response.into_inner().schema;
        versions.insert(action, schema.context("the server sent no schema")?.version);
    }
    Ok(versions)
}

/// Counts with a CSV reader, because a cell may hold line breaks.
fn count_rows(path: &Path) -> Result<u64> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut reader = csv::Reader::from_path(path).with_context(unreadable)?;
    let (mut rows, mut row) = (0, csv::ByteRecord::new());
    while reader.read_byte_record(&mut row).with_context(unreadable)? {
        rows += 1;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_may_span_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a,b\r\n1,\"x\ny\"\r\n2,z\r\n").unwrap();
        assert_eq!(count_rows(file.path()).unwrap(), 2);
        std::fs::write(file.path(), "a,b\r\n1\r\n").unwrap();
        assert!(count_rows(file.path()).is_err());
    }
}
