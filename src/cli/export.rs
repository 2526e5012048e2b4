//! `audit-logs export`: from a running service to a file.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use super::{
    server::ServerArguments,
    times::{parse_time, proto_time},
};
use crate::{
    client::Client,
    demo::progress::ExportBar,
    domain::timestamp::Timestamp,
    proto::v1::{CreateExportRequest, ExportCompression, ExportFormat},
};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  audit-logs export --organization org_1 --from 2026-01-01 \
                        --to 2026-02-01 --output january.csv")]
pub struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// An API key with the scope `exports`
    #[arg(long, env = "AUDIT_LOGS_API_KEY", hide_env_values = true)]
    api_key: String,
    /// The organization whose log is exported
    #[arg(long)]
    organization: String,
    /// Earliest time of an event, inclusive: RFC 3339, or a date (its start, in UTC)
    #[arg(long, value_parser = parse_time)]
    from: Timestamp,
    /// Latest time of an event, inclusive
    #[arg(long, value_parser = parse_time)]
    to: Timestamp,
    /// Only these actions, separated by commas
    #[arg(long, value_delimiter = ',')]
    actions: Vec<String>,
    /// Only these actors, by id, separated by commas
    #[arg(long, value_delimiter = ',')]
    actor_ids: Vec<String>,
    /// Only these target types, separated by commas
    #[arg(long, value_delimiter = ',')]
    target_types: Vec<String>,
    /// How to write the file: `csv`, or `jsonl`, which `audit-logs verify export` can prove; then its
    /// manifest is written beside it, as FILE.manifest.json
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Compress the file with gzip. `audit-logs verify export` reads it as it is
    #[arg(long)]
    gzip: bool,
    /// The file to write [default: audit-logs.csv, or as the format and --gzip have it]
    #[arg(long, short)]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

impl Arguments {
    fn output(&self) -> PathBuf {
        let name = match self.format {
            Format::Csv => "audit-logs.csv",
            Format::Jsonl => "audit-logs.jsonl",
        };
        let suffix = if self.gzip { ".gz" } else { "" };
        self.output.clone().unwrap_or_else(|| format!("{name}{suffix}").into())
    }
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let output = arguments.output();
    let to = arguments.server;
    let client = Client::connect_with(&to.server, &arguments.api_key, &to.trust.read()?).await?;
    let request = CreateExportRequest {
        organization_id: arguments.organization,
        range_start: Some(proto_time(arguments.from)),
        range_end: Some(proto_time(arguments.to)),
        actions: arguments.actions,
        actor_ids: arguments.actor_ids,
        target_types: arguments.target_types,
        format: match arguments.format {
            Format::Csv => ExportFormat::Csv.into(),
            Format::Jsonl => ExportFormat::JsonLines.into(),
        },
        compression: if arguments.gzip {
            ExportCompression::Gzip.into()
        } else {
            ExportCompression::None.into()
        },
        ..Default::default()
    };
    let bar = ExportBar::new();
    let export = client.export(request, &output, |export| bar.update(export)).await;
    bar.finish();
    let export = export.context("the export failed")?;
    let path = output.display();
    println!("{} events, {} bytes: {path}", export.rows_written, export.bytes_written);
    Ok(())
}
