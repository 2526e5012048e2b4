//! Receipts that were given before a disaster must hold after it.

use std::{collections::BTreeMap, sync::Mutex};

use audit_logs::{
    merkle::{Checkpoint, Note, TlogProof},
    proto::v1::Receipt,
};

use crate::program::{process::Program, verify::receipt::as_json};

/// The receipts of one scenario.
#[derive(Default)]
pub struct Receipts(Mutex<Vec<Receipt>>);

impl Receipts {
    /// Keeps one.
    pub fn keep(&self, receipt: Receipt) {
        self.0.lock().unwrap().push(receipt);
    }

    /// Has every receipt checked, and the database against the last checkpoint that was given of each
    /// log. Returns how many receipts there are.
    pub async fn check(&self, program: &Program) -> usize {
        let receipts = std::mem::take(&mut *self.0.lock().unwrap());
        let lines: Vec<_> = receipts.iter().map(|receipt| as_json(receipt).to_string()).collect();
        let mut newest: BTreeMap<String, (u64, String)> = BTreeMap::new();
        for receipt in &receipts {
            let checkpoint = TlogProof::parse(&receipt.tlog_proof).unwrap().checkpoint;
            let parsed = Checkpoint::parse(Note::parse(&checkpoint).unwrap().text()).unwrap();
            let entry = newest.entry(parsed.origin).or_default();
            if parsed.size > entry.0 {
                *entry = (parsed.size, checkpoint);
            }
        }
        let mut arguments = vec!["verify".to_owned(), "database".to_owned()];
        for (index, (_, checkpoint)) in newest.values().enumerate() {
            let name = format!("checkpoint-{index}");
            std::fs::write(program.path(&name), checkpoint).unwrap();
            arguments.extend(["--since".to_owned(), name]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        program.run(&arguments).await.expect_success();
        if !lines.is_empty() {
            std::fs::write(program.path("receipts.jsonl"), lines.join("\n")).unwrap();
            program.run(&["verify", "receipt", "receipts.jsonl"]).await.expect_success();
        }
        lines.len()
    }
}
