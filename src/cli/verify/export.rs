//! `audit-logs verify export`.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use super::{
    super::server::TrustArguments, Verdict, export_report::Report, keys::KeyArguments, read_text,
};
use crate::{
    client::{fetch_text, manifest_path},
    config::Settings,
    domain::export::{ExportCompression, ExportFormat},
    export::manifest::Manifest,
    verify::{
        TrustedKeys,
        export::{ExportFault, ExportVerifier, Proven, StoredFile},
        keys::{Distrust, ManifestDistrust, Signed},
    },
};

#[derive(Debug, Args)]
#[command(after_help = "\
Proves every line of a JSON Lines export against a signed checkpoint of the log: the event is the one \
that was recorded, at its place. Lines that follow each other without a gap also prove that nothing \
was left out between them; what was selected is what the manifest says, which the log's key signed. A file \
is complete if it has the whole log, or all of --sequences. Make such an export with `audit-logs export --format jsonl`, which writes \
the manifest beside the file.

Exit code: 0 everything is proved, 1 something is not, 2 could not check.

Example:
  audit-logs verify export january.jsonl --public-key 'audit-logs/org_1+c74f20a3+ARpc2QcU...'")]
pub struct Arguments {
    /// The file
    pub(super) file: PathBuf,
    /// The manifest: a file, or a link such as `manifest_url` [default: FILE.manifest.json]
    #[arg(long, value_name = "FILE_OR_URL")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArguments,
    /// A signed checkpoint of the same tree to check against, instead of the one in the manifest
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Fail unless the file has every event from the sequence A to B, both among them
    #[arg(long, value_name = "A..B", value_parser = parse_sequences)]
    pub(super) sequences: Option<(u64, u64)>,
    #[command(flatten)]
    keys: KeyArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Longest line that is read: an event of the greatest size, and much more than its proof.
const LINE_BYTES: u64 = 1_024 * 1_024;

fn parse_sequences(text: &str) -> Result<(u64, u64), String> {
    let range = text.split_once("..").and_then(|(first, last)| {
        Some((first.parse().ok()?, last.parse().ok()?)).filter(|(first, last)| first <= last)
    });
    range.ok_or_else(|| "give the first and the last sequence, such as 0..599".to_owned())
}

/// What a check came to: proved, with the checkpoint; or not, at that line.
pub(super) type Outcome = Result<(Proven, Signed), (Option<u64>, String)>;

pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<Verdict> {
    let name = arguments.file.display();
    let mut file =
        BufReader::new(File::open(&arguments.file).with_context(|| format!("cannot read {name}"))?);
    let is_csv =
        file.fill_buf().with_context(|| format!("cannot read {name}"))?.starts_with(b"id,");
    if is_csv || arguments.file.to_string_lossy().ends_with(".csv.gz") {
        bail!(NO_PROOF);
    }
    let (signed, manifest) = read_manifest(arguments).await?;
    if manifest.format != ExportFormat::JsonLines.as_str() {
        bail!(NO_PROOF);
    }
    let keys = arguments.keys.given_or_own(settings)?;
    let believed = match keys.check_manifest(&signed, &manifest.organization_id) {
        Err(why @ (ManifestDistrust::NotSigned | ManifestDistrust::NoKey(_))) => {
            return Err(why.into());
        }
        Err(why) => Err(why.to_string()),
        Ok(()) => tree(arguments, &manifest, &keys)?,
    };
    let outcome = match believed {
        Ok(tree) => check(file, &manifest, &tree)?.map(|proven| (proven, tree)),
        Err(why) => Err((None, why)),
    };
    let report = Report { arguments, manifest: &manifest, outcome: &outcome };
    if arguments.json {
        println!("{}", report.as_json());
    } else {
        println!("{}", report.as_text());
    }
    Ok(if report.result() == "verified" { Verdict::Verified } else { Verdict::Tampered })
}

const NO_PROOF: &str = "a CSV file has no proofs; export the same with `audit-logs export --format \
                        jsonl` and verify that";

/// The manifest as it was signed and as it is understood.
async fn read_manifest(arguments: &Arguments) -> Result<(Value, Manifest)> {
    let beside = || manifest_path(&arguments.file);
    let path = arguments.manifest.clone().unwrap_or_else(beside);
    let name = path.display().to_string();
    let text = if name.starts_with("http://") || name.starts_with("https://") {
        fetch_text(&name, &arguments.trust.read()?).await?
    } else {
        read_text(&path)
            .with_context(|| "an export is checked against its manifest; name it with --manifest")?
    };
    // A signed link is a credential.
    let name = name.split('?').next().unwrap_or_default();
    let understood = || -> serde_json::Result<_> {
        let signed: Value = serde_json::from_str(&text)?;
        let manifest = serde_json::from_value(signed.clone())?;
        Ok((signed, manifest))
    };
    understood().with_context(|| format!("{name} is no manifest of an export"))
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
