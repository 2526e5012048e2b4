//! Reads CloudTrail records, one JSON object a line, plain or gzipped.

use std::{
    fmt,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use flate2::bufread::MultiGzDecoder;

use super::cloudtrail::{self, MappedEvent};

/// The records that the program carries; cloudtrail-sample.LICENSE.md says where they are from.
const SAMPLE: &[u8] = include_bytes!("cloudtrail-sample.ndjson");

/// The first bytes of every gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Longest line, in bytes: a record of CloudTrail has at most 1 MiB. More is no such record, and
/// must not fill the memory.
const LINE_BYTES: u64 = 1_024 * 1_024;

/// Where the records are.
#[derive(Debug, Clone)]
pub enum Input {
    /// In the program.
    Sample,
    /// In a file. It is read twice.
    File(PathBuf),
}

/// A record and where it stood.
#[derive(Debug)]
pub struct Record {
    /// Number of the line, from 1.
    pub line: u64,
    /// What it became.
    pub mapped: MappedEvent,
}

/// Reads records, one at a time.
pub struct Records {
    name: String,
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    line: u64,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sample => f.write_str("the sample"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Input {
    /// Starts to read.
    pub(super) fn open(&self) -> Result<Records> {
        let name = self.to_string();
        match self {
            Self::Sample => Records::new(name, SAMPLE),
            Self::File(path) => {
                let unreadable = || format!("cannot read {self}");
                let file = File::open(path).with_context(unreadable)?;
                let is_file = file.metadata().with_context(unreadable)?.is_file();
                ensure!(is_file, "{self} is no regular file, which can be read twice");
                Records::new(name, file).with_context(unreadable)
            }
        }
    }
}

impl Records {
    fn new(name: String, source: impl Read + Send + 'static) -> Result<Self> {
        let mut source = BufReader::new(source);
        // What it is, not what it is called.
        let gzipped = source.fill_buf()?.starts_with(&GZIP);
        let reader: Box<dyn BufRead + Send> = if gzipped {
            Box::new(BufReader::new(MultiGzDecoder::new(source)))
        } else {
            Box::new(source)
        };
        Ok(Self { name, reader, buffer: Vec::new(), line: 0 })
    }

    /// What is read.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next line that is not blank, in the buffer; false at the end.
    fn read_line(&mut self) -> Result<bool> {
        loop {
            self.buffer.clear();
            let mut limited = self.reader.by_ref().take(LINE_BYTES + 1);
            limited.read_until(b'\n', &mut self.buffer).context("cannot be read")?;
            if self.buffer.trim_ascii().starts_with(b"{\"Records\"") {
                bail!(
                    "a log file as CloudTrail delivers it, with all records in one object; put \
                     one record on each line first: jq -c '.Records[]' FILE > records.ndjson"
                );
            }
            if self.buffer.len() as u64 > LINE_BYTES {
                bail!("longer than any CloudTrail record ({LINE_BYTES} bytes)");
            }
            if self.buffer.is_empty() || !self.buffer.trim_ascii().is_empty() {
                return Ok(!self.buffer.is_empty());
            }
            self.line += 1;
        }
    }

    fn read(&mut self) -> Result<Option<Record>> {
        if !self.read_line()? {
            return Ok(None);
        }
        let record = serde_json::from_slice(self.buffer.trim_ascii_end())
            .map_err(|error| anyhow!("not JSON (column {})", error.column()))?;
        let mapped = cloudtrail::map(&record)?;
        self.line += 1;
        Ok(Some(Record { line: self.line, mapped }))
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.read();
        record.with_context(|| format!("{}, line {}", self.name, self.line + 1)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use tempfile::NamedTempFile;

    use super::*;

    fn file(bytes: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read(bytes: &[u8]) -> Result<Vec<u64>> {
        let file = file(bytes);
        let records = Input::File(file.path().to_owned()).open()?;
        records.map(|record| Ok(record?.line)).collect()
    }

    /// What is wrong, without the name of the file.
    fn error(bytes: &[u8]) -> String {
        let whole = format!("{:#}", read(bytes).unwrap_err());
        whole.split_once(", ").unwrap().1.to_owned()
    }

    fn first_lines(count: usize) -> Vec<u8> {
        SAMPLE.split_inclusive(|byte| *byte == b'\n').take(count).flatten().copied().collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn reads_plain_and_gzipped_files_whatever_their_names() {
        let plain = first_lines(3);
        assert_eq!(read(&plain).unwrap(), [1, 2, 3]);
        // Joined gzip files are one gzip file.
        let joined = [gzip(&first_lines(1)), gzip(&plain)].concat();
        assert_eq!(read(&joined).unwrap(), [1, 2, 3, 4]);
        assert!(error(&joined[..joined.len() - 20]).starts_with("line 4: cannot be read"));
    }

    #[test]
    fn blank_lines_count_but_hold_nothing() {
        let mut bytes = b"\n \r\n".to_vec();
        bytes.extend(first_lines(1));
        bytes.extend(b"\n");
        assert_eq!(read(&bytes).unwrap(), [3]);
        assert!(read(b"").unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_line() {
        let then = |line: &[u8]| error(&[first_lines(2).as_slice(), line].concat());
        assert_eq!(then(b"{\"eventID\": 1\n"), "line 3: not JSON (column 13)");
        assert_eq!(then(b"{}"), "line 3: not a CloudTrail record: it has no eventID");
        assert_eq!(then(b"[]"), "line 3: a CloudTrail record is a JSON object");
        assert!(then(b"\xff").starts_with("line 3: not JSON"));
        assert!(then(b"{\"Records\":[{}]}").contains("jq -c '.Records[]'"));
        let long = vec![b' '; 1_024 * 1_024 + 2];
        assert!(then(&long).starts_with("line 3: longer than any CloudTrail record"));
    }

    #[test]
    fn only_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let open = |path: PathBuf| Input::File(path).open().err().map(|e| format!("{e:#}"));
        let missing = open(directory.path().join("none")).unwrap();
        assert!(missing.starts_with("cannot read ") && missing.contains("No such file"));
        assert!(open(directory.path().to_owned()).unwrap().contains("no regular file"));
    }
}
