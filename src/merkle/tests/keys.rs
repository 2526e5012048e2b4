use super::*;
use proptest::prelude::*;

// RFC 8410, section 10.3: one key without and with its public half.
const PEM: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const PEM_WITH_PUBLIC_KEY: &str = "-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
";
const PEM_PUBLIC_KEY: &str = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

// The example of the documentation of golang.org/x/mod/sumdb/note.
pub(super) const GO_PRIVATE: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
pub(super) const GO_PUBLIC: &str =
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

#[test]
fn a_pem_key_is_read_and_written() {
    for text in [PEM, PEM_WITH_PUBLIC_KEY, &format!("\n {PEM}\n\n")] {
        let key = SigningKey::parse(text).unwrap();
        assert_eq!(key.public_key(), PublicKey(hash(PEM_PUBLIC_KEY)));
        assert_eq!(*key.to_pem().unwrap(), PEM);
    }
}

#[test]
fn a_pem_key_of_another_kind_is_refused() {
    let half = PEM_WITH_PUBLIC_KEY.replace("Z9w7", "Z9w8");
    // An X25519 key: the last digit of the algorithm's identifier differs.
    let other = PEM.replace("AwBQYDK2Vw", "AwBQYDK2Vu");
    for text in [&half, &other, "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN CERTIFICATE-----"] {
        assert!(matches!(SigningKey::parse(text), Err(KeyError::Pem(_))), "{text}");
    }
}

#[test]
fn a_line_of_go_is_read() {
    let key = SigningKey::parse(&format!("{GO_PRIVATE}\n")).unwrap();
    let public = VerifierKey::parse(GO_PUBLIC).unwrap();
    assert_eq!(key.public_key(), public.public_key);
    assert_eq!((&*public.name, public.key_id()), ("PeterNeumann", 0xc74f_20a3));
    assert_eq!(public.to_string(), GO_PUBLIC);
}

#[test]
fn a_wrong_line_of_go_says_what_is_wrong() {
    let error = |text: &str| SigningKey::parse(text).unwrap_err();
    let changed = |from: &str, to: &str| error(&GO_PRIVATE.replace(from, to));
    assert_eq!(error(""), KeyError::UnknownFormat);
    assert_eq!(error(GO_PUBLIC), KeyError::UnknownFormat);
    assert_eq!(error("PRIVATE+KEY+a+12345678"), KeyError::MissingPart);
    assert_eq!(changed("PeterNeumann", ""), KeyError::BadName(String::new()));
    assert_eq!(changed("c74f20a3", "C74F20A3"), KeyError::BadId("C74F20A3".to_owned()));
    assert_eq!(changed("c74f20a3", "+74f20a3"), KeyError::BadId(String::new()));
    let wrong = KeyError::WrongId { stated: 0xc74f_20a4, computed: 0xc74f_20a3 };
    assert_eq!(changed("c74f20a3", "c74f20a4"), wrong);
    assert_eq!(wrong.to_string(), "the key id is c74f20a4, but name and key give c74f20a3");
    assert_eq!(changed("AYEK", "BIEK"), KeyError::UnsupportedType(4));
    assert_eq!(changed("KDFz", "KDE="), KeyError::BadEncoding);
    assert_eq!(changed("KDFz", "KDF"), KeyError::BadEncoding);
}

#[test]
fn a_signing_key_does_not_show_its_secret() {
    let key = SigningKey::parse(GO_PRIVATE).unwrap();
    let expected = format!("SigningKey({:?})", key.public_key());
    assert_eq!(format!("{key:?}"), expected);
}

#[test]
fn names_that_cannot_stand_in_a_note_are_refused() {
    let key = SigningKey::from_seed([1; 32]).public_key();
    for name in ["", " ", "a b", "a+b", "a\u{a0}b", "a\u{2003}", "a\nb", "a\u{7}", "a\u{85}"] {
        let error = VerifierKey::new(name, key).unwrap_err();
        assert_eq!(error, KeyError::BadName(name.to_owned()));
    }
    assert!(VerifierKey::new("prüfer.example/log42", key).is_ok());
}

#[test]
fn a_key_that_verifies_anything_is_refused() {
    let neutral = [&[1][..], &[0; 31]].concat().try_into().unwrap();
    let off_the_curve = [&[2][..], &[0; 31]].concat().try_into().unwrap();
    for bytes in [neutral, off_the_curve] {
        assert_eq!(VerifierKey::new("a", PublicKey(bytes)), Err(KeyError::NoPublicKey));
        assert!(!PublicKey(bytes).verifies(b"", &[0; 64]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn keys_survive(seed: [u8; 32], name in "[a-z./]{1,20}") {
        let key = SigningKey::from_seed(seed);
        let again = SigningKey::parse(&key.to_pem().unwrap()).unwrap();
        prop_assert_eq!(again.public_key(), key.public_key());
        let public = VerifierKey::new(name, key.public_key()).unwrap();
        let theirs = signed_note::StandardVerifier::new(&public.to_string());
        prop_assert!(theirs.is_ok());
        prop_assert_eq!(public.to_string().parse(), Ok(public));
    }

    #[test]
    fn a_changed_key_is_no_key(at: usize, kind: u8, with: char) {
        let changed = mutate(GO_PUBLIC, at, kind, with);
        prop_assert_eq!(VerifierKey::parse(&changed).is_ok(), changed == GO_PUBLIC);
        let changed = mutate(GO_PRIVATE, at, kind, with);
        let same = changed.trim() == GO_PRIVATE;
        prop_assert_eq!(SigningKey::parse(&changed).is_ok(), same);
        // PEM has more than one form of a key, such as other line ends.
        let _ = SigningKey::parse(&mutate(PEM, at, kind, with));
    }

    #[test]
    fn no_text_makes_us_panic(text in ".{0,80}") {
        let _ = VerifierKey::parse(&text);
        let _ = SigningKey::parse(&text);
        let _ = SigningKey::parse(&format!("PRIVATE+KEY+{text}"));
        let _ = SigningKey::parse(&format!("-----BEGIN {text}"));
    }
}
