//! `audit-logs verify export`.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use flate2::bufread::MultiGzDecoder;
use serde_json::json;

use super::{Verdict, keys::KeyArguments, read_text};
use crate::{
    client::{fetch_text, manifest_path},
    config::Settings,
    domain::export::{ExportCompression, ExportFormat},
    export::manifest::Manifest,
    verify::{
        TrustedKeys,
        export::{ExportFault, ExportVerifier, Proven, StoredFile},
        keys::{Distrust, Signed},
    },
};

#[derive(Debug, Args)]
#[command(after_help = "\
Proves every line of a JSON Lines export against a signed checkpoint of the log: the event is the one \
that was recorded, at its place. Lines that follow each other without a gap also prove that nothing \
was left out between them. Make such an export with `audit-logs export --format jsonl`, which writes \
the manifest beside the file.

Exit code: 0 everything is proved, 1 something is not, 2 could not check.

Example:
  audit-logs verify export january.jsonl --public-key 'audit-logs/org_1+c74f20a3+ARpc2QcU...'")]
pub struct Arguments {
    /// The file
    file: PathBuf,
    /// The manifest: a file, or a link such as `manifest_url` [default: FILE.manifest.json]
    #[arg(long, value_name = "FILE_OR_URL")]
    manifest: Option<PathBuf>,
    /// A signed checkpoint of the same tree to check against, instead of the one in the manifest
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Longest line that is read: an event of the greatest size, and much more than its proof.
const LINE_BYTES: u64 = 1_024 * 1_024;

/// What a check came to: proved, with the checkpoint; or not, at that line.
type Outcome = Result<(Proven, Signed), (Option<u64>, String)>;

pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<Verdict> {
    let name = arguments.file.display();
    let mut file =
        BufReader::new(File::open(&arguments.file).with_context(|| format!("cannot read {name}"))?);
    let is_csv =
        file.fill_buf().with_context(|| format!("cannot read {name}"))?.starts_with(b"id,");
    if is_csv || arguments.file.to_string_lossy().ends_with(".csv.gz") {
        bail!(NO_PROOF);
    }
    let manifest = read_manifest(arguments).await?;
    if manifest.format != ExportFormat::JsonLines.as_str() {
        bail!(NO_PROOF);
    }
    let keys = arguments.keys.given_or_own(settings)?;
    let outcome = match tree(arguments, &manifest, &keys)? {
        Ok(tree) => check(file, &manifest, &tree)?.map(|proven| (proven, tree)),
        Err(why) => Err((None, why)),
    };
    if arguments.json {
        println!("{}", as_json(&manifest, &outcome));
    } else {
        println!("{}", as_text(arguments, &manifest, &outcome));
    }
    Ok(if outcome.is_ok() { Verdict::Verified } else { Verdict::Tampered })
}

const NO_PROOF: &str = "a CSV file has no proofs; export the same with `audit-logs export --format \
                        jsonl` and verify that";

async fn read_manifest(arguments: &Arguments) -> Result<Manifest> {
    let beside = || manifest_path(&arguments.file);
    let path = arguments.manifest.clone().unwrap_or_else(beside);
    let name = path.display().to_string();
    let text = if name.starts_with("http://") || name.starts_with("https://") {
        fetch_text(&name).await?
    } else {
        read_text(&path)
            .with_context(|| "an export is checked against its manifest; name it with --manifest")?
    };
    // A signed link is a credential.
    let name = name.split('?').next().unwrap_or_default();
    serde_json::from_str(&text).with_context(|| format!("{name} is no manifest of an export"))
}

/// The checkpoint to check against; or why none is to be believed.
fn tree(
    arguments: &Arguments,
    manifest: &Manifest,
    keys: &TrustedKeys,
) -> Result<Result<Signed, String>> {
    let (organization, size) = (&manifest.organization_id, manifest.tree_size);
    if let Some(path) = &arguments.checkpoint {
        let name = path.display();
        let signed = keys
            .open(&read_text(path)?, organization)
            .with_context(|| format!("{name} is no checkpoint that can be believed"))?;
        if signed.checkpoint.size != size {
            let given = signed.checkpoint.size;
            bail!("{name} is of {given} events, but the export is from a tree of {size}");
        }
        return Ok(Ok(signed));
    }
    Ok(match keys.open(&manifest.checkpoint, organization) {
        Ok(signed) if signed.checkpoint.size == size => Ok(signed),
        Ok(signed) => Err(format!(
            "the manifest says a tree of {size} events, but its checkpoint is of {}",
            signed.checkpoint.size
        )),
        Err(distrust @ Distrust::NoKey(_)) => return Err(distrust.into()),
        Err(distrust) => Err(format!("the checkpoint in the manifest: {distrust}")),
    })
}

/// Checks every line, and then the whole.
fn check(
    file: impl Read,
    manifest: &Manifest,
    tree: &Signed,
) -> Result<Result<Proven, (Option<u64>, String)>> {
    let mut stored = StoredFile::new(file);
    let mut verifier = ExportVerifier::new(manifest);
    let checked = match ExportCompression::from_name(&manifest.compression) {
        None => bail!("the manifest says a compression that is not known here"),
        Some(ExportCompression::None) => check_lines(BufReader::new(&mut stored), &mut verifier),
        Some(ExportCompression::Gzip) => {
            let unpacked = MultiGzDecoder::new(BufReader::new(&mut stored));
            check_lines(BufReader::new(unpacked), &mut verifier)
        }
    };
    Ok(checked.and_then(|()| {
        let whole = verifier.finish(stored, &tree.checkpoint.root);
        whole.map_err(|fault: ExportFault| (None, fault.to_string()))
    }))
}

fn check_lines(
    mut file: impl BufRead,
    verifier: &mut ExportVerifier<'_>,
) -> Result<(), (Option<u64>, String)> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = file.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line);
        // Whether the disk fails or the compressed form is damaged: the file is not what it was.
        let unreadable = |error| (Some(number), format!("it cannot be read: {error}"));
        if read.map_err(unreadable)? == 0 {
            break;
        }
        verifier.line(&line).map_err(|fault| (Some(number), fault.to_string()))?;
    }
    Ok(())
}

fn as_text(arguments: &Arguments, manifest: &Manifest, outcome: &Outcome) -> String {
    let (name, organization) = (Path::display(&arguments.file), &manifest.organization_id);
    match outcome {
        Ok((proven, tree)) => {
            let extent = match (proven.sequences, proven.left_out) {
                (None, _) => "no events".to_owned(),
                (Some((first, last)), 0) => {
                    let rows = proven.rows;
                    let whole = (first, last + 1) == (0, tree.checkpoint.size);
                    let what = if whole { "; that is the whole log" } else { "" };
                    format!(
                        "{rows} events, complete from sequence {first} to {last}: nothing between is \
                         left out{what}"
                    )
                }
                (Some((first, last)), out) => {
                    let rows = proven.rows;
                    format!("{rows} events between {first} and {last}; {out} others are left out")
                }
            };
            format!(
                "verified: {name} has {extent}; of the log of {organization}, in the tree of {} \
                 events signed by {}",
                tree.checkpoint.size, tree.signer
            )
        }
        Err((Some(line), why)) => format!("TAMPERED: {name} of {organization}, line {line}: {why}"),
        Err((None, why)) => format!("TAMPERED: {name} of {organization}: {why}"),
    }
}

fn as_json(manifest: &Manifest, outcome: &Outcome) -> serde_json::Value {
    let mut told = json!({
        "result": if outcome.is_ok() { "verified" } else { "tampered" },
        "export_id": manifest.export_id,
        "organization_id": manifest.organization_id,
    });
    match outcome {
        Ok((proven, tree)) => {
            let (first, last) = proven.sequences.unzip();
            told["rows"] = json!(proven.rows);
            told["first_sequence"] = json!(first);
            told["last_sequence"] = json!(last);
            told["left_out"] = json!(proven.left_out);
            told["complete"] = json!(proven.left_out == 0);
            told["tree_size"] = json!(tree.checkpoint.size);
            told["signed_by"] = json!(tree.signer);
        }
        Err((line, why)) => {
            told["line"] = json!(line);
            told["reason"] = json!(why);
        }
    }
    told
}
