//! What `audit-logs verify export` says.

use std::fmt::Write;

use serde_json::{Value, json};

use super::export::{Arguments, Outcome};
use crate::{
    export::manifest::Manifest,
    verify::{export::Proven, keys::Signed},
};

/// The result of a check, with what was checked.
pub(super) struct Report<'a> {
    pub arguments: &'a Arguments,
    pub manifest: &'a Manifest,
    pub outcome: &'a Outcome,
}

impl Report<'_> {
    /// `verified`; `incomplete`, if every line is proved but some of the sequences that were asked for are
    /// missing; or `tampered`.
    pub fn result(&self) -> &'static str {
        match self.outcome {
            Ok((proven, tree))
                if self.arguments.sequences.is_none() || self.is_complete(proven, tree) =>
            {
                "verified"
            }
            Ok(_) => "incomplete",
            Err(_) => "tampered",
        }
    }

    /// Whether the file has all that was asked for: the sequences, or the log.
    fn is_complete(&self, proven: &Proven, tree: &Signed) -> bool {
        let size = tree.checkpoint.size;
        match self.arguments.sequences {
            Some(_) => proven.has_wanted,
            None => size > 0 && proven.rows == size,
        }
    }

    /// One line, and one more of what the export selects.
    pub fn as_text(&self) -> String {
        let (name, organization) = (self.arguments.file.display(), &self.manifest.organization_id);
        match self.outcome {
            Ok((proven, tree)) => {
                let result = match self.result() {
                    "incomplete" => "INCOMPLETE",
                    result => result,
                };
                format!(
                    "{result}: {name} has {}; of the log of {organization}, in the tree of {} events \
                     signed by {}\nselected: {}",
                    extent(proven, tree.checkpoint.size),
                    tree.checkpoint.size,
                    tree.signer,
                    self.selection()
                )
            }
            Err((Some(line), why)) => {
                format!("TAMPERED: {name} of {organization}, line {line}: {why}")
            }
            Err((None, why)) => format!("TAMPERED: {name} of {organization}: {why}"),
        }
    }

    /// What the manifest says was selected.
    fn selection(&self) -> String {
        let Manifest { range_start, range_end, filter, .. } = self.manifest;
        let mut told = format!("{range_start} to {range_end}");
        for (what, values) in [
            ("actions", &filter.actions),
            ("actor ids", &filter.actor_ids),
            ("actor names", &filter.actor_names),
            ("target types", &filter.target_types),
            ("target ids", &filter.target_ids),
        ] {
            if !values.is_empty() {
                // Quoted and escaped: they are what somebody sent.
                // Writing into a string does not fail.
                let _ = write!(told, ", {what} {values:?}");
            }
        }
        told
    }

    /// One object.
    pub fn as_json(&self) -> Value {
        let manifest = self.manifest;
        let mut told = json!({
            "result": self.result(),
            "export_id": manifest.export_id,
            "organization_id": manifest.organization_id,
            "range_start": manifest.range_start,
            "range_end": manifest.range_end,
            "filter": manifest.filter,
        });
        match self.outcome {
            Ok((proven, tree)) => {
                let (first, last) = proven.sequences.unzip();
                let size = tree.checkpoint.size;
                told["rows"] = json!(proven.rows);
                told["first_sequence"] = json!(first);
                told["last_sequence"] = json!(last);
                told["before_first"] = json!(first);
                told["left_out"] = json!(proven.left_out);
                told["after_last"] = json!(last.map(|last| size.saturating_sub(last + 1)));
                told["complete"] = json!(self.is_complete(proven, tree));
                told["tree_size"] = json!(size);
                told["signed_by"] = json!(tree.signer);
            }
            Err((line, why)) => {
                told["line"] = json!(line);
                told["reason"] = json!(why);
            }
        }
        told
    }
}

/// What of a log of that size the file has.
fn extent(proven: &Proven, size: u64) -> String {
    let rows = proven.rows;
    let Some((first, last)) = proven.sequences else { return "no events".to_owned() };
    let after = size.saturating_sub(last + 1);
    match proven.left_out {
        0 if (first, after) == (0, 0) => format!(
            "{rows} events, complete from sequence {first} to {last}: nothing between is left out; \
             that is the whole log"
        ),
        0 => format!(
            "{rows} events, all from sequence {first} to {last}: nothing between is left out; {first} \
             before and {after} after them are not in it"
        ),
        out => format!(
            "{rows} events between {first} and {last}; {out} others are left out, and {first} before \
             and {after} after them"
        ),
    }
}
