use super::*;
use proptest::prelude::*;

// The example of tlog-checkpoint.
const TEXT: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
";

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: "log.example/a".to_owned(), size: 9, root: [7; 32] }
}

fn keys(name: &str) -> (SigningKey, [VerifierKey; 1]) {
    let key = SigningKey::from_seed([1; 32]);
    let public = VerifierKey::new(name, key.public_key()).unwrap();
    (key, [public])
}

#[test]
fn the_text_is_that_of_the_specification() {
    let checkpoint = Checkpoint::parse(TEXT).unwrap();
    assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size, 20_852_163);
    let root = "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62";
    assert_eq!(checkpoint.root, hash(root));
    assert_eq!(checkpoint.to_text(), TEXT);
    assert_eq!(Checkpoint::parse(&format!("{TEXT}more\nlines\n")), Ok(checkpoint));
}

#[test]
fn only_checkpoints_are_read() {
    let bad_size = |text: &str| CheckpointError::BadSize(text.to_owned());
    for (text, expected) in [
        (String::new(), CheckpointError::BadLines),
        ("a\n1\n".to_owned(), CheckpointError::BadLines),
        (TEXT.trim_end().to_owned(), CheckpointError::BadLines),
        (format!("\n{TEXT}"), CheckpointError::BadLines),
        (format!("{TEXT}\n"), CheckpointError::BadLines),
        (format!("{TEXT}\nmore\n"), CheckpointError::BadLines),
        (TEXT.replace("208", "0208"), bad_size("020852163")),
        (TEXT.replace("208", "+208"), bad_size("+20852163")),
        (TEXT.replace("20852163", "18446744073709551616"), bad_size("18446744073709551616")),
        (
            TEXT.replace("q2I=", "q2J="),
            CheckpointError::BadRoot(TEXT.lines().nth(2).unwrap().replace("q2I=", "q2J=")),
        ),
        ("a\n1\nAAAA\n".to_owned(), CheckpointError::BadRoot("AAAA".to_owned())),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(expected));
    }
}

#[test]
fn a_signed_checkpoint_opens() {
    let (key, keys) = keys("log.example/a");
    let note = checkpoint().sign(&key).unwrap();
    assert_eq!(Checkpoint::open(&note, &keys), Ok(checkpoint()));
    let unknown = CheckpointError::Note(NoteError::NoKnownKey);
    assert_eq!(Checkpoint::open(&note, &[]), Err(unknown));
}

#[test]
fn a_checkpoint_is_opened_by_its_own_log_only() {
    let (key, keys) = keys("log.example/b");
    let note = note::sign(&checkpoint().to_text(), "log.example/b", &key).unwrap();
    let expected = CheckpointError::WrongSigner("log.example/a".to_owned());
    assert_eq!(Checkpoint::open(&note, &keys), Err(expected));
}

#[test]
fn an_origin_that_is_no_key_name_is_not_signed() {
    let (key, _) = keys("a");
    for origin in ["", "a b", "a\n5", "a+b"] {
        let checkpoint = Checkpoint { origin: origin.to_owned(), ..checkpoint() };
        assert_eq!(checkpoint.sign(&key), Err(NoteError::BadKeyName(origin.to_owned())));
    }
}

fn proof() -> TlogProof {
    let checkpoint = checkpoint().sign(&keys("log.example/a").0).unwrap();
    TlogProof { extra: Some(b"salt".to_vec()), index: 5, hashes: leaves(4), checkpoint }
}

#[test]
fn a_proof_has_the_lines_of_the_specification() {
    let text = proof().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..3], ["c2sp.org/tlog-proof@v1", "extra c2FsdA==", "index 5"]);
    assert_eq!(lines[3], encoding::to_base64(&leaf(0)));
    assert_eq!(lines[7..9], ["", "log.example/a"]);
    let short = TlogProof { extra: None, hashes: Vec::new(), ..proof() };
    let expected = format!("c2sp.org/tlog-proof@v1\nindex 5\n\n{}", short.checkpoint);
    assert_eq!(short.to_string(), expected);
    assert_eq!(expected.parse(), Ok(short));
}

#[test]
fn a_text_that_is_no_proof_says_why() {
    let text = proof().to_string();
    let replaced = |from: &str, to: &str| TlogProof::parse(&text.replacen(from, to, 1));
    assert_eq!(TlogProof::parse(""), Err(TlogProofError::WrongFirstLine));
    assert_eq!(replaced("@v1", "@v2"), Err(TlogProofError::WrongFirstLine));
    assert_eq!(replaced("@v1\n", "@v1\r\n"), Err(TlogProofError::WrongFirstLine));
    assert_eq!(replaced("c2FsdA==", "c2FsdA"), Err(TlogProofError::BadExtra));
    assert_eq!(replaced("index 5", "index 05"), Err(TlogProofError::BadIndex));
    assert_eq!(replaced("index 5\n", ""), Err(TlogProofError::BadIndex));
    let second = encoding::to_base64(&leaf(1));
    assert_eq!(replaced(&second, "AAAA"), Err(TlogProofError::BadHash(2)));
    let many = format!("{second}\n").repeat(62);
    assert_eq!(replaced(&format!("{second}\n"), &many), Err(TlogProofError::TooManyHashes));
    let end = text.find("\n\n").unwrap();
    assert_eq!(TlogProof::parse(&text[..=end]), Err(TlogProofError::NoCheckpoint));
    assert_eq!(TlogProof::parse(&text[..end + 2]), Err(TlogProofError::NoCheckpoint));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn checkpoints_survive(origin in "[^\\p{Cc}]{1,30}", size: u64, root: Hash) {
        let checkpoint = Checkpoint { origin, size, root };
        let text = checkpoint.to_text();
        let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
        prop_assert_eq!((theirs.size(), theirs.hash().0), (size, root));
        prop_assert_eq!(Checkpoint::parse(&text), Ok(checkpoint));
    }

    #[test]
    fn a_changed_checkpoint_does_not_open(at: usize, kind: u8, with: char) {
        let (key, keys) = keys("log.example/a");
        let note = checkpoint().sign(&key).unwrap();
        let changed = mutate(&note, at, kind, with);
        prop_assert_eq!(Checkpoint::open(&changed, &keys).is_ok(), changed == note);
    }

    #[test]
    fn proofs_survive(
        extra: Option<Vec<u8>>, index: u64, count in 0u64..=64, checkpoint in "(?s).{1,80}",
    ) {
        let proof = TlogProof { extra, index, hashes: leaves(count), checkpoint };
        prop_assert_eq!(TlogProof::parse(&proof.to_string()), Ok(proof));
    }

    #[test]
    fn a_proof_has_one_text(at: usize, kind: u8, with: char) {
        let changed = mutate(&proof().to_string(), at, kind, with);
        if let Ok(read) = TlogProof::parse(&changed) {
            prop_assert_eq!(read.to_string(), changed);
        }
    }

    #[test]
    fn no_text_makes_us_panic(text in "(?s).{0,80}") {
        let _ = Checkpoint::parse(&text);
        let _ = TlogProof::parse(&text);
        let _ = TlogProof::parse(&format!("c2sp.org/tlog-proof@v1\n{text}"));
        let _ = TlogProof::parse(&format!("c2sp.org/tlog-proof@v1\nindex 1\n{text}"));
    }
}
