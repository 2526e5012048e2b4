//! `audit-logs verify receipt`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use super::{Verdict, keys::KeyArguments, read_text};
use crate::{
    config::Settings,
    verify::receipt::{Proven, Receipt, Unproven, read},
};

#[derive(Debug, Args)]
#[command(after_help = "\
A receipt proves that an event is in its organization's log, at its place and unchanged, to anybody \
who has the log's public key; neither the service nor its database is needed. Ask for receipts with \
\"receipt\": true in CreateEvent or BatchCreateEvents, and keep what grpcurl prints.

Exit code: 0 every receipt proves its event, 1 one does not, 2 could not check.

Example:
  audit-logs verify receipt receipt.json --public-key 'audit-logs/org_1+c74f20a3+ARpc2QcU...'")]
pub struct Arguments {
    /// A file with one or more receipts or responses in JSON; `-` for standard input
    file: PathBuf,
    #[command(flatten)]
    keys: KeyArguments,
    /// Print one JSON object per receipt
    #[arg(long)]
    json: bool,
}

pub fn run(settings: &Settings, arguments: &Arguments) -> Result<Verdict> {
    let name = arguments.file.display();
    let text = read_text(&arguments.file)?;
    let receipts = read(&text).with_context(|| format!("{name} has no receipts"))?;
    let keys = arguments.keys.given_or_own(settings)?;
    let mut worst = Verdict::Verified;
    for receipt in &receipts {
        let checked = receipt.check(&keys);
        worst = worst.and(verdict(&checked));
        if arguments.json {
            println!("{}", as_json(receipt, &checked));
        } else {
            println!("{}", as_text(receipt, &checked));
        }
    }
    Ok(worst)
}

fn verdict(checked: &Result<Proven, Unproven>) -> Verdict {
    match checked {
        Ok(_) => Verdict::Verified,
        Err(unproven) if unproven.lacks_key() => Verdict::Unchecked,
        Err(_) => Verdict::Tampered,
    }
}

fn as_text(receipt: &Receipt, checked: &Result<Proven, Unproven>) -> String {
    let (id, sequence) = (&receipt.event_id, receipt.sequence);
    match checked {
        Ok(Proven { organization_id, tree, .. }) => format!(
            "verified: {id} is event {sequence} of {organization_id}, in the tree of {} events \
             signed by {}",
            tree.checkpoint.size, tree.signer
        ),
        Err(unproven) if unproven.lacks_key() => {
            format!("could not check: {id}, event {sequence}: {unproven}")
        }
        Err(unproven) => format!("TAMPERED: {id}, event {sequence}: {unproven}"),
    }
}

fn as_json(receipt: &Receipt, checked: &Result<Proven, Unproven>) -> Value {
    let mut told = json!({
        "result": match verdict(checked) {
            Verdict::Verified => "verified",
            Verdict::Unchecked => "unchecked",
            Verdict::Tampered => "tampered",
        },
        "event_id": receipt.event_id,
        "organization_id": receipt.organization(),
        "sequence": receipt.sequence,
    });
    match checked {
        Ok(Proven { tree, .. }) => {
            told["origin"] = json!(tree.checkpoint.origin);
            told["tree_size"] = json!(tree.checkpoint.size);
            told["root_hash"] = json!(hex::encode(tree.checkpoint.root));
            told["signed_by"] = json!(tree.signer);
        }
        Err(unproven) => told["reason"] = json!(unproven.to_string()),
    }
    told
}
