//! Proofs that can be checked offline (C2SP tlog-proof): a leaf's place, the inclusion proof, and
//! the checkpoint that it leads to.

use super::Hash;
use super::encoding::{decimal, from_base64, hash_from_base64, to_base64};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Most hashes of an inclusion proof: one for each level below the root of 2^64 leaves.
const MAX_HASHES: usize = 64;

/// Why a text is no proof.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlogProofError {
    /// It starts in another way.
    #[error("the first line is not {FIRST_LINE}")]
    WrongFirstLine,
    /// The extra data is no base64.
    #[error("the extra data is not base64")]
    BadExtra,
    /// The line with the index is missing, or has no number.
    #[error("there is no line with \"index\" and a decimal number without leading zeros")]
    BadIndex,
    /// A line of the inclusion proof is no hash. Hashes count from 1.
    #[error("hash {0} of the proof is not the base64 of 32 bytes")]
    BadHash(usize),
    /// No tree is so high.
    #[error("the proof has more than {MAX_HASHES} hashes")]
    TooManyHashes,
    /// The text ends before the checkpoint.
    #[error("there is no checkpoint after an empty line")]
    NoCheckpoint,
}

/// A proof as it was read or is to be written. Nothing in it is to be trusted before the
/// checkpoint was opened and the inclusion of the leaf was verified; the extra data never is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Data that the log adds for its verifiers, not covered by any signature.
    pub extra: Option<Vec<u8>>,
    /// Position of the leaf, from 0.
    pub index: u64,
    /// The inclusion proof, from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The signed note of the checkpoint.
    pub checkpoint: String,
}

impl TlogProof {
    /// Reads a proof. The checkpoint is taken as it is; opening it tells whether it is one.
    pub fn parse(text: &str) -> Result<Self, TlogProofError> {
        let rest = text.strip_prefix(FIRST_LINE).and_then(|rest| rest.strip_prefix('\n'));
        let rest = rest.ok_or(TlogProofError::WrongFirstLine)?;
        let (extra, rest) = parse_extra(rest)?;
        let (index, rest) = parse_index(rest)?;
        let (hashes, checkpoint) = parse_hashes(rest)?;
        if checkpoint.is_empty() {
            return Err(TlogProofError::NoCheckpoint);
        }
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;

    fn from_str(text: &str) -> Result<Self, TlogProofError> {
        Self::parse(text)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(formatter, "extra {}", to_base64(extra))?;
        }
        writeln!(formatter, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(formatter, "{}", to_base64(hash))?;
        }
        write!(formatter, "\n{}", self.checkpoint)
    }
}

fn parse_extra(text: &str) -> Result<(Option<Vec<u8>>, &str), TlogProofError> {
    let Some(rest) = text.strip_prefix("extra ") else { return Ok((None, text)) };
    let (encoded, rest) = rest.split_once('\n').ok_or(TlogProofError::BadExtra)?;
    Ok((Some(from_base64(encoded).ok_or(TlogProofError::BadExtra)?), rest))
}

fn parse_index(text: &str) -> Result<(u64, &str), TlogProofError> {
    text.strip_prefix("index ")
        .and_then(|rest| rest.split_once('\n'))
        .and_then(|(number, rest)| Some((decimal(number)?, rest)))
        .ok_or(TlogProofError::BadIndex)
}

/// The hashes up to an empty line, and what follows that line.
fn parse_hashes(mut text: &str) -> Result<(Vec<Hash>, &str), TlogProofError> {
    let mut hashes = Vec::new();
    loop {
        let (line, rest) = text.split_once('\n').ok_or(TlogProofError::NoCheckpoint)?;
        text = rest;
        if line.is_empty() {
            return Ok((hashes, text));
        }
        if hashes.len() == MAX_HASHES {
            return Err(TlogProofError::TooManyHashes);
        }
        hashes.push(hash_from_base64(line).ok_or(TlogProofError::BadHash(hashes.len() + 1))?);
    }
}
