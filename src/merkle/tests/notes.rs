use super::keys::{GO_PRIVATE, GO_PUBLIC};
use super::*;
use note::sign;
use proptest::prelude::*;
use signed_note::{StandardSigner, StandardVerifier, VerifierList};

// The example of signed-note.
const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
";

// The example of the documentation of golang.org/x/mod/sumdb/note.
const GO_TEXT: &str = "If you think cryptography is the answer to your problem,
then you don't know what your problem is.
";
const GO_SIGNATURE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn key() -> VerifierKey {
    VerifierKey::parse(KEY).unwrap()
}

fn named(seed: u8, name: &str) -> (SigningKey, VerifierKey) {
    let key = SigningKey::from_seed([seed; 32]);
    let public = VerifierKey::new(name, key.public_key()).unwrap();
    (key, public)
}

#[test]
fn the_note_of_the_specification_verifies() {
    let note = Note::parse(NOTE).unwrap();
    assert_eq!(note.verify(&[key()]), Ok("This is an example message.\n"));
    assert_eq!(note.signatures()[0].key_id, 0x530d_903a);
}

#[test]
fn we_sign_as_go_does() {
    let key = SigningKey::parse(GO_PRIVATE).unwrap();
    let note = sign(GO_TEXT, "PeterNeumann", &key).unwrap();
    assert_eq!(note, format!("{GO_TEXT}\n{GO_SIGNATURE}"));
    let keys = [GO_PUBLIC.parse().unwrap()];
    assert_eq!(Note::parse(&note).unwrap().verify(&keys), Ok(GO_TEXT));
}

#[test]
fn a_signature_of_an_unknown_key_is_ignored() {
    let (_, same_name) = named(1, "example.com/foo");
    let mut same_id = key();
    same_id.name = "example.com/bar".to_owned();
    let note = Note::parse(NOTE).unwrap();
    for keys in [vec![], vec![same_name.clone()], vec![same_id.clone()]] {
        assert_eq!(note.verify(&keys), Err(NoteError::NoKnownKey));
    }
    let keys = [same_name, same_id, key()];
    assert_eq!(note.verified_by(&keys), Ok(vec![&keys[2]]));
}

#[test]
fn a_false_signature_of_a_known_key_spoils_the_note() {
    let (signer, public) = named(1, "a");
    let good = sign("one\n", "a", &signer).unwrap();
    let other = sign("two\n", "a", &signer).unwrap();
    let both = format!("{good}{}", other.lines().last().unwrap()) + "\n";
    let spoilt = Err(NoteError::BadSignature { name: "a".to_owned(), key_id: public.key_id() });
    assert_eq!(Note::parse(&both).unwrap().verify(std::slice::from_ref(&public)), spoilt);
    let changed = Note::parse(&good.replace("one", "eno")).unwrap();
    assert_eq!(changed.verify(&[public]), spoilt);
    // One signature holds, and the other is false.
    let both = sign("one\n", "b", &named(2, "b").0).unwrap() + other.lines().last().unwrap() + "\n";
    let keys = [named(2, "b").1, named(1, "a").1];
    assert_eq!(Note::parse(&both).unwrap().verify(&keys), spoilt);
    assert_eq!(Note::parse(&both).unwrap().verify(&keys[..1]), Ok("one\n"));
}

#[test]
fn a_signature_of_another_length_is_false() {
    let mut bytes = key().key_id().to_be_bytes().to_vec();
    bytes.push(0);
    let text = format!("a\n\n— example.com/foo {}\n", encoding::to_base64(&bytes));
    let error = Note::parse(&text).unwrap().verify(&[key()]).unwrap_err();
    assert!(matches!(error, NoteError::BadSignature { .. }));
}

#[test]
fn only_notes_are_read() {
    let line = GO_SIGNATURE;
    for (text, expected) in [
        (String::new(), NoteError::NoSignatures),
        ("a\n".to_owned(), NoteError::NoSignatures),
        ("a\n\n".to_owned(), NoteError::NoSignatures),
        (format!("a\n{line}"), NoteError::NoSignatures),
        (format!("a\t\n\n{line}"), NoteError::ControlCharacter),
        (format!("a\r\n\r\n{line}"), NoteError::ControlCharacter),
        (format!("a\n\n{}", line.trim_end()), NoteError::BadSignatureLine(1)),
        (format!("a\n\n{line}b\n"), NoteError::BadSignatureLine(2)),
        (format!("a\n\n{}", line.replace('—', "-")), NoteError::BadSignatureLine(1)),
        (format!("a\n\n{}", line.replace(' ', "  ")), NoteError::BadSignatureLine(1)),
        (format!("a\n\n{}", line.replace("Peter", "+")), NoteError::BadSignatureLine(1)),
        (format!("a\n\n{}", line.replace("nAM=", "nAN=")), NoteError::BadSignatureLine(1)),
        ("a\n\n— a AAAAAA==\n".to_owned(), NoteError::BadSignatureLine(1)),
        (format!("a\n\n{}", line.repeat(65)), NoteError::TooManySignatures),
        ("a\n".repeat(600_000), NoteError::TooLong(1_200_000)),
    ] {
        assert_eq!(Note::parse(&text), Err(expected), "{text:.99}");
    }
    let most = Note::parse(&format!("a\n\n{}", line.repeat(64))).unwrap();
    assert_eq!(most.signatures().len(), 64);
}

#[test]
fn the_last_empty_line_ends_the_text() {
    let (signer, public) = named(1, "a");
    for text in ["\n", "a\n\nb\n", "a\n\n", "a\n\n\n", "\n\n— a AAAAAAA=\n"] {
        let note = Note::parse(&sign(text, "a", &signer).unwrap()).unwrap();
        assert_eq!(note.verify(std::slice::from_ref(&public)), Ok(text));
    }
}

#[test]
fn only_what_can_be_read_is_signed() {
    let (key, _) = named(1, "a");
    assert_eq!(sign("a", "a", &key), Err(NoteError::UnfinishedText));
    assert_eq!(sign("", "a", &key), Err(NoteError::UnfinishedText));
    assert_eq!(sign("a\0\n", "a", &key), Err(NoteError::ControlCharacter));
    assert_eq!(sign("a\n", "a b", &key), Err(NoteError::BadKeyName("a b".to_owned())));
    let long = sign(&"a\n".repeat(1 << 19), "a", &key);
    assert!(matches!(long, Err(NoteError::TooLong(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn notes_pass_between_us_and_signed_note(seed: [u8; 32], text in "[^\\p{Cc}]{0,40}\n{1,3}") {
        let key = SigningKey::from_seed(seed);
        let public = VerifierKey::new("log.example", key.public_key()).unwrap();
        let ours = sign(&text, "log.example", &key).unwrap();

        let verifier = StandardVerifier::new(&public.to_string()).unwrap();
        let known = VerifierList::new(vec![Box::new(verifier)]);
        let theirs = signed_note::Note::from_bytes(ours.as_bytes()).unwrap();
        prop_assert!(theirs.verify(&known).is_ok());

        let secret = encoding::to_base64(&[&[1], &seed[..]].concat());
        let line = format!("PRIVATE+KEY+log.example+{:08x}+{secret}", public.key_id());
        let mut theirs = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&StandardSigner::new(&line).unwrap()]).unwrap();
        prop_assert_eq!(theirs.to_bytes(), ours.as_bytes());
        prop_assert_eq!(SigningKey::parse(&line).unwrap().public_key(), key.public_key());
        let ours = Note::parse(&ours).unwrap();
        prop_assert_eq!(ours.verify(&[public]), Ok(&*text));
    }

    #[test]
    fn a_changed_note_does_not_verify(at: usize, kind: u8, with: char) {
        let changed = mutate(NOTE, at, kind, with);
        let verified = Note::parse(&changed).and_then(|note| note.verify(&[key()]).map(String::from));
        prop_assert_eq!(verified.is_ok(), changed == NOTE, "{}", changed);
    }

    #[test]
    fn no_text_makes_us_panic(text in ".{0,20}\n{0,3}(— .{0,20}\n?){0,3}") {
        let _ = Note::parse(&text);
    }
}
