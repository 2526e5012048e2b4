//! `audit-logs verify database`.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{Verdict, keys::KeyArguments, progress::Progress, read_text};
use crate::{
    config::Settings,
    domain::ids::OrganizationId,
    signing_key,
    store::{Store, StoreOptions},
    verify::{
        DatabaseVerifier, TrustedKeys,
        keys::organization_of,
        log::{LogReport, Witness},
    },
};

#[derive(Debug, Args)]
#[command(after_help = "\
Rebuilds the Merkle tree of every log from its events and holds it against everything that was \
recorded: leaf hashes, tiles, head, searchable columns and signed checkpoints. It only reads, from \
one snapshot for each log, so the service may go on writing.

Who can write to the database can also rebuild the trees in it; only a signed checkpoint shows that. \
Keep one elsewhere from time to time (TransparencyLog.GetCheckpoint) and give it with --since.

Exit code: 0 nothing is wrong, 1 something is (it names organization and first sequence), 2 could not \
check.

Examples:
  audit-logs verify database --data-dir ./data
  audit-logs verify database --database-url postgres://... --organization org_1 --since january.note")]
pub struct Arguments {
    /// Only the log of this organization
    #[arg(long, value_name = "ID")]
    organization: Option<String>,
    /// A signed checkpoint from earlier, which its log must still contain; can be given several times
    #[arg(long, value_name = "FILE")]
    since: Vec<PathBuf>,
    #[command(flatten)]
    keys: KeyArguments,
    /// Print one JSON object per log, and one with the sum
    #[arg(long)]
    json: bool,
}

/// Connections: one reads; the others are for short questions between.
const CONNECTIONS: u32 = 2;

pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<Verdict> {
    let options = StoreOptions { url: settings.database_url(), max_connections: CONNECTIONS };
    let store = Store::connect_read_only(&options).await.context("cannot open the database")?;
    let result = check(settings, arguments, &store).await;
    store.close().await?;
    result
}

async fn check(settings: &Settings, arguments: &Arguments, store: &Store) -> Result<Verdict> {
    store.check_migrated().await.context("run `audit-logs migrate` first")?;
    let keys = keys(settings, arguments, store).await?;
    let mut verifier = DatabaseVerifier::new(store.clone(), keys.clone());
    for path in &arguments.since {
        let (organization, witness) = witness(path, &keys)?;
        if arguments.organization.as_ref().is_some_and(|only| *only != organization.as_str()) {
            bail!("{} is a checkpoint of {organization}", path.display());
        }
        verifier.add_witness(organization, witness);
    }
    let mut sum = Sum::new(arguments.json);
    // What the heads say may be nonsense; then there is no estimate.
    let progress = Progress::new(store.count_logs().await.unwrap_or_default());
    if let Some(only) = &arguments.organization {
        let organization = OrganizationId::from_stored(only);
        if !verifier.knows(&organization).await? {
            bail!("the database has no organization {only}");
        }
        sum.add(&progress, &verifier.check(organization, |events| progress.add(events)).await?);
    } else {
        let mut after = String::new();
        while let Some(organization) = verifier.next_log(&after).await? {
            organization.as_str().clone_into(&mut after);
            sum.add(&progress, &verifier.check(organization, |events| progress.add(events)).await?);
        }
    }
    progress.finish();
    Ok(sum.tell())
}

/// The keys that may sign the checkpoints of this database: those that were given and this machine's own.
/// If none was given, also those that the database lists, which whoever can write to it can add: the
/// standard error says so.
async fn keys(settings: &Settings, arguments: &Arguments, store: &Store) -> Result<TrustedKeys> {
    let mut keys = arguments.keys.given()?;
    let own = signing_key::read(&signing_key::path(settings))?.map(|key| key.public_key());
    if let Some(own) = own {
        keys.add_operator(own);
    }
    if arguments.keys.are_given() {
        return Ok(keys);
    }
    let listed = store.signing_keys().await?.into_iter().map(|key| key.public_key);
    let listed: Vec<_> = listed.filter(|listed| own.is_none_or(|own| own != *listed)).collect();
    if !listed.is_empty() {
        let keys =
            if listed.len() == 1 { "1 key".to_owned() } else { format!("{} keys", listed.len()) };
        eprintln!(
            "Believing {keys} only because the database says so; name those to believe with --public-key."
        );
    }
    for key in listed {
        keys.add_operator(key);
    }
    Ok(keys)
}

fn witness(path: &Path, keys: &TrustedKeys) -> Result<(OrganizationId, Witness)> {
    let name = path.display();
    let signed = keys
        .open_any(&read_text(path)?)
        .with_context(|| format!("{name} is no checkpoint that can be believed"))?;
    let checkpoint = signed.checkpoint;
    let organization = organization_of(&checkpoint.origin)
        .with_context(|| format!("{name} is of {}, which is no log of ours", checkpoint.origin))?;
    let (size, root) = (checkpoint.size, checkpoint.root);
    let witness =
        Witness { size, root, name: format!("the checkpoint of {size} events in {name}") };
    Ok((OrganizationId::from_stored(organization), witness))
}

/// What was found so far.
struct Sum {
    json: bool,
    begun: Instant,
    logs: u64,
    tampered: u64,
    events: u64,
    erased: u64,
    tiles: u64,
    checkpoints: u64,
}

impl Sum {
    fn new(json: bool) -> Self {
        let begun = Instant::now();
        Self { json, begun, logs: 0, tampered: 0, events: 0, erased: 0, tiles: 0, checkpoints: 0 }
    }

    fn add(&mut self, progress: &Progress, report: &LogReport) {
        self.logs += 1;
        self.tampered += u64::from(!report.findings.is_empty());
        self.events += report.events;
        self.erased += report.erased;
        self.tiles += report.tiles;
        self.checkpoints += report.checkpoints;
        if self.json {
            progress.print(&as_json(report).to_string());
        } else {
            for finding in &report.findings {
                progress.print(&format!("TAMPERED {}: {finding}", report.organization));
            }
        }
    }

    /// Prints the sum.
    fn tell(&self) -> Verdict {
        let verdict = if self.tampered == 0 { Verdict::Verified } else { Verdict::Tampered };
        let Self { logs, tampered, events, erased, tiles, checkpoints, .. } = self;
        let seconds = self.begun.elapsed().as_secs_f64();
        if self.json {
            let sum = json!({
                "result": if *tampered == 0 { "verified" } else { "tampered" },
                "logs": logs, "tampered_logs": tampered, "events": events,
                "erased_events": erased, "tiles": tiles, "checkpoints": checkpoints,
                "seconds": seconds,
            });
            println!("{sum}");
            return verdict;
        }
        let erased =
            if *erased > 0 { format!(" ({erased} erased by retention)") } else { String::new() };
        let checked = format!(
            "{events} events{erased}, {tiles} tiles and {checkpoints} checkpoints of {logs} logs in \
             {seconds:.1} s"
        );
        match verdict {
            Verdict::Verified => println!("verified: {checked}"),
            _ => println!("TAMPERED: {tampered} of {logs} logs; checked {checked}"),
        }
        verdict
    }
}

fn as_json(report: &LogReport) -> Value {
    json!({
        "result": if report.findings.is_empty() { "verified" } else { "tampered" },
        "organization_id": report.organization,
        "events": report.events,
        "erased_events": report.erased,
        "tiles": report.tiles,
        "checkpoints": report.checkpoints,
        "findings": report.findings,
    })
}
